"""Which exception, or which end in the triggerer, makes Airflow fail for good, retry, or skip.

Airflow decides by the exception's class whether a task's ``retries`` are used. This is the only place where
an error of :mod:`remote_tasks_provider.core.errors` becomes one of Airflow's; the original stays attached as
its cause.
"""

from __future__ import annotations

from enum import Enum

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from remote_tasks_provider.core.errors import (
    InvalidArgumentError,
    NotFoundError,
    RemoteTaskError,
    WaitTimeoutError,
)
from remote_tasks_provider.core.polling.policy import TimedOut

__all__ = ["ArgumentFailure", "Verdict", "request_exception", "verdict", "wait_exception"]


class ArgumentFailure(AirflowFailException, InvalidArgumentError):
    """A parameter cannot be right. Airflow does not retry it, as the next attempt gets the same value."""


class Verdict(Enum):
    """What an error at the end of a wait does to the Airflow task."""

    SKIP = AirflowSkipException
    TIMEOUT = AirflowSensorTimeout
    """Fail for good, as every Airflow sensor does at its ``timeout``."""
    ATTEMPT_TIMEOUT = AirflowTaskTimeout
    """Fail this attempt: ``execution_timeout``."""
    FAIL = AirflowFailException
    """Fail for good."""
    RETRY = RemoteTaskError
    """Fail this attempt."""

    @property
    def is_final(self) -> bool:
        """Whether Airflow must not retry the task."""
        return self in (Verdict.TIMEOUT, Verdict.FAIL)


def verdict(
    error: RemoteTaskError, timed_out: TimedOut | None, *, soft_fail: bool = False, never_fail: bool = False
) -> Verdict:
    """Return what ``error`` at the end of a wait does.

    :param soft_fail: skip on ``timeout``; a real failure stays one.
    :param never_fail: skip whatever happens.
    """
    is_timeout = isinstance(error, WaitTimeoutError) and timed_out != "execution_timeout"
    if never_fail or (soft_fail and is_timeout):
        return Verdict.SKIP
    if isinstance(error, WaitTimeoutError):
        return Verdict.TIMEOUT if is_timeout else Verdict.ATTEMPT_TIMEOUT
    return Verdict.RETRY if error.retry_helps else Verdict.FAIL


def wait_exception(
    error: RemoteTaskError, timed_out: TimedOut | None, *, soft_fail: bool = False, never_fail: bool = False
) -> BaseException:
    """Return what to raise on a worker when a wait ended in ``error``."""
    found = verdict(error, timed_out, soft_fail=soft_fail, never_fail=never_fail)
    return error if found is Verdict.RETRY else _caused_by(error, found.value(str(error)))


def request_exception(error: RemoteTaskError) -> BaseException:
    """Return what to raise when a single operation ended in ``error``.

    Only where a retry can help is the error raised as it is; a 404 counts, as a fresh task may appear.
    """
    if error.retry_helps or isinstance(error, NotFoundError):
        return error
    failure_type = ArgumentFailure if isinstance(error, InvalidArgumentError) else AirflowFailException
    return _caused_by(error, failure_type(str(error)))


def _caused_by(error: RemoteTaskError, raised: BaseException) -> BaseException:
    raised.__cause__ = error
    return raised
