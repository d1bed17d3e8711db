"""How many QStash tasks are looked at with few calls: one list answers for the tasks that share a message.

QStash v1 has no list over all tasks, but one per message, newest first, 100 a page. A task's message is
learnt when the task is first asked for; from then on a message with several waited-for tasks is asked for as
a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.operation import Operation, Page
from remote_tasks_provider.core.polling.strategy import PollPlan, PollResult
from remote_tasks_provider.core.states import TaskSnapshot
from remote_tasks_provider.qstash.api.v1 import get_task, list_message_tasks
from remote_tasks_provider.qstash.models import QStashTask, snapshot

__all__ = ["QStashTaskPollStrategy"]

_MOST_PAGES = 10


class QStashTaskPollStrategy:
    """The looks of one group of waits; remembers which message a task belongs to."""

    def __init__(self) -> None:
        self._message_of: dict[str, str] = {}
        self._unlisted: set[str] = set()
        """Tasks that their message's list does not show."""

    def plan(self, due: Sequence[str], free: Collection[str] = ()) -> PollPlan:
        """Plan one look; see :class:`~remote_tasks_provider.core.polling.strategy.PollStrategy`."""
        wanted = dict.fromkeys([*due, *free])
        self._message_of = {one: message for one, message in self._message_of.items() if one in wanted}
        self._unlisted &= wanted.keys()
        results: dict[str, PollResult] = {}
        yield from self._lists(self._shared_messages(due, wanted), wanted, results)
        singles = [task_id for task_id in due if task_id not in results]
        if singles:
            answers = yield [get_task(task_id) for task_id in singles]
            for task_id, answer in zip(singles, answers, strict=True):
                results[task_id] = answer if isinstance(answer, RemoteTaskError) else self._learn(answer)
        return results

    def _shared_messages(self, due: Sequence[str], wanted: Collection[str]) -> dict[str, set[str]]:
        """Return the messages that a task is due of and that more than one is wanted of, with those tasks."""
        members: dict[str, set[str]] = {}
        for task_id in wanted:
            message = self._message_of.get(task_id)
            if message is not None and task_id not in self._unlisted:
                members.setdefault(message, set()).add(task_id)
        looked_at = {self._message_of.get(task_id) for task_id in due if task_id not in self._unlisted}
        return {message: ids for message, ids in members.items() if len(ids) > 1 and message in looked_at}

    def _lists(
        self, members: Mapping[str, set[str]], wanted: Collection[str], results: dict[str, PollResult]
    ) -> Any:
        """Read each message's tasks until its members were seen; the rest is left to be asked for singly."""
        pending: dict[str, Operation[Page[QStashTask]]] = {
            message: list_message_tasks(message) for message in members
        }
        missing_of = dict(members)
        for _ in range(_MOST_PAGES):
            if not pending:
                return
            answers = yield list(pending.values())
            following = {}
            for message, page in zip(pending, answers, strict=True):
                if isinstance(page, RemoteTaskError):
                    if page.concerns_service:
                        results.update(dict.fromkeys(members[message], page))
                    continue
                results.update(
                    {task.task_id: self._learn(task) for task in page.items if task.task_id in wanted}
                )
                before = missing_of[message]
                missing = missing_of[message] = before - results.keys()
                worth_it = len(missing) > 1 and (missing < before or len(missing) > _MOST_PAGES)
                if worth_it and page.next is not None:
                    following[message] = page.next
                else:
                    self._unlisted |= missing
            pending = following
        for message in pending:
            self._unlisted |= missing_of[message]

    def _learn(self, task: QStashTask) -> TaskSnapshot:
        if task.message_id:
            self._message_of[task.task_id] = task.message_id
        return snapshot(task)
