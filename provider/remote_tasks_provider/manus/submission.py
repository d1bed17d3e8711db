"""How a Manus task is submitted once and found again; see :mod:`remote_tasks_provider.bases.submission`.

API v2 keeps the title a task is created with, so the correlation tag in it finds the task. v1 has no titles:
there, a task is found by its prompt and the time it was created.
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
    """Submits one task; its files are uploaded first, and the correlation tag is put behind its title."""

    def __init__(self, hook: ManusHook, options: TaskOptions, sources: Sequence[Any], title: str) -> None:
        self._hook = hook
        self._options = options
        self._sources = sources
        self._title = title
        self._uploaded: list[dict[str, str]] = []

    @property
    def sees_all(self) -> bool:
        """Whether the list shows any task of ours; it is not documented to show those hidden in the app."""
        return not self._options.hide_in_task_list

    @property
    def finds_tags(self) -> bool:
        """Whether tasks keep the title that holds the correlation tag."""
        return "title" not in self._hook.api.unsupported

    def prepare(self) -> None:
        """Upload the files: what can fail without cost comes before the task is created."""
        self._uploaded = [self._hook.upload_file(source) for source in self._sources]

    def submit(self, tag: CorrelationTag) -> Candidate:
        """Create the task."""
        api = self._hook.api
        options = replace(self._options, files=(*self._options.files, *self._uploaded))
        if self.finds_tags:
            options = replace(options, title=f"{self._title[:_LONGEST_TITLE]} {tag}")
        ref = api.create_task(options)
        return Candidate(ref.id, ref.url, TaskState.RUNNING)

    def read(self, task_id: str) -> Candidate:
        """Return a task as it is now."""
        return _candidate(self._hook.get_task(task_id))

    def search(self, tag: CorrelationTag, attempts: range, since: float) -> Sequence[Candidate]:
        """Return the tasks with the tag of one of ``attempts`` or, with API v1, with the same prompt."""
        tasks = self._hook.iter_tasks(created_after=max(0, int(since - _SKEW)))
        if self.finds_tags:
            tagged = ((task, tag.attempt_in(task.title, attempts)) for task in tasks)
            return [_candidate(task, number) for task, number in tagged if number is not None]
        return [_candidate(task) for task in tasks if _prompt_of(task) == self._options.prompt]

    def cancel(self, task_id: str) -> None:
        """Stop a task that another one replaces."""
        self._hook.stop_task(task_id)


def _candidate(task: ManusTask, attempt: int | None = None) -> Candidate:
    return Candidate(task.id, task.url, task.state, attempt)


def _prompt_of(task: ManusTask) -> str | None:
    first = next((message for message in task.output if message.role == "user"), None)
    return next((part.text for part in first.content if part.text), None) if first else None
