"""When Airflow's own retry comes: a policy that listens to the service instead of to ``retry_delay`` alone.

Operators already fail for good where a retry cannot help. This policy does the same for hooks that are called
in ``@task`` functions, and adds the right moment to all.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowTaskTimeout

from remote_tasks_provider.bases.compat import first_rescheduled_at
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import ApiError, NotFoundError, RateLimitedError, RemoteTaskError
from remote_tasks_provider.core.http.parsing import one_line

if TYPE_CHECKING:
    from airflow.sdk import Context

try:
    from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
except ImportError:  # Airflow below 3.3, which asks no policy
    RetryDecision, RetryPolicy = None, object  # type: ignore[assignment,misc]

__all__ = ["RemoteTaskRetryPolicy"]

# Airflow 3.4 or newer.
_RESCHEDULES = hasattr(RetryDecision, "reschedule")
# Airflow's column for a reason.
_LONGEST_REASON = 500
# A day: the longest that a daily quota can last.
_DAY = 86_400.0
_SPREAD, _SHORTEST_SPREAD, _LONGEST_SPREAD = 0.1, 1.0, 30.0


@dataclass(frozen=True)
class RemoteTaskRetryPolicy(RetryPolicy):
    """Retries a task when the service asked for it, and not at all where a retry cannot help.

    * A 429, from Airflow 3.4 on: runs the task again without using a retry, after the seconds in
      ``retry_after``, or ``retry_delay`` where the service gave none. ``max_reschedules`` and
      ``reschedule_timeout`` limit it for each attempt; then, and below 3.4, the next rule holds.
    * An error with ``retry_after``: retries after that many seconds.
    * An error whose ``retry_helps`` is no: fails the task for good.
    * All else is left to ``retries`` and ``retry_delay``: errors that a retry may heal, a ``NotFoundError``,
      as a fresh task may appear, ``execution_timeout``, and whatever is not this provider's.

    Each time in ``retry_after`` is lengthened by up to a tenth (at least 1 s, at most 30 s), so that tasks
    which were refused together do not come back together. ``retries`` stays the limit of the retries. An
    error of this provider is also found behind an exception that was raised ``from`` it, and behind an
    ``AirflowException`` that was raised while it was handled.

    .. code-block:: python

        @task(retries=5, retry_delay=timedelta(minutes=5), retry_policy=RemoteTaskRetryPolicy())
        def failed_tasks() -> list[str]:
            return [task.id for task in ManusHook().iter_tasks(status="failed", limit=100)]

    Below Airflow 3.3 no task takes ``retry_policy``; in ``default_args`` it is allowed everywhere, and does
    nothing below 3.3.

    :param longest_delay: seconds (or a ``timedelta``) to which a service's wish is cut.
    :param max_reschedules: how often one attempt runs again without using a retry; 0: never. Airflow counts
        the pokes of a sensor in ``reschedule`` mode, too.
    :param reschedule_timeout: seconds (or a ``timedelta``) after the first of them for which it may.
    """

    longest_delay: float = 3600.0
    max_reschedules: int = 30
    reschedule_timeout: float = _DAY

    def __post_init__(self) -> None:
        checked = {
            "longest_delay": validation.seconds(self.longest_delay, "longest_delay"),
            "max_reschedules": validation.whole_number(self.max_reschedules, "max_reschedules", least=0),
            "reschedule_timeout": validation.seconds(self.reschedule_timeout, "reschedule_timeout"),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide what Airflow does after an attempt that ended in ``exception``. Called on the worker."""
        error = _remote_error(exception)
        if error is None:
            return RetryDecision.default()
        if not error.retry_helps and not isinstance(error, NotFoundError):
            return RetryDecision.fail(one_line(f"{_name(error)}: a retry cannot help.", _LONGEST_REASON))
        if not isinstance(error, ApiError):
            return RetryDecision.default()
        wish = "gave no time" if error.retry_after is None else f"asked for {error.retry_after:g} s"
        delay = None if error.retry_after is None else self._delay(error.retry_after)
        reason = one_line(f"{_name(error)}: the service {wish}.", _LONGEST_REASON)
        if isinstance(error, RateLimitedError) and self._may_reschedule(context):
            return self._reschedule(delay, reason)
        return RetryDecision.default() if delay is None else RetryDecision.retry(delay, reason)

    def _reschedule(self, delay: timedelta | None, reason: str) -> RetryDecision:
        decision: Any = RetryDecision  # newer than the Airflow that types are checked with
        bound = timedelta(seconds=self.reschedule_timeout)
        return decision.reschedule(  # type: ignore[no-any-return]
            delay, max_reschedules=self.max_reschedules, reschedule_timeout=bound, reason=reason
        )

    def _may_reschedule(self, context: Context | None) -> bool:
        """Return whether this attempt may run again without using a retry.

        Airflow checks the same bounds, but past them it goes by ``retry_delay``, not by the service's wish.
        """
        if not _RESCHEDULES or self.max_reschedules == 0:
            return False
        if context is None or not (times := context.get("task_reschedule_count")):
            return True
        task: Any = context["task"]
        first = first_rescheduled_at(context, task)
        so_long = timedelta() if first is None else datetime.now(UTC) - first
        return times < self.max_reschedules and so_long.total_seconds() < self.reschedule_timeout

    def _delay(self, asked: float) -> timedelta:
        seconds = min(max(asked, 0.0), self.longest_delay)
        spread = min(max(seconds * _SPREAD, _SHORTEST_SPREAD), _LONGEST_SPREAD)
        return timedelta(seconds=seconds + random.uniform(0, spread))  # noqa: S311 - spreads load

    # Airflow 3.3 notes in a serialized DAG only that there is a policy, and the worker parses the DAG file
    # again. The contract has both methods all the same.
    def serialize(self) -> dict[str, Any]:
        """Return the policy as JSON."""
        return {"__type": type(self).__name__, **asdict(self)}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> RemoteTaskRetryPolicy:
        """Return the policy that :meth:`serialize` described."""
        return cls(**{one.name: data[one.name] for one in fields(cls) if one.name in data})


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
