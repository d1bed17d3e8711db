"""Which exception tells Airflow the truth about an error: fail for good, or retry.

Airflow decides by the exception's class whether a task's ``retries`` are used. This is the only place where
an error of
:mod:`remote_tasks_provider.core.errors` becomes one of Airflow's; the original stays attached as its cause.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowTaskTimeout,
)

from remote_tasks_provider.core.errors import NotFoundError, RemoteTaskError, WaitTimeoutError
from remote_tasks_provider.core.report import TimedOut

__all__ = ["after_call", "after_wait"]


def after_call(error: RemoteTaskError) -> BaseException:
    """Return what to raise when a single call ended in ``error``.

    Only where a retry can help is the error raised as it is; a 404 counts, as a fresh task may appear.
    """
    if error.retry_helps or isinstance(error, NotFoundError):
        return error
    return AirflowFailException(str(error))


def after_wait(error: RemoteTaskError, timed_out: TimedOut | None) -> BaseException:
    """Return what to raise when a wait ended in ``error``.

    ``timeout`` ends a task for good, like that of every Airflow sensor; ``execution_timeout`` ends the
    attempt.
    """
    if isinstance(error, WaitTimeoutError):
        return (
            AirflowTaskTimeout(str(error))
            if timed_out == "execution_timeout"
            else AirflowSensorTimeout(str(error))
        )
    return error if error.retry_helps else AirflowFailException(str(error))
