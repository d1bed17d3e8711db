"""Every fault, in every mode, for every task type of every service: the wait ends as the rules say.

:mod:`.faults` and :mod:`.subjects` are the data.
"""

from __future__ import annotations

import pytest

from tests.conformance.faults import AGENT_FAULTS, FAULTS, RUNS_FOR, Fault
from tests.conformance.modes import MODES, RESTARTS, live_through
from tests.conformance.peer import Peer
from tests.conformance.subjects import SUBJECTS, Subject

AGENTS = [one for one in SUBJECTS if one.vendor == "a2a"]


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FAULTS)
def test_wait_ends_right(name: str, mode: str, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    _check_wait(FAULTS[name], mode, subject, monkeypatch)


@pytest.mark.parametrize("subject", AGENTS, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", AGENT_FAULTS)
def test_wait_for_an_agent_ends_right(
    name: str, mode: str, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check_wait(AGENT_FAULTS[name], mode, subject, monkeypatch)


def _check_wait(fault: Fault, mode: str, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(subject)
    peer.install(monkeypatch)
    task_id = subject.add(peer, RUNS_FOR)
    others = [subject.add(peer, RUNS_FOR) for _ in range(3)]
    fault.prepare(peer, task_id)
    arguments = {"poke_interval": 30, "timeout": 3000, "not_found_grace": 90, **fault.arguments}

    ending, found = live_through(peer, mode, [task_id, *others], **arguments)

    assert (ending, type(found).__name__ if fault.error else "") == (fault.ending, fault.error), found
    earliest, latest = fault.within
    if mode == "restarted triggerer":
        # A new triggerer does not know since when the trouble stands that the old one met.
        latest += RESTARTS[-1]
    assert earliest <= peer.time.passed <= latest
    if ending == "success":
        assert [record["state"] for record in found] == ["completed"] * 4


@pytest.mark.parametrize("subject", [one for one in SUBJECTS if one.vendor in ("manus", "a2a")], ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_unanswered_question_ends_the_wait(
    mode: str, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer(subject)
    peer.install(monkeypatch)
    if subject.vendor == "a2a":
        task_id = peer.agent.add_task([("working", 100), ("input_required", None)])
    else:
        task_id = str(peer.sandbox.manus.add_task(script=[("running", 100), ("waiting", None)]))

    ending, found = live_through(peer, mode, task_id, poke_interval=30, timeout=9000, waiting_timeout=600)

    assert (ending, type(found).__name__) == ("failed", "TaskNeedsInputError"), found
    assert 700 <= peer.time.passed <= 735
    assert task_id in str(found)
