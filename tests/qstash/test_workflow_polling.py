"""Workflow runs are polled ten at a time once it is known when they were created."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remote_tasks_provider.core.errors import AuthenticationError, NotFoundError, RateLimitedError
from remote_tasks_provider.qstash.service import QSTASH_WORKFLOW
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import QSTASH_TOKEN
from tests.poll_driver import PollDriver, word

LOGS = "/qstash/v2/workflows/logs"
RUNNING: Any = [("RUN_STARTED", None)]


@pytest.fixture(params=["run_plan", "arun_plan"])
def poll(request: pytest.FixtureRequest, server: SandboxServer, sandbox: Sandbox) -> Iterator[PollDriver]:
    with PollDriver(request.param, QSTASH_WORKFLOW, server.qstash_url, QSTASH_TOKEN, sandbox) as driver:
        yield driver


@pytest.fixture
def add(sandbox: Sandbox) -> Callable[..., list[str]]:
    return lambda count, script=RUNNING: [
        sandbox.qstash.workflows.add(f"wfr_{number}", script) for number in range(count)
    ]


def states(results: Any) -> set[str]:
    return {word(one) for one in results.values()}


def test_known_runs_take_a_request_for_ten(poll: PollDriver, add: Callable[..., list[str]]) -> None:
    ids = add(25)
    assert states(poll(ids)) == {"running"}
    assert len(poll.calls) == 25
    assert poll(ids).keys() == set(ids)
    assert len(poll.calls) == 3


def test_runs_that_are_not_due_fill_the_last_request(poll: PollDriver, add: Callable[..., list[str]]) -> None:
    ids = add(15)
    poll(ids)

    assert len(poll(ids[:12], ids[12:])) == 15
    assert len(poll.calls) == 2
    assert poll([], ids) == {}
    assert poll.calls == []


def test_finished_run_is_seen_in_a_list(
    poll: PollDriver, add: Callable[..., list[str]], sandbox: Sandbox
) -> None:
    ids = add(4)
    poll(ids)
    for run_id, state in zip(ids, ["RUN_SUCCESS", "RUN_FAILED", "RUN_CANCELED", "DREAMING"], strict=True):
        sandbox.qstash.workflows.set_state(run_id, state)

    found = poll(ids)
    assert [word(found[one]) for one in ids] == ["completed", "failed", "cancelled", "unknown"]


def test_run_that_a_list_leaves_out_is_asked_for_by_itself(
    poll: PollDriver, add: Callable[..., list[str]], sandbox: Sandbox
) -> None:
    ids = add(3)
    poll(ids)
    sandbox.qstash.workflows.remove("wfr_1")
    found = poll(ids)

    assert isinstance(found["wfr_1"], NotFoundError)
    assert [word(found[one]) for one in ("wfr_0", "wfr_2")] == ["running"] * 2
    assert len(poll.calls) == 2


def test_later_run_with_the_same_id_is_another(
    poll: PollDriver, add: Callable[..., list[str]], sandbox: Sandbox
) -> None:
    ids = add(2)
    poll(ids)
    sandbox.qstash.workflows.set_state("wfr_0", "RUN_SUCCESS")
    sandbox.clock.advance(5)
    sandbox.qstash.workflows.add("wfr_0", RUNNING)

    assert word(poll(ids)["wfr_0"]) == "completed"


def test_list_that_is_refused_is_not_asked_for_again(
    poll: PollDriver, add: Callable[..., list[str]], sandbox: Sandbox
) -> None:
    ids = add(3)
    poll(ids)
    sandbox.faults.add("status", path=LOGS, status=400, times=1)

    assert states(poll(ids)) == {"running"}
    assert len(poll.calls) == 4
    assert len((poll(ids), poll.calls)[1]) == 3


def test_list_of_others_is_not_asked_for_again(
    poll: PollDriver, add: Callable[..., list[str]], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = add(3)
    poll(ids)
    monkeypatch.setattr(poll.strategy, "_created", dict.fromkeys(ids, 1))

    assert states(poll(ids)) == {"running"}
    assert len((poll(ids), poll.calls)[1]) == 3


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (429, RateLimitedError)])
def test_error_for_all_ends_the_poll(
    poll: PollDriver, add: Callable[..., list[str]], sandbox: Sandbox, status: int, kind: type[Exception]
) -> None:
    ids = add(60)
    poll(ids)
    sandbox.faults.add("status", path=LOGS, status=status)
    found = poll(ids)

    assert found.keys() == set(ids)
    assert {type(one) for one in found.values()} == {kind}
    assert len(poll.calls) == 1


def test_runs_all_get_their_turn_when_few_requests_get_through(
    poll: PollDriver, add: Callable[..., list[str]], sandbox: Sandbox
) -> None:
    ids = add(60)
    poll(ids)
    told: set[str] = set()
    for _ in range(6):
        fault = sandbox.faults.add("status", path=LOGS, status=429, after=1)
        told |= {one for one, result in poll(ids).items() if not isinstance(result, Exception)}
        sandbox.faults.remove(fault)

    assert told == set(ids)


def test_id_with_odd_characters_is_asked_for_by_itself(poll: PollDriver, sandbox: Sandbox) -> None:
    for run_id in ("a,b", "a@b", "ü/x"):
        sandbox.qstash.workflows.add(run_id, RUNNING)
    sandbox.qstash.workflows.add("wfr_1", RUNNING)
    poll(["wfr_1", "a@b", "ü/x"])

    assert states(poll(["wfr_1", "a@b", "ü/x"])) == {"running"}
    assert len(poll.calls) == 3
