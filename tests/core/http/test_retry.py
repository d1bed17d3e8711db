"""The one retry table, and how long the pauses are."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

import pytest
import tenacity

from remote_tasks_provider.core.errors import (
    ApiError,
    InvalidRequestError,
    InvalidResponseError,
    PaginationError,
    RateLimitedError,
    RemoteTaskError,
    ServerError,
    TransportError,
)
from remote_tasks_provider.core.http import retry
from remote_tasks_provider.core.http.operation import Idempotency
from remote_tasks_provider.core.http.retry import RetryPolicy
from tests.core.build import an_api_error

IDEMPOTENT, KEYED, NOT_IDEMPOTENT = Idempotency.IDEMPOTENT, Idempotency.KEYED, Idempotency.NOT_IDEMPOTENT


def _status(status: int, retry_after: float | None = None) -> ApiError:
    kinds = {408: ServerError, 425: ServerError, 429: RateLimitedError}
    kind = kinds.get(status, ServerError if status >= 500 else InvalidRequestError)
    return an_api_error(kind, status, retry_after=retry_after)


class TestDecision:
    @pytest.mark.parametrize(
        ("error", "safe", "keyed", "unsafe"),
        [
            (_status(400), False, False, False),
            (_status(401), False, False, False),
            (_status(403), False, False, False),
            (_status(404), False, False, False),
            (_status(408), True, True, False),
            (_status(409), False, False, False),
            (_status(422), False, False, False),
            (_status(425), True, True, False),
            (_status(429), True, True, True),
            (_status(500), True, True, False),
            (_status(502), True, True, False),
            (_status(503), True, True, False),
            (_status(504), True, True, False),
            (_status(429, retry_after=30), True, True, True),
            (_status(429, retry_after=30.1), False, False, False),
            (_status(503, retry_after=31), False, False, False),
            (TransportError("refused", sent=False), True, True, True),
            (TransportError("reset", sent=None), True, True, False),
            (InvalidResponseError("html"), False, False, False),
            (PaginationError("circle"), False, False, False),
            (RuntimeError("bug"), False, False, False),
        ],
        ids=repr,
    )
    def test_errors_are_retried_by_the_table(
        self, error: Exception, safe: bool, keyed: bool, unsafe: bool
    ) -> None:
        policy = RetryPolicy()

        assert [policy.allows(error, idempotency) for idempotency in (IDEMPOTENT, KEYED, NOT_IDEMPOTENT)] == [
            safe,
            keyed,
            unsafe,
        ]


class TestDefaults:
    def test_defaults_are_five_attempts_within_five_minutes(self) -> None:
        assert RetryPolicy() == RetryPolicy(max_attempts=5, give_up_after=300, patience=30)
        assert (retry._BASE, retry._CAP) == (0.5, 20)


class TestPatience:
    @pytest.mark.parametrize("status", [429, 503])
    def test_pause_beyond_the_patience_is_left_to_the_caller(self, status: int) -> None:
        policy = RetryPolicy(patience=10)

        assert policy.allows(_status(status, retry_after=10), IDEMPOTENT)
        assert not policy.allows(_status(status, retry_after=10.5), IDEMPOTENT)


class TestPause:
    policy = RetryPolicy()

    @pytest.mark.parametrize(("attempt", "most"), [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 20), (100, 20)])
    def test_pause_is_random_below_a_growing_bound(
        self, attempt: int, most: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[float, float]] = []
        monkeypatch.setattr(random, "uniform", lambda low, high: asked.append((low, high)) or high)

        assert self.policy.pause(_status(500), attempt) == most
        assert asked == [(0, most)]

    def test_pause_is_never_shorter_than_a_retry_after(self) -> None:
        pauses = [self.policy.pause(_status(429, retry_after=7), 5) for _ in range(50)]

        assert all(7 <= pause <= 7.5 for pause in pauses)

    def test_pause_after_a_retry_after_of_zero_is_jittered(self) -> None:
        assert 0 <= self.policy.pause(None, 1) <= 0.5
        assert 0 <= self.policy.pause(TransportError("reset"), 1) <= 0.5


class TestWithTenacity:
    def _run(
        self, errors: Sequence[RemoteTaskError], idempotency: Idempotency = IDEMPOTENT, attempts: int = 3
    ) -> tuple[int, list[float], BaseException | None]:
        """Return how often it was called, the pauses, and the error it ended in."""
        pauses: list[float] = []
        left = list(errors)
        calls = 0

        def operation() -> int:
            nonlocal calls
            calls += 1
            if left:
                raise left.pop(0)
            return calls

        rules = RetryPolicy(max_attempts=attempts).tenacity(idempotency, "Example GET /x", pauses.append)
        try:
            tenacity.Retrying(**rules)(operation)
        except Exception as error:  # noqa: BLE001 - which one it is, is what the tests ask
            return calls, pauses, error
        return calls, pauses, None

    def test_attempts_continue_until_one_succeeds(self) -> None:
        calls, pauses, error = self._run([_status(503), TransportError("reset")])

        assert (calls, len(pauses), error) == (3, 2, None)

    def test_last_error_is_raised_itself(self) -> None:
        errors = [_status(503), _status(500), _status(502), _status(504)]
        calls, _, error = self._run(list(errors))

        assert calls == 3
        assert error is errors[2]

    @pytest.mark.parametrize(("status", "idempotency"), [(404, IDEMPOTENT), (503, NOT_IDEMPOTENT)])
    def test_final_error_is_not_retried(self, status: int, idempotency: Idempotency) -> None:
        calls, pauses, error = self._run([_status(status)], idempotency)

        assert (calls, pauses) == (1, [])
        assert isinstance(error, ApiError)

    def test_single_attempt_means_no_retry(self) -> None:
        assert self._run([_status(503)], attempts=1)[:2] == (1, [])

    def test_time_from_the_first_attempt_is_limited(self) -> None:
        rules = RetryPolicy(give_up_after=1.0).tenacity(IDEMPOTENT, "Example GET /x", lambda _: None)
        attempts = tenacity.Retrying(**rules)
        errors = iter([_status(503, retry_after=0.1), _status(503, retry_after=1.5)])
        calls = []

        def operation() -> None:
            calls.append(1)
            raise next(errors)

        with pytest.raises(ServerError):
            attempts(operation)
        # The second pause would end after the limit, so it is not begun.
        assert len(calls) == 2

    def test_retries_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "remote_tasks_provider"):
            self._run([_status(429, retry_after=2)])

        (message,) = caplog.messages
        assert message.startswith("Example GET /x: attempt 1 of 3 failed, retries in 2.")
        assert "HTTP 429" in message
