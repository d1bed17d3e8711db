from __future__ import annotations

from typing import Any

import pytest

from remote_tasks_provider.manus.operators import ManusTaskBranchOperator
from remote_tasks_provider.qstash.operators import QStashTaskBranchOperator
from tests.bases.history import START, Clock, TaskInstance, install, live_through, timeline

BRANCHES = {"completed": "publish", "failed": ["mend", "tell"], "cancelled": "tidy", "waiting": "ask"}


def live(
    monkeypatch: pytest.MonkeyPatch,
    history: Any,
    mode: str,
    kind: Any = ManusTaskBranchOperator,
    **arguments: Any,
) -> tuple[str, Any, list[Any], float]:
    clock = Clock()
    install(monkeypatch, clock, {"a": history})
    followed: list[Any] = []

    def make(how: str) -> Any:
        operator = kind(
            task_id="decide", remote_task_id="a", deferrable=how == "deferrable", timeout=1000, **arguments
        )
        monkeypatch.setattr(operator, "do_branch", lambda context, branch: followed.append(branch) or branch)
        return operator

    end, result = live_through(make, mode, clock)
    return end, result, followed, clock.now - START


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
class TestBranches:
    @pytest.mark.parametrize(
        ("word", "branch"), [("completed", "publish"), ("failed", ["mend", "tell"]), ("pending", "ask")]
    )
    def test_branch_follows_the_outcome(
        self, word: str, branch: Any, mode: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        end, result, followed, _ = live(monkeypatch, timeline((0, "running"), (40, word)), mode, **BRANCHES)

        assert (end, result, followed) == ("success", branch, [branch])

    def test_cancelled_message_has_its_branch(self, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        history = timeline((0, {"taskId": "a", "state": "CANCELED"}))
        arguments = {name: BRANCHES[name] for name in ("completed", "failed", "cancelled")}

        end, _, followed, _ = live(monkeypatch, history, mode, QStashTaskBranchOperator, **arguments)

        assert (end, followed) == ("success", ["tidy"])

    def test_failure_without_a_branch_fails(self, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        end, text, followed, _ = live(monkeypatch, timeline((0, "failed")), mode, completed="publish")

        assert (end, followed) == ("failed", [])
        assert "the agent gave up" in text

    def test_success_without_a_branch_skips_everything_downstream(
        self, mode: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        end, _, followed, _ = live(monkeypatch, timeline((0, "completed")), mode, failed="mend")

        assert (end, followed) == ("success", [None])

    def test_waiting_state_without_a_branch_is_waited_for(
        self, mode: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        history = timeline((0, "pending"), (100, "completed"))

        _, _, followed, seconds = live(monkeypatch, history, mode, completed="publish")

        assert (followed, seconds) == (["publish"], 120)

    def test_timeout_fails(self, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        end, _, followed, seconds = live(monkeypatch, timeline((0, "running")), mode, **BRANCHES)

        assert (end, followed, seconds) == ("timeout", [], 1000)

    def test_lost_task_fails(self, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        end, text, followed, _ = live(monkeypatch, timeline((0, 404)), mode, **BRANCHES)

        assert (end, followed) == ("failed", [])
        assert "NotFoundError" in text


class TestRecord:
    def test_record_is_pushed_for_the_branches(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "failed"))})
        operator = ManusTaskBranchOperator(task_id="decide", remote_task_id="a", failed="mend")
        monkeypatch.setattr(operator, "do_branch", lambda context, branch: branch)
        ti = TaskInstance(clock)

        operator.execute({"ti": ti})

        assert ti.xcoms["remote_task"]["error"] == "the agent gave up"

    @pytest.mark.parametrize("arguments", [{"poll_interval": 0}, {"timeout": -1}, {"poll_interval": "soon"}])
    def test_invalid_times_are_refused_at_parse_time(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(arguments))):
            ManusTaskBranchOperator(task_id="decide", remote_task_id="a", **arguments)
