"""Cancelling remote tasks: what an answer means, when to repeat and when to give up; the worker's driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from remote_tasks_provider.core import cancellation
from remote_tasks_provider.core.cancellation import CancelBook, Cancelled, CancelOutcome, CancelRules
from remote_tasks_provider.core.errors import (
    AuthenticationError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RemoteTaskError,
    ServerError,
    TransportError,
)
from tests.core.build import a_config, an_api_error

WHY = "this task was marked failed"
RULES = CancelRules(patience=100.0, not_found_grace=10.0)

DOWN = TransportError("no host", sent=False)
RESET = TransportError("reset")
SERVER = an_api_error(ServerError, 500)
LIMITED = an_api_error(RateLimitedError, 429)
MISSING = an_api_error(NotFoundError, 404)
REFUSED = an_api_error(InvalidRequestError, 400, message="it is too late")
UNKNOWN_KEY = an_api_error(AuthenticationError, 401)


def book(*ids: str, batch_size: int = 1, spread: float = 1.0) -> CancelBook:
    made = CancelBook(batch_size, RULES, lambda: spread)
    made.add(ids, 0.0)
    return made


def outcomes(news: dict[str, Any]) -> dict[str, CancelOutcome]:
    return {task_id: result.outcome for task_id, result in news.items()}


class Story:
    """Takes and settles until nothing is left, all of it by a clock that nobody waits for."""

    def __init__(self, made: CancelBook, answer: Callable[[float, Sequence[str]], Any]) -> None:
        self.now = 0.0
        self.sent: list[tuple[float, str]] = []
        self.ended: dict[str, tuple[CancelOutcome, float]] = {}
        while made.left:
            if ids := made.take(self.now):
                self.sent.append((self.now, ",".join(ids)))
                for task_id, result in made.settle(ids, answer(self.now, ids), self.now).items():
                    if result.outcome is not CancelOutcome.PENDING:
                        self.ended[task_id] = (result.outcome, self.now)
            else:
                pause = made.pause(self.now)
                assert pause
                self.now += pause


class TestBook:
    def test_cancelled_task_is_settled_by_one_request(self) -> None:
        told = Story(book("a", "b"), lambda *_: None)

        assert told.sent == [(0.0, "a"), (0.0, "b")]
        assert told.ended == {"a": (CancelOutcome.CANCELLED, 0.0), "b": (CancelOutcome.CANCELLED, 0.0)}

    @pytest.mark.parametrize("outcome", [CancelOutcome.CANCELLED, CancelOutcome.NOT_RUNNING])
    def test_service_that_was_asked_says_itself_what_became_of_the_task(self, outcome: CancelOutcome) -> None:
        told = Story(book("a"), lambda *_: Cancelled(outcome, "failed"))

        assert told.ended == {"a": (outcome, 0.0)}

    def test_task_that_is_added_twice_is_cancelled_once(self) -> None:
        made = book("a", "a")
        assert made.take(0.0) == ["a"]
        made.add(["a"], 1.0)
        assert made.take(1.0) == []
        assert outcomes(made.settle(["a"], None, 1.0)) == {"a": CancelOutcome.CANCELLED}
        assert not made.left

    @pytest.mark.parametrize(
        "error", [RESET, SERVER, UNKNOWN_KEY, LIMITED, DOWN, InvalidResponseError("a page")]
    )
    def test_trouble_that_passes_costs_only_time(self, error: RemoteTaskError) -> None:
        told = Story(book("a", "b"), lambda now, _: error if now < 90 else None)

        assert {outcome for outcome, _ in told.ended.values()} == {CancelOutcome.CANCELLED}
        assert len(told.sent) < 20

    @pytest.mark.parametrize("error", [RESET, SERVER, UNKNOWN_KEY, LIMITED, DOWN])
    def test_trouble_that_stays_ends_after_the_patience(self, error: RemoteTaskError) -> None:
        told = Story(book("a"), lambda *_: error)

        assert told.ended == {"a": (CancelOutcome.FAILED, 100.0)}
        assert [now for now, _ in told.sent] == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 100.0]

    def test_pauses_are_spread(self) -> None:
        told = Story(book("a", spread=0.5), lambda now, _: None if now else SERVER)

        assert [now for now, _ in told.sent] == [0.0, 0.5]

    def test_refused_request_is_not_repeated(self) -> None:
        told = Story(book("a", "b"), lambda _, ids: REFUSED if ids == ["a"] else None)

        assert told.sent == [(0.0, "a"), (0.0, "b")]
        assert told.ended == {"a": (CancelOutcome.FAILED, 0.0), "b": (CancelOutcome.CANCELLED, 0.0)}

    def test_404_is_believed_after_its_grace(self) -> None:
        told = Story(book("a"), lambda *_: MISSING)

        assert told.ended == {"a": (CancelOutcome.NOT_FOUND, 10.0)}

    def test_404_of_a_task_that_appears_is_not_believed(self) -> None:
        told = Story(book("a"), lambda now, _: MISSING if now < 5 else None)

        assert told.ended["a"][0] is CancelOutcome.CANCELLED

    def test_grace_of_a_404_begins_anew_after_another_error(self) -> None:
        told = Story(book("a"), lambda now, _: SERVER if 5 < now < 20 else MISSING)

        assert told.ended == {"a": (CancelOutcome.NOT_FOUND, 41.0)}

    def test_error_of_one_task_does_not_keep_the_others(self) -> None:
        told = Story(book(*"abc"), lambda _, ids: RESET if ids == ["a"] else None)

        assert told.ended["b"] == told.ended["c"] == (CancelOutcome.CANCELLED, 0.0)
        assert told.ended["a"] == (CancelOutcome.FAILED, 100.0)

    def test_error_of_the_service_stops_all_requests(self) -> None:
        made = book(*"abc")
        assert made.take(0.0) == ["a"]
        news = made.settle(["a"], DOWN, 0.0)
        assert outcomes(news) == {"a": CancelOutcome.PENDING}

        assert made.take(0.9) == []
        assert made.take(1.0) == ["a"]
        assert made.take(1.0, requests=1) == [], "one finds out whether it has passed"
        assert made.pause(1.0, requests=1) is None
        assert made.settle(["a"], DOWN, 1.0) == {}, "the outage is no news"

    def test_requests_that_fail_together_count_once(self) -> None:
        made = book(*"abc")
        for task_id in "abc":
            assert made.take(0.0) == [task_id]
        for task_id in "abc":
            made.settle([task_id], DOWN, 0.0)

        assert made.pause(0.0) == 1.0

    def test_good_answer_ends_an_outage(self) -> None:
        made = book(*"abcd")
        made.settle(made.take(0.0), DOWN, 0.0)
        made.settle(made.take(1.0), None, 1.0)

        assert [made.take(1.0, requests) for requests in range(3)] == [["b"], ["c"], ["d"]]

    def test_task_added_during_an_outage_gets_its_own_patience(self) -> None:
        made = book("a")
        made.settle(made.take(0.0), DOWN, 0.0)
        made.add(["b"], 50.0)

        assert made.settle(made.take(50.0), DOWN, 50.0) == {}
        assert outcomes(made.settle(made.take(100.0), DOWN, 100.0)) == {"a": CancelOutcome.FAILED}
        assert outcomes(made.settle(made.take(150.0), DOWN, 150.0)) == {"b": CancelOutcome.FAILED}

    def test_outage_that_outlasts_some_tasks_keeps_its_pauses_for_the_others(self) -> None:
        made, now, sent = book("a"), 0.0, []
        while made.left:
            if ids := made.take(now):
                sent.append(now)
                made.settle(ids, DOWN, now)
                if len(sent) == 4:
                    made.add(["b"], now)
            else:
                now += made.pause(now) or 0.0

        assert sent == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 100.0, 107.0]

    def test_outage_gives_up_no_task_whose_request_is_under_way(self) -> None:
        made = book("a", "b")
        made.take(0.0)
        made.take(0.0)
        made.settle(["a"], DOWN, 0.0)

        assert outcomes(made.settle(["a"], DOWN, 100.0)) == {"a": CancelOutcome.FAILED}
        assert list(made.left) == ["b"]

    def test_retry_after_of_the_service_is_kept(self) -> None:
        limited = an_api_error(RateLimitedError, 429, retry_after=40.0)
        told = Story(book("a", "b"), lambda now, _: None if now else limited)

        assert [now for now, _ in told.sent] == [0.0, 40.0, 40.0]

    def test_requests_are_limited_in_number(self) -> None:
        made = book(*map(str, range(20)))
        taken = [ids for requests in range(20) if (ids := made.take(0.0, requests))]

        assert len(taken) == 8
        assert made.pause(0.0, requests=8) is None

    def test_task_left_alone_is_settled(self) -> None:
        made = book("a")
        made.take(0.0)

        assert outcomes(made.leave(["a"])) == {"a": CancelOutcome.LEFT}
        assert not made.left


class TestBatches:
    def test_batch_that_was_counted_whole_is_cancelled(self) -> None:
        told = Story(book(*"abcde", batch_size=2), lambda _, ids: len(ids))

        assert [ids for _, ids in told.sent] == ["a,b", "c,d", "e"]
        assert {outcome for outcome, _ in told.ended.values()} == {CancelOutcome.CANCELLED}

    def test_batch_of_which_nothing_is_counted_was_not_found(self) -> None:
        told = Story(book(*"ab", batch_size=2), lambda *_: 0)

        assert {outcome for outcome, _ in told.ended.values()} == {CancelOutcome.NOT_FOUND}
        assert len(told.sent) == 1

    def test_batch_of_which_some_are_counted_is_cancelled_until_nothing_is_left(self) -> None:
        counts = iter([2, 0])
        made = book(*"abc", batch_size=3)
        assert made.settle(made.take(0.0), next(counts), 0.0) == {}
        news = made.settle(made.take(0.0), next(counts), 0.0)

        assert outcomes(news) == dict.fromkeys("abc", CancelOutcome.NOT_RUNNING)
        assert {one.detail for one in news.values()} == {
            "2 of 3 were cancelled, the service does not say which"
        }

    def test_batch_that_is_always_counted_in_part_ends(self) -> None:
        told = Story(book(*"abc", batch_size=3), lambda *_: 1)

        assert {outcome for outcome, _ in told.ended.values()} == {CancelOutcome.NOT_RUNNING}
        assert len(told.sent) == 3

    def test_batch_without_a_count_is_not_called_cancelled(self) -> None:
        told = Story(book(*"abc", batch_size=3), lambda *_: None)

        assert {outcome for outcome, _ in told.ended.values()} == {CancelOutcome.NOT_RUNNING}

    @pytest.mark.parametrize("error", [REFUSED, SERVER, MISSING])
    def test_batch_that_fails_is_cancelled_one_by_one(self, error: RemoteTaskError) -> None:
        def answer(_: float, ids: Sequence[str]) -> Any:
            return error if "b" in ids else None

        told = Story(book(*"abc", batch_size=3), answer)

        assert told.ended["a"][0] is told.ended["c"][0] is CancelOutcome.CANCELLED
        assert told.ended["b"][0] in (CancelOutcome.FAILED, CancelOutcome.NOT_FOUND)
        assert {ids for _, ids in told.sent[1:]} == set("abc")

    def test_batch_ends_before_a_task_that_gets_a_request_of_its_own(self) -> None:
        made = book("a", batch_size=3)
        made.add("bcd", 0.0)
        made.left["c"].is_alone = True

        assert [made.take(0.0) for _ in range(3)] == [["a", "b"], ["c"], ["d"]]


class TestConnection:
    @pytest.mark.parametrize(
        ("error", "is_doubted"),
        [
            (UNKNOWN_KEY, True),
            (an_api_error(PermissionDeniedError, 403), True),
            (MISSING, True),
            (DOWN, True),
            (InvalidResponseError("a login page"), True),
            (RESET, False),
            (SERVER, False),
            (LIMITED, False),
        ],
    )
    def test_connection_is_doubted_after_what_may_come_of_it(
        self, error: RemoteTaskError, is_doubted: bool
    ) -> None:
        made = book("a")
        made.connected(0.0, is_other=False)
        made.settle(made.take(0.0), error, 0.0)

        assert not made.needs_connection(29.0)
        assert made.needs_connection(30.0) is is_doubted
        made.connected(30.0, is_other=False)
        assert not made.needs_connection(90.0)

    def test_client_that_cancels_repeats_nothing(self) -> None:
        config = cancellation.one_attempt(a_config(max_attempts=5, read_timeout=7))

        assert (config.extras.max_attempts, config.extras.read_timeout) == (1, 7)

    def test_changed_connection_starts_everything_anew(self) -> None:
        made = book("a", "b", "c")
        made.settle(made.take(0.0), MISSING, 0.0)
        made.settle(made.take(0.0), DOWN, 0.0)
        made.connected(0.0, is_other=True)
        assert made.take(0.0) == ["a"]
        made.settle(["a"], MISSING, 90.0)

        assert "a" in made.left
