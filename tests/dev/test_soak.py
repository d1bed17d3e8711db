"""``dev/soak``: what it calls a wrong end, and that its trouble ends. A run takes too long for a test."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from dev.soak.__main__ import parser, plan
from dev.soak.trouble import Trouble
from dev.soak.waits import LATEST, Wait, Waits
from remote_tasks_sandbox import Sandbox

NOW = 1000.0


def wait(*, ends_at: float = NOW - 5, deadline: float | None = None) -> Wait:
    return Wait("1", 0, "task", ends_at, "completed", deadline, ("", {}))


def told(state: str | None, *, timed_out: str | None = None, errors: Any = None) -> dict[str, Any]:
    record = None if state is None else {"state": state}
    event = {"records": {"task": record}, "errors": errors or {}, "timed_out": timed_out}
    return {"told": "1", "at": NOW, "event": event}


class TestVerdict:
    def test_verdict_is_good_for_the_right_state(self) -> None:
        assert wait().judge(told("completed"), 0.0)[0] == "told"

    @pytest.mark.parametrize(
        "message",
        [
            told("failed"),
            told(None),
            told("completed", errors={"task": {}}),
            told("running", timed_out="timeout"),
            {"told": "1", "at": NOW, "raised": "KeyError()"},
        ],
    )
    def test_verdict_is_bad_for_anything_else(self, message: dict[str, Any]) -> None:
        assert wait().judge(message, 0.0)[0] == "wrong"

    def test_verdict_is_bad_for_an_end_before_the_task_finished(self) -> None:
        assert wait(ends_at=NOW + 1).judge(told("completed"), 0.0)[0] == "wrong"

    @pytest.mark.parametrize(
        ("deadline", "excused_until", "verdict"),
        [
            (NOW + 1, 0.0, "wrong"),
            (NOW - 1, 0.0, "timed out"),
            (NOW - LATEST - 1, 0.0, "late"),
            (NOW - LATEST - 1, NOW - 5, "timed out"),
        ],
    )
    def test_verdict_of_a_deadline(self, deadline: float, excused_until: float, verdict: str) -> None:
        message = told("running", timed_out="timeout")

        assert wait(deadline=deadline).judge(message, excused_until)[0] == verdict


class TestTrouble:
    def test_trouble_leaves_nothing_behind(self) -> None:
        sandbox = Sandbox()
        key, chance = sandbox.settings.manus_key, random.Random(1)
        waits = Waits(sandbox, chance, (5.0, 120.0), 5.0)
        for _ in range(20):
            waits.start(0)
        reconnected: list[str] = []
        trouble = Trouble(
            sandbox, waits, chance, (0.0, 0.0), lambda: reconnected.append(sandbox.settings.manus_key)
        )

        for _ in range(200):
            trouble.step()
        trouble.stop()

        assert len(trouble.history) > 100
        assert sandbox.faults.all() == []
        assert sandbox.settings.manus_key == (reconnected[-1] if reconnected else key)

    def test_lost_waits_are_those_that_should_have_ended(self) -> None:
        waits = Waits(Sandbox(), random.Random(1), (5.0, 120.0), 5.0)
        waits.open = {
            "1": wait(ends_at=time.time() - 1),
            "2": wait(ends_at=float("inf")),
            "3": wait(ends_at=float("inf"), deadline=time.time() - 1),
        }

        assert list(waits.lost()) == [waits.open["1"], waits.open["3"]]


def test_command_takes_its_options() -> None:
    assert plan(parser().parse_args([])).seconds == 600
    assert plan(parser().parse_args(["--quick", "--seed", "7"])).seed == 7
