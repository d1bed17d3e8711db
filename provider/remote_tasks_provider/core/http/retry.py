"""One retry policy for every operation of every vendor over both transports. ``tenacity`` does the waiting.

A request's timeout is in :class:`~.connection.ConnectionExtras`, the schedule of a wait's polls in
:mod:`remote_tasks_provider.core.polling.policy`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tenacity

from remote_tasks_provider.core.errors import ApiError, RateLimitedError, ServerError, TransportError
from remote_tasks_provider.core.http.operation import Idempotency

__all__ = ["RetryPolicy"]

log = logging.getLogger(__name__)

# Seconds: the n-th pause is random between 0 and `_BASE * 2**(n-1)`, at most `_CAP` (full jitter).
_BASE = 0.5
_CAP = 20.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how far apart one request is repeated.

    :param max_attempts: how often a request is sent at most, the first time included.
    :param give_up_after: seconds from the first attempt, after which a failed request is not repeated.
    :param patience: the longest pause, in seconds, that is waited for the service. When a longer one is
        needed, the error is raised instead of holding the caller.
    """

    max_attempts: int = 5
    give_up_after: float = 300.0
    patience: float = 30.0

    def allows(self, error: BaseException, idempotency: Idempotency) -> bool:
        """Whether a request that ended in ``error`` may be sent again.

        A request that would act twice is repeated only when the first provably had no effect.
        """
        if isinstance(error, ApiError) and (error.retry_after or 0) > self.patience:
            return False
        if idempotency is Idempotency.NOT_IDEMPOTENT:
            return isinstance(error, RateLimitedError) or (
                isinstance(error, TransportError) and error.sent is False
            )
        return isinstance(error, (TransportError, RateLimitedError, ServerError))

    def pause(self, error: BaseException | None, attempt: int) -> float:
        """Return the seconds to wait after the ``attempt``-th try ended in ``error``."""
        jitter = random.uniform(0, min(_CAP, _BASE * 2 ** (attempt - 1)))  # noqa: S311 - spreads load
        if isinstance(error, ApiError) and error.retry_after is not None:
            return error.retry_after + min(jitter, _BASE)
        return jitter

    def tenacity(
        self, idempotency: Idempotency, operation: str, sleep: Callable[[float], Any]
    ) -> dict[str, Any]:
        """Return the arguments that make ``tenacity.Retrying`` or ``AsyncRetrying`` follow this policy."""

        def pause(state: tenacity.RetryCallState) -> float:
            return self.pause(state.outcome.exception() if state.outcome else None, state.attempt_number)

        def log_retry(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            seconds = state.next_action.sleep if state.next_action else 0.0
            log.warning(
                "%s: attempt %d of %d failed, retries in %.1f s: %s",
                operation,
                state.attempt_number,
                self.max_attempts,
                seconds,
                error,
            )

        return {
            "retry": tenacity.retry_if_exception(lambda error: self.allows(error, idempotency)),
            "wait": pause,
            "stop": tenacity.stop_any(
                tenacity.stop_after_attempt(self.max_attempts), tenacity.stop_before_delay(self.give_up_after)
            ),
            "before_sleep": log_retry,
            "sleep": sleep,
            "reraise": True,
        }
