"""The responses of QStash, typed, tolerant where its own pages disagree.

Schema: https://upstash.com/docs/qstash (v1 pages: *Get Task* and *Get Message Tasks*). Times are Unix
milliseconds, ``0`` means never, and counts come as numbers from one endpoint and as strings from the other.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer

from remote_tasks_provider.core.http.parsing import (
    LenientInt,
    LenientStr,
    Moment,
    OrEmpty,
    RemoteModel,
    one_line,
)
from remote_tasks_provider.core.states import StateTable, TaskSnapshot, TaskState

__all__ = ["QSTASH_STATES", "NamedFieldsModel", "QStashTask", "Url", "cursor_of", "public_url", "snapshot"]

QSTASH_STATES = StateTable(
    {
        "created": TaskState.PENDING,
        "planned": TaskState.PENDING,
        "pending": TaskState.PENDING,
        "active": TaskState.RUNNING,
        "processing": TaskState.RUNNING,
        # One attempt failed, more follow: not a terminal state.
        "error": TaskState.RUNNING,
        "retrying": TaskState.RUNNING,
        "retry": TaskState.RUNNING,
        # Recorded, and not honoured before the next attempt is due: it may still be delivered.
        "cancel_requested": TaskState.RUNNING,
        "delivered": TaskState.COMPLETED,
        "completed": TaskState.COMPLETED,
        "failed": TaskState.FAILED,
        # The documentation and the vendor's own clients spell it differently.
        "canceled": TaskState.CANCELLED,
        "cancelled": TaskState.CANCELLED,
        # Of workflow runs.
        "run_started": TaskState.RUNNING,
        "run_success": TaskState.COMPLETED,
        "run_failed": TaskState.FAILED,
        "run_canceled": TaskState.CANCELLED,
        "run_cancelled": TaskState.CANCELLED,
    }
)


def _zero_is_none(value: Any) -> Any:
    return None if value in (0, "0", "") else value


_Moment = Annotated[Moment, BeforeValidator(_zero_is_none)]


def public_url(url: str | None) -> str | None:
    """Return a destination without its user and query, which often hold a secret."""
    if not url:
        return None
    # The query goes first: an "@" in it must not count as the end of a user.
    scheme, separator, address = url.partition("?")[0].partition("#")[0].partition("://")
    if not separator:
        scheme, address = "", scheme
    host, slash, place = address.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{place}"


Url = Annotated[LenientStr, PlainSerializer(public_url, when_used="json")]
"""A destination, which JSON shows without its user and query."""


class NamedFieldsModel(RemoteModel):
    """Base of what may hold headers, bodies and other secrets: only the named fields are read."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class QStashTask(RemoteModel):
    """The delivery of one message to one destination.

    :param status: QStash's own word, its field ``state``; :attr:`state` says what it means.
    :param url: the destination.
    :param error: the last failed attempt's text. A delivered task may still carry one.
    :param max_retry: retries after a failed attempt, at most.
    :param retried: retries so far.
    """

    task_id: str = Field(alias="taskId", min_length=1)
    message_id: LenientStr = Field(default=None, alias="messageId")
    status: Annotated[str, OrEmpty(str)] = Field(default="", alias="state")
    url: Url = None
    error: LenientStr = None
    max_retry: LenientInt = Field(default=None, alias="maxRetry")
    retried: LenientInt = None
    completed_at: _Moment = Field(default=None, alias="completedAt")
    last_error_at: _Moment = Field(default=None, alias="lastErrorAt")
    next_process_at: _Moment = Field(default=None, alias="nextProcessAt")
    deadline: _Moment = None

    @property
    def state(self) -> TaskState:
        """The state of the delivery."""
        return QSTASH_STATES.read(self.status)

    def to_json(self) -> dict[str, Any]:
        """Return the task as a JSON object with :attr:`state`, the destination without its query."""
        return super().to_json() | {"state": self.state.value}


def cursor_of(value: Any) -> str | None:
    """Return a page's cursor. The last page has none, ``null``, ``0``, ``"0"`` or ``""``.

    :raises ValueError: for another value that is no cursor: whether more follows is not known then.
    """
    if value in (None, 0, "0", ""):
        return None
    if type(value) not in (int, str):
        raise ValueError("'cursor' is neither a text nor a whole number")
    return str(value)


def snapshot(task: QStashTask) -> TaskSnapshot:
    """Return the part of ``task`` that a wait needs: never a header, a body or a destination's query."""
    return TaskSnapshot(
        id=task.task_id,
        state=task.state,
        status=task.status,
        url=public_url(task.url),
        error=one_line(task.error, 1000) if task.error else None,
        updated_at=task.completed_at or task.last_error_at,
        details={"message_id": task.message_id, "retried": task.retried, "max_retry": task.max_retry},
    )
