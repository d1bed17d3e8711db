"""The triggerer's queue of remote tasks to be cancelled; the rules are in :mod:`.cancellation`.

There is one for each task type, connection and event loop. It belongs to the loop, not to the trigger that
asked: a service that allows 40 requests a minute takes five minutes for 200 tasks, and Airflow gives a
trigger 30 s to clean up in. It starts with the first request, closes its connections and ends when nothing is
left, and names in the log what is left when the loop ends first.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from remote_tasks_provider.core.cancellation import (
    IN_THE_TRIGGERER,
    CancelBook,
    Cancelled,
    CancelOutcome,
    cancel_operation,
    unconfirmed,
    unreachable,
)
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.client import AsyncClient
from remote_tasks_provider.core.log import Log
from remote_tasks_provider.core.service import TaskType

__all__ = ["CancelQueue", "CancelRequest", "request_cancel"]

Connect = Callable[[], Awaitable[AsyncClient]]

# A reason to cancel is confirmed again when it is older than so many seconds.
_CONFIRMED_FOR = 2.0
# How often, in seconds, the log says how many are still waiting.
_MENTIONED_EACH = 60.0


@dataclass(eq=False, slots=True)
class CancelRequest:
    """What one trigger wants to have cancelled.

    :param confirm: see :func:`~.cancel_worker.cancel_tasks`.
    :param done: set when all tasks are settled.
    :param results: what became of the tasks so far.
    :param context: the triggerer sends a log record to the task whose context it was made in.
    """

    ids: Sequence[str]
    confirm: Callable[[], Coroutine[Any, Any, str | None]]
    log: Log
    done: asyncio.Event = field(default_factory=asyncio.Event)
    results: dict[str, Cancelled] = field(default_factory=dict)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    why: str | None = None
    doubt: Exception | None = None
    asked_at: float = float("-inf")
    mentioned_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def left(self) -> list[str]:
        """The tasks that are not settled."""
        return [task_id for task_id in self.ids if task_id not in self.results]

    @property
    def is_withdrawn(self) -> bool:
        """Whether the trigger has said that its tasks are another attempt's now."""
        return self.asked_at > float("-inf") and self.why is None and self.doubt is None

    def is_confirmed(self, now: float) -> bool:
        """Whether the trigger need not be asked at ``now``."""
        if self.is_withdrawn or self.asked_at >= now:
            return True
        return self.why is not None and now - self.asked_at <= _CONFIRMED_FOR

    async def ask(self, now: float, clock: Callable[[], float]) -> None:
        """Let the trigger confirm that its tasks are still to be cancelled."""
        async with self.lock:
            if self.is_confirmed(now):
                return
            try:
                confirm = asyncio.get_running_loop().create_task(self.confirm(), context=self.context)
                self.why, self.doubt = await confirm, None
            except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
                self.why, self.doubt = None, error
            self.asked_at = clock()

    def note(self, task_id: str, result: Cancelled) -> None:
        """Take what became of a task."""
        self.results[task_id] = result
        if len(self.results) == len(self.ids):
            self.done.set()


class CancelQueue:
    """All cancellations over one connection in one event loop. Made and found by :func:`request_cancel`."""

    def __init__(self, task_type: TaskType, connect: Connect, clocks: Clocks) -> None:
        self._task_type = task_type
        self._connect = connect
        self._clocks = clocks
        self._book = CancelBook(task_type.cancel_batch_size, IN_THE_TRIGGERER, clocks.spread)
        self._requests: dict[str, list[CancelRequest]] = {}
        self._clients: list[AsyncClient] = []
        self._connecting = asyncio.Lock()
        self._sending = 0
        self._changed = asyncio.Event()
        self._pace = ""
        self.is_open = True
        # In an empty context: what the queue does belongs to no single task's log.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())
        self._task.add_done_callback(self._ended)

    def add(self, request: CancelRequest) -> None:
        """Take a request. A task that another one has asked for is cancelled once."""
        request.mentioned_at = self._clocks.monotonic()
        if not request.ids:
            request.done.set()
        for task_id in request.ids:
            self._requests.setdefault(task_id, []).append(request)
        self._book.add(request.ids, request.mentioned_at)
        self._changed.set()

    def outlook(self, request: CancelRequest) -> str:
        """Return what comes next for the tasks of a request that are left."""
        left = request.left
        before = list(self._book.left).index(left[0])
        # Airflow asks for it also where the task was cleared, or its trigger moves to another triggerer.
        what = "wait to be cancelled" if request.why else "wait until it is known whether to cancel them"
        return f"{len(left)} of {len(request.ids)} {what}, {before} others come first{self._pace}"

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                while self._book.left:
                    self._changed.clear()
                    now = self._clocks.monotonic()
                    if ids := self._book.take(now, self._sending):
                        self._sending += 1
                        group.create_task(self._cancel(ids))
                    else:
                        await self._idle(self._book.pause(now, self._sending))
                self.is_open = False
        finally:
            for client in self._clients:
                with suppress(Exception):
                    await client.aclose()

    async def _idle(self, seconds: float | None) -> None:
        """Sleep until the next request may be sent, an answer has come, or tasks were added."""
        if seconds is None:
            await self._changed.wait()
            return
        sleeper = asyncio.ensure_future(self._clocks.sleep(seconds))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait((sleeper, changed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            changed.cancel()

    async def _cancel(self, ids: Sequence[str]) -> None:
        """Send one request, for those of the tasks that are still to be cancelled."""
        if wanted := await self._confirmed(ids):
            answer = await self._answer(wanted)
            self._report(self._book.settle(wanted, answer, self._clocks.monotonic()))
        self._sending -= 1
        self._changed.set()

    async def _confirmed(self, ids: Sequence[str]) -> list[str]:
        now = self._clocks.monotonic()
        # Another trigger may ask for one of the tasks meanwhile.
        while stale := {
            one for task_id in ids for one in self._requests[task_id] if not one.is_confirmed(now)
        }:
            await asyncio.gather(*(request.ask(now, self._clocks.monotonic) for request in stale))
        wanted = []
        for task_id in ids:
            requests = self._requests[task_id]
            doubts = [request.doubt for request in requests if request.doubt is not None]
            if any(request.why for request in requests):
                wanted.append(task_id)
            elif doubts:
                doubt = unconfirmed(doubts[0])
                self._report(self._book.settle([task_id], doubt, self._clocks.monotonic()))
            else:
                self._report(self._book.leave([task_id]))
        return wanted

    async def _answer(self, ids: Sequence[str]) -> Any:
        try:
            client = await self._client()
            operation = cancel_operation(self._task_type, client.config.extras, ids)
            if limit := self._task_type.service.limits.get(operation.name):
                self._pace = f" (limit: {limit.calls} requests in {limit.seconds:.0f} s)"
            return await client.send(operation)
        except RemoteTaskError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a bug that this request meets is not the others'
            return RemoteTaskError(f"{type(error).__name__}: {error}")

    async def _client(self) -> AsyncClient:
        async with self._connecting:
            now = self._clocks.monotonic()
            old = self._clients[-1] if self._clients else None
            if old is not None and not self._book.needs_connection(now):
                return old
            try:
                client = await self._connect()
            except Exception as error:
                if old is None:
                    raise unreachable(error) from error
                self._book.connected(now, is_other=False)
                return old
            # Others may be sending over the old one, so it stays open until the queue ends.
            self._clients.append(client)
            self._book.connected(now, is_other=old is not None and old.config != client.config)
            return client

    def _report(self, news: dict[str, Cancelled]) -> None:
        """Let everybody know who asked."""
        now = self._clocks.monotonic()
        concerned: dict[CancelRequest, None] = {}
        for task_id, result in news.items():
            is_settled = result.outcome is not CancelOutcome.PENDING
            requests = self._requests.pop(task_id) if is_settled else self._requests[task_id]
            name = f"{self._task_type.label} {task_id}"
            why = next((request.why for request in requests if request.why), "")
            for request in requests:
                if is_settled:
                    request.note(task_id, result)
                request.context.run(result.report, name, request.why or why, request.log)
            concerned |= dict.fromkeys(requests)
        for request in concerned:
            if not request.done.is_set() and now - request.mentioned_at >= _MENTIONED_EACH:
                request.mentioned_at = now
                request.context.run(request.log.info, "%s.", self.outlook(request))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Say what is left when the event loop ends before the queue."""
        self.is_open = False
        error = None if task.cancelled() else task.exception()
        reason = "the triggerer stops" if error is None else f"{type(error).__name__}: {error}"
        self._report(dict.fromkeys(self._requests, Cancelled(CancelOutcome.FAILED, reason)))


# A queue is held by what wakes its task, and so goes with its event loop.
_QUEUES: WeakValueDictionary[tuple[int, str, str, str], CancelQueue] = WeakValueDictionary()


def request_cancel(
    ids: Iterable[str],
    *,
    task_type: TaskType,
    conn_id: str,
    connect: Connect,
    clocks: Clocks,
    confirm: Callable[[], Coroutine[Any, Any, str | None]],
    log: Log,
) -> tuple[CancelRequest, CancelQueue]:
    """Put tasks into the queue of this event loop; it continues whatever becomes of the caller.

    :param connect: reads the connection and opens a client.
    :param confirm: see :func:`~.cancel_worker.cancel_tasks`.
    """
    request = CancelRequest(list(dict.fromkeys(ids)), confirm, log)
    key = (id(asyncio.get_running_loop()), task_type.service.name, task_type.label, conn_id)
    queue = _QUEUES.get(key)
    if queue is None or not queue.is_open:
        queue = _QUEUES[key] = CancelQueue(task_type, connect, clocks)
    queue.add(request)
    return request, queue
