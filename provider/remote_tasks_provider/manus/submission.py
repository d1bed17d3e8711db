"""How a Manus task is submitted once and found again; see :mod:`remote_tasks_provider.bases.submission`.

API v2 keeps the title a task is created with, so the correlation tag in it finds the task. v1 has no titles:
there, a task is found by its prompt and the time it was created. Everything here goes by the version that
creates the task.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from remote_tasks_provider.bases.submission import HookSubmission
from remote_tasks_provider.core.errors import BudgetExceededError
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import Candidate, CorrelationTag
from remote_tasks_provider.manus.api import v2
from remote_tasks_provider.manus.api.filters import task_filter
from remote_tasks_provider.manus.api.options import TaskOptions
from remote_tasks_provider.manus.api.versions import ManusApi
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.models import ManusTask

__all__ = ["ManusSubmission", "mark_owed"]

# Seconds: the service's clock and ours need not agree. A tag tells tasks apart. Of those with the same prompt
# as few as possible must be left for a person to judge.
_SKEW = 3600.0
_SKEW_OF_PROMPTS = 120.0
_LONGEST_TITLE = 200


class ManusSubmission(HookSubmission):
    """Submits one task; its files are uploaded first, and the correlation tag is put behind its title."""

    _hook: ManusHook

    def __init__(
        self,
        hook: ManusHook,
        options: TaskOptions,
        sources: Sequence[Any],
        title: str,
        min_credits: int | None = None,
    ) -> None:
        super().__init__(hook)
        self._options = options
        self._sources = sources
        self._title = title
        self._min_credits = min_credits
        self._uploaded: list[dict[str, str]] = []

    @property
    def sees_all(self) -> bool:
        """Whether the list shows any task of ours; it is not documented to show those hidden in the app."""
        return not self._options.hide_in_task_list

    @property
    def finds_tags(self) -> bool:
        """Whether tasks keep the title that holds the correlation tag."""
        return "title" not in self._api.unsupported

    @property
    def _api(self) -> ManusApi:
        return self._hook.api.creator

    def prepare(self) -> None:
        """Read the credits and upload the files: what can fail without cost comes first."""
        if self._min_credits is not None:
            left = self._api.available_credits()
            if left is not None and left < self._min_credits:
                raise BudgetExceededError(
                    f"The account has {left} credits, fewer than min_credits ({self._min_credits}). Nothing "
                    "was submitted. Buy credits or lower min_credits, then clear this task."
                )
        self._uploaded = [self._hook.upload_file(source) for source in self._sources]

    def submit(self, tag: CorrelationTag) -> Candidate:
        """Create the task."""
        options = replace(self._options, files=(*self._options.files, *self._uploaded))
        if self.finds_tags:
            options = replace(options, title=f"{self._title[:_LONGEST_TITLE]} {tag}")
        ref = self._api.create_task(options)
        return Candidate(ref.id, ref.url, TaskState.RUNNING)

    def read(self, task_id: str) -> Candidate:
        """Return a task as it is now."""
        return _candidate(self._api.get_task(task_id))

    def search(self, key: str, since: float) -> Sequence[Candidate]:
        """Return the tasks whose tag has this key or, with API v1, that have the same prompt."""
        if self.finds_tags:
            tagged = (
                (task, CorrelationTag.in_title(task.title, key)) for task in self._created(since, _SKEW)
            )
            return [_candidate(task, tag) for task, tag in tagged if tag is not None]
        tasks = self._created(since, _SKEW_OF_PROMPTS)
        return [_candidate(task) for task in tasks if _prompt_of(task) == self._options.prompt]

    def listed(self, task_id: str, since: float) -> Candidate | None:
        """Return a task, if the list has it."""
        found = (task for task in self._created(since, _SKEW) if task.id == task_id)
        return next((_candidate(task) for task in found), None)

    def _created(self, since: float, skew: float) -> Iterator[ManusTask]:
        return self._api.list_tasks(task_filter(created_after=max(0, int(since - skew))), None)


def mark_owed(hook: ManusHook, task_id: str, key: str, attempt: int) -> None:
    """Say in a task's title that ``attempt`` could not deliver the result; nothing where there are no tags.

    :param key: of the tag in the title.
    """
    if "title" in hook.api.unsupported:
        return
    title = hook.client.send(v2.get_task(task_id)).title or ""
    tag = CorrelationTag.in_title(title, key)
    if tag is not None:
        marked = title.replace(str(tag), str(replace(tag, owed_by=attempt)))
        hook.client.send(v2.update_task(task_id, title=marked, share_visibility=None, visible=None))


def _candidate(task: ManusTask, tag: CorrelationTag | None = None) -> Candidate:
    return Candidate(task.id, task.url, task.state, tag)


def _prompt_of(task: ManusTask) -> str | None:
    first = next((message for message in task.output if message.role == "user"), None)
    return next((part.text for part in first.content if part.text), None) if first else None
