"""When Airflow's own retry comes: a policy that listens to the service instead of to ``retry_delay`` alone.

Operators already fail for good where a retry cannot help. This policy does the same for hooks that are called
in ``@task`` functions, and adds the right moment to all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowTaskTimeout

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import ApiError, NotFoundError, RemoteTaskError
from remote_tasks_provider.core.http.parsing import one_line

if TYPE_CHECKING:
    from airflow.sdk import Context

try:
    from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
except ImportError:  # Airflow below 3.3, which asks no policy
    RetryDecision, RetryPolicy = None, object  # type: ignore[assignment,misc]

__all__ = ["RemoteTaskRetryPolicy"]

# Airflow's column for a reason.
_LONGEST_REASON = 500
_SPREAD, _SHORTEST_SPREAD, _LONGEST_SPREAD = 0.1, 1.0, 30.0


@dataclass(frozen=True)
class RemoteTaskRetryPolicy(RetryPolicy):
    """Retries a task when the service asked for it, and not at all where a retry cannot help.

    * An error with ``retry_after``, mostly a 429: retries after that many seconds, and up to a tenth more (at
      least 1 s, at most 30 s), so that tasks which were refused together do not come back together.
    * An error whose ``retry_helps`` is no: fails the task for good.
    * All else is left to ``retries`` and ``retry_delay``: errors that a retry may heal, a ``NotFoundError``,
      as a fresh task may appear, ``execution_timeout``, and whatever is not this provider's.

    ``retries`` stays the limit. An error of this provider is also found behind an exception that was raised
    ``from`` it, and behind an ``AirflowException`` that was raised while it was handled.

    .. code-block:: python

        @task(retries=5, retry_delay=timedelta(minutes=5), retry_policy=RemoteTaskRetryPolicy())
        def failed_tasks() -> list[str]:
            return [task.id for task in ManusHook().iter_tasks(status="failed", limit=100)]

    Below Airflow 3.3 no task takes ``retry_policy``; in ``default_args`` it is allowed everywhere, and does
    nothing below 3.3.

    :param longest_delay: seconds (or a ``timedelta``) to which a service's wish is cut.
    """

    longest_delay: float = 3600.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "longest_delay", validation.positive(self.longest_delay, "longest_delay"))

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide what Airflow does after an attempt that ended in ``exception``. Called on the worker."""
        error = _remote_error(exception)
        if error is None:
            return RetryDecision.default()
        if not error.retry_helps and not isinstance(error, NotFoundError):
            return RetryDecision.fail(one_line(f"{_name(error)}: a retry cannot help.", _LONGEST_REASON))
        if not isinstance(error, ApiError) or error.retry_after is None:
            return RetryDecision.default()
        asked = f"{_name(error)}: the service asked for {error.retry_after:g} s."
        return RetryDecision.retry(self._delay(error.retry_after), one_line(asked, _LONGEST_REASON))

    def _delay(self, asked: float) -> timedelta:
        seconds = min(max(asked, 0.0), self.longest_delay)
        spread = min(max(seconds * _SPREAD, _SHORTEST_SPREAD), _LONGEST_SPREAD)
        return timedelta(seconds=seconds + random.uniform(0, spread))  # noqa: S311 - spreads load

    # Airflow 3.3 notes in a serialized DAG only that there is a policy, and the worker parses the DAG file
    # again. The contract has both methods all the same.
    def serialize(self) -> dict[str, Any]:
        """Return the policy as JSON."""
        return {"__type": type(self).__name__, "longest_delay": self.longest_delay}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> RemoteTaskRetryPolicy:
        """Return the policy that :meth:`serialize` described."""
        return cls(longest_delay=data["longest_delay"])


def _remote_error(exception: BaseException) -> RemoteTaskError | None:
    """Return the error of this provider that made an attempt fail, if one did.

    An error that merely came before another one is not it: a fallback that fails after a
    401 may well succeed next time. Nor is the one beneath ``execution_timeout``, which ends an attempt and
    never the task.
    """
    seen: set[int] = set()
    found: BaseException | None = exception
    while found is not None and id(found) not in seen and not isinstance(found, AirflowTaskTimeout):
        if isinstance(found, RemoteTaskError):
            return found
        seen.add(id(found))
        handled = not found.__suppress_context__ and isinstance(found, AirflowException)
        found = found.__cause__ or (found.__context__ if handled else None)
    return None


def _name(error: RemoteTaskError) -> str:
    """Return which error it is, without the service's own words."""
    if not isinstance(error, ApiError):
        return type(error).__name__
    return f"{type(error).__name__} ({error.endpoint or 'the service'}, HTTP {error.status_code})"
