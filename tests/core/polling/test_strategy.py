"""Asking for tasks by themselves: in batches, in turn, and no odd answer spoils another task."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.core.errors import InvalidResponseError, RemoteTaskError
from remote_tasks_provider.core.polling.drivers import run_plan
from remote_tasks_provider.core.polling.strategy import (
    OneByOne,
    PollRequest,
    PollResult,
    Rotation,
    batches,
    relay,
    result_of,
    results_among,
)
from remote_tasks_provider.core.states import TaskSnapshot
from tests.core.build import a_snapshot
from tests.core.trackers import BROKEN, FORBIDDEN, MISSING, limited
from tests.core.words import ask


def _ids(count: int) -> list[str]:
    return [f"t{number:03}" for number in range(count)]


class Service:
    """Answers each task with its word; an error is raised.

    :attr most: from then on it answers 429.
    """

    def __init__(self) -> None:
        self.strategy = OneByOne(ask, a_snapshot)
        self.answers: dict[str, Any] = {}
        self.most = 10**9
        self.asked: list[str] = []
        self.delivered: list[dict[str, PollResult]] = []

    def poll(self, *due: str, free: tuple[str, ...] = ()) -> dict[str, PollResult]:
        self.asked, self.delivered = [], []
        run_plan(self.strategy.plan(PollRequest(due, free)), self._send, deliver=self.delivered.append)
        return {task_id: one for results in self.delivered for task_id, one in results.items()}

    def _send(self, operation: Any) -> Any:
        task_id = operation.request.path[1:]
        if len(self.asked) >= self.most:
            raise limited()
        self.asked.append(task_id)
        answer = self.answers.get(task_id, "running")
        if isinstance(answer, RemoteTaskError):
            raise answer
        return answer


class TestOneByOne:
    def test_due_tasks_are_asked_for_once_each_and_free_ones_are_not(self) -> None:
        service = Service()
        service.answers["a"] = "completed"

        assert service.poll("a", "b", free=("c",)) == {"a": a_snapshot("completed"), "b": a_snapshot()}
        assert service.asked == ["a", "b"]

    def test_plan_without_due_tasks_asks_nothing(self) -> None:
        assert Service().poll(free=("c",)) == {}

    def test_results_are_delivered_batch_by_batch(self) -> None:
        service = Service()
        service.poll(*_ids(40))

        assert [list(results) for results in service.delivered] == [
            _ids(40)[:16],
            _ids(40)[16:32],
            _ids(40)[32:],
        ]

    @pytest.mark.parametrize("error", [BROKEN, MISSING], ids=["500", "404"])
    def test_error_of_one_task_leaves_the_others(self, error: RemoteTaskError) -> None:
        service = Service()
        service.answers["t003"] = error
        results = service.poll(*_ids(40))

        assert len(service.asked) == 40
        assert [task_id for task_id, one in results.items() if one != a_snapshot()] == ["t003"]

    def test_odd_answer_leaves_the_others(self) -> None:
        service = Service()
        service.answers["b"] = "no state at all"
        results = service.poll("a", "b", "c")

        assert results["a"] == results["c"] == a_snapshot()
        assert isinstance(results["b"], InvalidResponseError)
        assert "b cannot be understood: ValueError(" in str(results["b"])

    @pytest.mark.parametrize("error", [FORBIDDEN, limited()], ids=["401", "429"])
    def test_error_that_all_would_meet_ends_the_round_and_is_each_ones(self, error: RemoteTaskError) -> None:
        service = Service()
        service.answers["t020"] = error
        results = service.poll(*_ids(60))

        assert service.asked == _ids(21)
        assert results["t019"] == a_snapshot()
        assert {id(results[task_id]) for task_id in _ids(60)[20:]} == {id(error)}
        assert len(service.delivered) == 3

    def test_error_in_the_last_batch_leaves_no_rest(self) -> None:
        service = Service()
        service.answers["b"] = FORBIDDEN
        service.poll("a", "b", "c")

        assert [list(results) for results in service.delivered] == [["a", "b", "c"]]

    def test_tasks_get_their_turn_although_only_few_requests_pass(self) -> None:
        service = Service()
        service.most = 10
        rounds = []
        for _ in range(5):
            service.poll(*_ids(45))
            rounds.append(service.asked)

        assert [task_id for asked in rounds for task_id in asked][:45] == _ids(45)
        assert rounds[4] == [*_ids(45)[40:], *_ids(5)]

    def test_error_of_one_task_is_a_turn_too(self) -> None:
        service = Service()
        service.most = 1
        service.answers["a"] = BROKEN
        service.poll("a", "b")
        service.poll("a", "b")

        assert service.asked == ["b"]

    def test_tasks_no_longer_wanted_are_forgotten(self) -> None:
        service = Service()
        service.poll("a", "b")
        service.poll("b", free=("c",))

        assert list(service.strategy._rotation._asked) == ["b"]


class TestRarely:
    def test_tasks_that_no_list_shows_get_forty_turns_a_minute_together(self) -> None:
        strategy = OneByOne(ask, a_snapshot)

        taken = [len(strategy.rarely(_ids(100), now)) for now in (0.0, 0.0, 15.0, 16.0, 1000.0)]

        assert taken == [40, 0, 10, 0, 40]

    def test_tasks_that_waited_longest_come_first(self) -> None:
        service = Service()
        service.poll("t000", "t001")

        assert service.strategy.rarely(_ids(3), 0.0) == ["t002", "t000", "t001"]


class TestAskWithoutAList:
    @pytest.fixture
    def service(self) -> Service:
        return Service()

    def _ask(self, service: Service, problem: RemoteTaskError, *due: str) -> dict[str, PollResult]:
        outcomes: list[bool] = []

        def plan() -> Any:
            outcomes.append((yield from service.strategy.ask_without_a_list(problem, due)))

        service.asked, service.delivered = [], []
        run_plan(plan(), service._send, deliver=service.delivered.append)
        self.was_possible = outcomes == [True]
        return {task_id: one for results in service.delivered for task_id, one in results.items()}

    def test_problem_of_one_list_leaves_a_few_tasks_to_be_asked_for(self, service: Service) -> None:
        found = self._ask(service, MISSING, *_ids(50))

        assert (self.was_possible, len(service.asked), len(found)) == (True, 40, 40)

    def test_problem_of_the_service_is_each_ones_without_a_request(self, service: Service) -> None:
        assert self._ask(service, FORBIDDEN, "a", "b") == {"a": FORBIDDEN, "b": FORBIDDEN}
        assert (self.was_possible, service.asked) == (False, [])

    def test_error_of_one_task_that_a_retry_helps_spares_the_others(self, service: Service) -> None:
        service.answers["a"] = BROKEN

        assert self._ask(service, MISSING, "a", "b") == {"a": BROKEN, "b": MISSING}
        assert (self.was_possible, service.asked) == (False, ["a"])

    def test_request_is_not_sent_without_a_task(self, service: Service) -> None:
        assert self._ask(service, MISSING) == {}
        assert (self.was_possible, service.asked) == (False, [])


class TestRotation:
    def test_tasks_never_asked_for_come_first_then_the_longest_waiting(self) -> None:
        rotation = Rotation()
        rotation.note(["c"])
        rotation.note(["a", "b"])

        assert rotation.longest_waiting(["a", "b", "c", "d"]) == ["d", "c", "a", "b"]
        assert rotation.longest_waiting(["a", "b", "c", "d"], 2) == ["d", "c"]

    def test_forgotten_task_is_new_again(self) -> None:
        rotation = Rotation()
        rotation.note(["a"])
        rotation.note(["b"])
        rotation.keep(["a"])

        assert rotation.longest_waiting(["a", "b"]) == ["b", "a"]

    def test_strategy_shows_its_rotation(self) -> None:
        service = Service()
        service.poll("a")

        assert service.strategy.longest_waiting(["a", "b"], 1) == ["b"]


class TestResultOf:
    def test_answer_becomes_a_snapshot_and_an_error_stays(self) -> None:
        assert result_of("a", a_snapshot, "failed") == a_snapshot("failed")
        assert result_of("a", a_snapshot, MISSING) is MISSING

    def test_whatever_an_odd_answer_leads_to_is_one_tasks_error(self) -> None:
        def snapshot(answer: Any) -> TaskSnapshot:
            raise RecursionError("deep")

        error = result_of("a", snapshot, {})
        assert isinstance(error, InvalidResponseError)
        assert error.retry_helps


class TestResultsAmong:
    def test_listed_tasks_that_are_not_wanted_are_left_out(self) -> None:
        tasks = [SimpleNamespace(id=one) for one in "abc"]

        found = results_among(tasks, {"a", "c", "d"}, lambda task: a_snapshot("failed", task.id))

        assert found == {one: a_snapshot("failed", one) for one in "ac"}


class TestPollRequest:
    def test_due_tasks_are_wanted_first_and_each_once(self) -> None:
        assert list(PollRequest(["b", "a"], ["c", "a"]).wanted) == ["b", "a", "c"]


def test_batches_are_slices_in_order() -> None:
    assert list(batches("abcde", 2)) == ["ab", "cd", "e"]
    assert list(batches("", 2)) == []


class TestRelay:
    def plan(self, steps: list[str]) -> Any:
        try:
            (answer,) = yield [ask("a")]
            steps.append(answer)
            yield {"a": a_snapshot(task_id="a")}
            yield [ask("b")]
            steps.append("went on")
        finally:
            steps.append("closed")

    def test_results_are_delivered_as_they_are_made_over(self) -> None:
        steps: list[str] = []
        relayed = relay(
            self.plan(steps), lambda results: {f"of {one}": task for one, task in results.items()}
        )

        next(relayed)
        delivered = relayed.send(["answer"])
        next(relayed)
        with pytest.raises(StopIteration) as ended:
            relayed.send(["answer"])

        assert list(delivered) == ["of a"]  # type: ignore[arg-type]
        assert (steps, ended.value.value) == (["answer", "went on", "closed"], True)

    def test_answers_that_are_the_end_close_the_plan(self) -> None:
        steps: list[str] = []
        relayed = relay(
            self.plan(steps), lambda results: results, lambda _operations, answers: "gone" in answers
        )

        next(relayed)
        with pytest.raises(StopIteration) as ended:
            relayed.send(["gone"])

        assert (steps, ended.value.value) == (["closed"], False)
