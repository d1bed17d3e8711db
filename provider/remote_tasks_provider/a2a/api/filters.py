"""Which tasks of an agent to list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from remote_tasks_provider.a2a.models import A2A_STATES, A2ATask, word_of
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.states import iso_utc
from remote_tasks_provider.core.validation import Check

__all__ = ["FILTERS", "MOST_LISTED", "TaskFilter", "task_filter"]

MOST_LISTED = 100
"""Tasks a page has at most."""


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks to list, and what of them.

    :param status: a word of :data:`A2A_STATES`.
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
            "status": self.status and f"TASK_STATE_{self.status.upper()}",
            "statusTimestampAfter": self.updated_after,
            "pageSize": self.page_size,
            "pageToken": self.page_token,
            "historyLength": None if self.include_history else 0,
            "includeArtifacts": True if self.include_artifacts else None,
        }

    def passes(self, task: A2ATask) -> bool:
        """Whether a task has what is asked for: servers drop a filter that they do not know."""
        is_status = self.status is None or word_of(task.status) == self.status
        return is_status and (self.context_id is None or task.context_id in (None, self.context_id))


def _written_moment(value: Any, name: str) -> str | None:
    seconds = validation.unix_seconds(value, name)
    return iso_utc(None if seconds is None else datetime.fromtimestamp(seconds, UTC))


FILTERS: Mapping[str, Check] = {
    "status": validation.optional(partial(validation.choice, allowed=A2A_STATES.words)),
    "context_id": validation.optional(validation.object_id),
    "updated_after": _written_moment,
    "include_artifacts": validation.flag,
    "page_size": partial(validation.whole_number, least=1, most=MOST_LISTED),
}
"""What a user may list by, and what each must be; a check returns it as the query has it."""


def task_filter(**given: Any) -> TaskFilter:
    """Return the filter that the arguments of :meth:`A2AHook.iter_tasks` make.

    :raises InvalidArgumentError: naming the argument that cannot be right.
    """
    return TaskFilter(**{name: FILTERS[name](value, name) for name, value in given.items()})
