"""How a Manus task is started once and found again; see :mod:`remote_tasks_provider.bases.submission`.

API v2 keeps the title a task is created with, so the mark in it finds the task. v1 has no titles: there, a
task is found by its prompt and the time it was created.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from remote_tasks_provider.bases.submission import CorrelationTag
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import Candidate
from remote_tasks_provider.manus.api.options import TaskOptions
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.models import ManusTask

__all__ = ["ManusSubmission"]

# The service's clock and ours need not agree.
_SKEW = 120.0
_LONGEST_TITLE = 200


class ManusSubmission:
    """Starts the task that ``order`` asks for.

    :param sources: files to upload and attach, before the task is created.
    :param title: what the task shall be called; the mark is put behind it.
    """

    def __init__(self, hook: ManusHook, order: TaskOptions, sources: Sequence[Any], title: str) -> None:
        self._hook = hook
        self._order = order
        self._sources = sources
        self._title = title
        self._uploaded: list[dict[str, str]] = []

    @property
    def sees_all(self) -> bool:
        """Whether the list shows any task of ours; nobody says that it shows those hidden in the app."""
        return not self._order.hide_in_task_list

    @property
    def goes_by_marks(self) -> bool:
        """Whether tasks keep the title that holds the mark."""
        return self._hook.api.supports("title")

    def prepare(self) -> None:
        """Upload the files: what can fail without cost comes before the task is created."""
        self._uploaded = [self._hook.upload_file(source) for source in self._sources]

    def create(self, tag: CorrelationTag) -> Candidate:
        """Create the task."""
        api = self._hook.api
        order = self._order.with_files(self._uploaded)
        if self.goes_by_marks:
            order = replace(order, title=f"{self._title[:_LONGEST_TITLE]} {tag}")
        ref = api.create_task(order)
        return Candidate(ref.id, ref.url, TaskState.RUNNING)

    def standing(self, task_id: str) -> Candidate:
        """Return where a task stands."""
        return _candidate(self._hook.get_task(task_id))

    def search(self, tag: CorrelationTag, attempts: range, since: float) -> Sequence[Candidate]:
        """Return the tasks that bear the mark of one of ``attempts``, or, with API v1, that ask the same."""
        tasks = self._hook.iter_tasks(created_after=max(0, int(since - _SKEW)))
        if self.goes_by_marks:
            marked = ((task, tag.attempt_in(task.title, attempts)) for task in tasks)
            return [_candidate(task, number) for task, number in marked if number is not None]
        return [_candidate(task) for task in tasks if _first_words(task) == self._order.prompt]

    def stop(self, task_id: str) -> None:
        """Stop a task that is to be replaced."""
        self._hook.stop_task(task_id)


def _candidate(task: ManusTask, attempt: int | None = None) -> Candidate:
    return Candidate(task.id, task.url, task.state, attempt)


def _first_words(task: ManusTask) -> str | None:
    said = next((message for message in task.output if message.role == "user"), None)
    return next((part.text for part in said.content if part.text), None) if said else None
