"""Cancels remote tasks on a worker, which blocks meanwhile; the rules are in :mod:`.cancellation`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from remote_tasks_provider.core.cancellation import (
    CancelBook,
    Cancelled,
    CancelRules,
    cancel_operation,
    unconfirmed,
    unreachable,
)
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.log import Log
from remote_tasks_provider.core.service import TaskType

__all__ = ["cancel_tasks"]


def _spread() -> float:
    """Let workers that give up together not come back together."""
    return random.uniform(0.5, 1.0)  # noqa: S311 - spreads load


def cancel_tasks(
    ids: Iterable[str],
    *,
    task_type: TaskType,
    connect: Callable[[], Client],
    confirm: Callable[[], str | None],
    rules: CancelRules,
    log: Log,
) -> dict[str, Cancelled]:
    """Cancel tasks and block meanwhile; say in the log what became of each, and return it.

    :param connect: reads the connection and returns a client, which is closed.
    :param confirm: returns why the tasks are to be cancelled, for the log (``this task was marked failed``),
        or ``None`` if they must be left alone; asked before each request. Raises if that is not known.
    """
    book = CancelBook(task_type.cancel_batch_size, rules, _spread)
    worker = _Worker(task_type, connect, confirm, book)
    results: dict[str, Cancelled] = {}
    worker.book.add(ids, time.monotonic())
    try:
        while worker.book.left:
            if batch := worker.book.take(time.monotonic()):
                news, why = worker.cancel(batch)
                for task_id, result in news.items():
                    result.report(f"{task_type.label} {task_id}", why, log)
                results |= news
            else:
                time.sleep(worker.book.pause(time.monotonic()) or 0.0)
    finally:
        worker.close()
    return results


@dataclass
class _Worker:
    task_type: TaskType
    connect: Callable[[], Client]
    confirm: Callable[[], str | None]
    book: CancelBook
    client: Client | None = None

    def cancel(self, ids: Sequence[str]) -> tuple[Mapping[str, Cancelled], str]:
        """Send one request; return the news, and why it was sent."""
        answer: Any
        try:
            why = self.confirm()
        except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
            return self.book.settle(ids, unconfirmed(error), time.monotonic()), ""
        if why is None:
            return self.book.leave(ids), ""
        try:
            client = self._connected()
            operation = cancel_operation(self.task_type, client.config.extras, ids)
            answer = client.send(operation, paced=True)
        except RemoteTaskError as error:
            answer = error
        return self.book.settle(ids, answer, time.monotonic()), why

    def _connected(self) -> Client:
        now, old = time.monotonic(), self.client
        if old is not None and not self.book.needs_connection(now):
            return old
        try:
            client = self.connect()
        except Exception as error:
            if old is None:
                raise unreachable(error) from error
            self.book.connected(now, is_other=False)
            return old
        self.close()
        self.client = client
        self.book.connected(now, is_other=old is not None and old.config != client.config)
        return client

    def close(self) -> None:
        if self.client is not None:
            with suppress(Exception):
                self.client.close()
