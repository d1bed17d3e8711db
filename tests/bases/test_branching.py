from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, TaskGroup, task_group

from remote_tasks_provider.bases import branching, compat
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


class Nothing(BaseOperator):
    def execute(self, context: Any) -> None: ...


def branch_in(group: str = "", **branches: Any) -> ManusTaskBranchOperator:
    prefix = f"{group}." if group else ""
    named = {state: name and f"{prefix}{name}" for state, name in branches.items()}
    return ManusTaskBranchOperator(task_id="decide", remote_task_id="a", **named)


class TestBranchesInTheDag:
    @pytest.fixture
    def dag(self) -> Iterator[DAG]:
        with DAG("branches", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
            yield dag

    def run(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock, operator: Any, word: str, map_index: int = -1
    ) -> tuple[list[str], list[Any]]:
        """Return which tasks the base class was told to follow, and which instances were skipped."""
        service = install(monkeypatch, clock, {"a": timeline((0, word))})
        followed: list[str] = []
        skipped: list[Any] = []
        monkeypatch.setattr(
            operator, "do_branch", lambda context, branch: followed.extend(branching._names(branch))
        )
        monkeypatch.setattr(branching, "await_siblings", lambda ti, tasks: None)
        monkeypatch.setattr(branching, "skip_siblings", lambda ti, tasks: skipped.extend(tasks))
        ti = TaskInstance(clock)
        ti.map_index = map_index
        try:
            operator.execute({"ti": ti})
        except ValueError:
            assert not service.asked, "an impossible branch is found before the first poll"
            raise
        return followed, skipped

    def test_unknown_name_is_refused_before_the_first_poll(
        self, dag: DAG, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        decide = branch_in(completed="publish", failed="mnd")
        decide >> [Nothing(task_id="publish"), Nothing(task_id="mend")]

        with pytest.raises(ValueError, match="failed names 'mnd', which is neither a task nor a task group"):
            self.run(monkeypatch, clock, decide, "completed")

    def test_unknown_name_without_the_prefix_of_its_group_is_explained(
        self, dag: DAG, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        with TaskGroup("outer"):
            Nothing(task_id="publish")
            with TaskGroup("inner"):
                decide = branch_in(completed="publish", waiting="mend")
                decide >> Nothing(task_id="mend")

        with pytest.raises(ValueError, match=r"the group's id comes first: 'outer\.publish'"):
            self.run(monkeypatch, clock, decide, "running")

    def test_teardown_is_never_skipped(self, dag: DAG, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        setup, decide, clean = Nothing(task_id="set_up"), branch_in(failed="mend"), Nothing(task_id="clean")
        setup >> decide >> [Nothing(task_id="mend"), clean.as_teardown(setups=setup)]

        followed, _ = self.run(monkeypatch, clock, decide, "completed")

        assert followed == ["clean"]

    def test_generator_of_names_can_be_read_again(
        self, dag: DAG, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        decide = ManusTaskBranchOperator(
            task_id="decide", remote_task_id="a", completed=(name for name in ["publish", "mend"])
        )
        decide >> [Nothing(task_id="publish"), Nothing(task_id="mend")]

        followed, _ = self.run(monkeypatch, clock, decide, "completed")

        assert followed == ["publish", "mend"]

    def in_a_mapped_group(self, dag: DAG, **branches: Any) -> Any:

        @task_group
        def each(one: Any) -> None:
            decide = branch_in("each", **branches)
            publish, join = Nothing(task_id="publish"), Nothing(task_id="join")
            with TaskGroup("inner"):
                decide >> Nothing(task_id="mend") >> join
            decide >> publish >> join
            decide >> join

        each.expand(one=[1, 2])
        return dag.get_task("each.decide")

    @pytest.mark.parametrize(
        ("word", "skipped"), [("completed", ["each.inner.mend"]), ("failed", ["each.publish"])]
    )
    def test_mapped_group_skips_its_own_instances(
        self, word: str, skipped: list[str], dag: DAG, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        decide = self.in_a_mapped_group(dag, completed="publish", failed="inner")

        assert self.run(monkeypatch, clock, decide, word, map_index=1)[1] == skipped

    def test_mapped_group_skips_everything_without_a_branch(
        self, dag: DAG, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        decide = self.in_a_mapped_group(dag)

        _, skipped = self.run(monkeypatch, clock, decide, "completed", map_index=1)

        assert sorted(skipped) == ["each.inner.mend", "each.join", "each.publish"]

    def test_task_outside_of_the_mapped_group_is_refused_as_a_branch(
        self, dag: DAG, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        decide = self.in_a_mapped_group(dag, completed="publish")
        decide >> Nothing(task_id="shared")

        with pytest.raises(ValueError, match="completed would skip 'shared', which all instances of the map"):
            self.run(monkeypatch, clock, decide, "completed", map_index=0)

    def test_mapped_branch_operator_is_refused(
        self, dag: DAG, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        decide = branch_in(completed="publish", failed="mend")
        decide >> [Nothing(task_id="publish"), Nothing(task_id="mend")]

        with pytest.raises(ValueError, match="all instances of this mapped task share"):
            self.run(monkeypatch, clock, decide, "completed", map_index=0)

    def test_mapped_branch_operator_that_skips_nothing_is_allowed(
        self, dag: DAG, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        decide = branch_in(completed="publish")
        decide >> Nothing(task_id="publish")

        followed, skipped = self.run(monkeypatch, clock, decide, "completed", map_index=0)

        assert (followed, skipped) == (["publish"], [])


class TestSiblings:
    def test_instance_that_is_not_yet_made_is_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(compat, "_count_siblings", lambda ti, tasks: 1)

        with pytest.raises(compat.AirflowRescheduleException):
            compat.await_siblings(None, ["publish", "mend"])
        compat.await_siblings(None, ["publish"])
