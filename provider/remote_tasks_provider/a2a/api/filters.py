"""Which tasks of an agent to list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from remote_tasks_provider.a2a.models import A2A_STATES, A2ATask, word_of
from remote_tasks_provider.core import validation

__all__ = ["MOST_LISTED", "STATUSES", "TaskFilter", "task_filter"]

MOST_LISTED = 100
"""Tasks a page has at most."""
STATUSES = A2A_STATES.words
"""The status words that lists can be filtered by."""


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks to list, and what of them.

    :param status: a word of protocol 1.0, such as ``TASK_STATE_WORKING``.
    :param updated_after: ISO 8601.
    """

    status: str | None = None
    context_id: str | None = None
    updated_after: str | None = None
    include_artifacts: bool = False
    include_history: bool = False
    page_size: int = MOST_LISTED
    page_token: str | None = None

    def params(self) -> dict[str, Any]:
        """Return the query."""
        return {
            "contextId": self.context_id,
            "status": self.status,
            "statusTimestampAfter": self.updated_after,
            "pageSize": self.page_size,
            "pageToken": self.page_token,
            "historyLength": None if self.include_history else 0,
            "includeArtifacts": True if self.include_artifacts else None,
        }

    def passes(self, task: A2ATask) -> bool:
        """Whether a task has what is asked for: servers drop a filter that they do not know."""
        is_status = self.status is None or word_of(task.status) == word_of(self.status)
        return is_status and (self.context_id is None or task.context_id in (None, self.context_id))


def task_filter(
    *,
    status: str | None = None,
    context_id: str | None = None,
    updated_after: Any = None,
    include_artifacts: bool = False,
    page_size: int | str = MOST_LISTED,
) -> TaskFilter:
    """Return the filter that the arguments of :meth:`A2AHook.iter_tasks` make.

    :raises InvalidArgumentError: naming the argument that cannot be right.
    """
    if status is not None:
        status = validation.choice(status, "status", STATUSES)
    seconds = validation.unix_seconds(updated_after, "updated_after")
    return TaskFilter(
        status=None if status is None else f"TASK_STATE_{status.upper()}",
        context_id=None if context_id is None else validation.object_id(context_id, "context_id"),
        updated_after=None if seconds is None else _moment_text(seconds),
        include_artifacts=validation.flag(include_artifacts, "include_artifacts"),
        page_size=validation.whole_number(page_size, "page_size", least=1, most=MOST_LISTED),
    )


def _moment_text(seconds: float) -> str:
    """Return a moment as the protocol writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
