"""A wait, its end, and the errors it may meet, for the tests of its rules."""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.core.errors import (
    AuthenticationError,
    NotFoundError,
    RateLimitedError,
    RemoteTaskError,
    ServerError,
    TransportError,
)
from remote_tasks_provider.core.polling.tracker import PollTracker
from tests.core.build import a_policy, an_api_error

__all__ = ["BROKEN", "FORBIDDEN", "MISSING", "RESET", "a_tracker", "failure_of", "limited"]

RESET = TransportError("reset")
MISSING = an_api_error(NotFoundError, 404)
BROKEN = an_api_error(ServerError, 500)
FORBIDDEN = an_api_error(AuthenticationError, 401)


def limited(retry_after: float | None = None) -> RateLimitedError:
    error = an_api_error(RateLimitedError, 429, retry_after=retry_after)
    assert isinstance(error, RateLimitedError)
    return error


def a_tracker(*ids: str, checkpoint: Any = None, **policy: Any) -> PollTracker:
    return PollTracker(ids or ["t1"], a_policy(**policy), checkpoint)


def failure_of(tracker: PollTracker, now: float) -> RemoteTaskError | None:
    """Return the error that the wait ends in at ``now``; the wait must be over."""
    assert tracker.pause(now) is None
    on_waiting = tracker.policy.on_waiting
    return tracker.result(now).failure("Example task", raise_on_failure=True, on_waiting=on_waiting)
