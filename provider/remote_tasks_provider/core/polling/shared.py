"""One poll loop for all waits on one connection.

In a triggerer, a thousand waits on one connection share one *poller*: one HTTP client, one
:class:`~.session.PollSession`, one loop that polls when the :class:`~.schedule.Schedule` says so, and gives
the waits their results page by page. A wait joins and leaves at any time. The poller starts with the first
wait, and closes its connections with the last. Pollers are kept apart by event loop, task type and
connection.

Deadlines do not depend on that loop: a request that hangs, or a long list, delays none. Where the connection
has ``push``, a bell lets the loop poll at once; see :mod:`.hurry`.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from remote_tasks_provider.core.clocks import Clocks, steady
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.event_loops import PerLoop
from remote_tasks_provider.core.log import Log
from remote_tasks_provider.core.polling.bells import Listener
from remote_tasks_provider.core.polling.drivers import AsyncLink, arun_plan
from remote_tasks_provider.core.polling.metrics import REPORT_EVERY, PollerName, PollMetrics, PollReport
from remote_tasks_provider.core.polling.policy import LAST_POLL
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.schedule import GATHERING, Due, Schedule
from remote_tasks_provider.core.polling.session import PollSession
from remote_tasks_provider.core.polling.strategy import PollRequest, PollResult, PollResults
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.push.bell import Bells
from remote_tasks_provider.core.service import TaskType

__all__ = ["SharedPoller", "join"]

log = logging.getLogger(__name__)

# After this many waits have got their results, other coroutines get their turn.
_BATCH = 50
# A wait whose state does not change is mentioned in the log when it has become this much older.
_LOG_GROWTH = 1.25
_LOG_AT_LEAST = 30.0
# From so many waits on, the garbage collector is spared what is there when they come.
_MANY_WAITS = 2048


@dataclass(eq=False, slots=True)
class _Joined:
    """A wait that has joined.

    :param now: Unix seconds, by a clock that does not jump.
    :param ends_at: when the wait ends at the latest, whatever the loop does; monotonic.
    :param context: the triggerer sends a log record to the task whose context it was made in.
    """

    tracker: PollTracker
    due: Due
    now: Callable[[], float]
    ends_at: float
    log: Log
    done: asyncio.Future[WaitResult]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    logged_state: str = ""
    logged_after: float = 0.0

    @property
    def is_open(self) -> bool:
        return not self.done.done()

    def fail(self, error: BaseException) -> None:
        """End the wait with a fault of this provider."""
        if self.is_open:
            self.done.set_exception(error)


class SharedPoller:
    """All waits on one connection in one event loop. Made and found by :func:`join`.

    :param on_empty: called when the last wait has left.
    :param bells: where bells are heard; ``None`` where none can be.
    """

    def __init__(
        self,
        task_type: TaskType,
        link: AsyncLink,
        clocks: Clocks,
        report: PollReport,
        on_empty: Callable[[SharedPoller], None],
        bells: Bells | None = None,
    ) -> None:
        self._service = task_type.service.name
        self._link = link
        self._clocks = clocks
        self._report = report
        self._on_empty = on_empty
        self._session = PollSession(task_type)
        self._schedule = Schedule()
        self._listener = Listener(
            bells if task_type.has_bell else None, task_type.service.conn_type, self._hear
        )
        self._waits: dict[_Joined, None] = {}
        self._interrupted = asyncio.Event()
        self._earlier_end = asyncio.Event()
        self._next_end = float("inf")
        self._tasks: dict[str, asyncio.Task[None]] = {}

    # ------------------------------------------------------------------------------------ join and leave

    async def join(self, tracker: PollTracker, first_poll_in: float, back_off: float, log: Log) -> WaitResult:
        """Return how the wait ended; leaves at once when cancelled.

        :param first_poll_in: seconds until the wait wants its first poll; it may get one earlier.
        :param back_off: seconds for which the service asked a worker to be left alone.
        """
        wait = self._new_wait(tracker, first_poll_in, log)
        self._waits[wait] = None
        if back_off > 0:
            self._schedule.back_off(self._clocks.monotonic() + back_off)
        _spare_the_collector(len(self._waits))
        self._interrupted.set()
        if wait.ends_at < self._next_end:
            self._earlier_end.set()
        self._start()
        try:
            return await wait.done
        finally:
            self._waits.pop(wait, None)
            if not self._waits:
                await self._close()

    def _new_wait(self, tracker: PollTracker, first_poll_in: float, log: Log) -> _Joined:
        now = self._clocks.monotonic()
        clock = steady(self._clocks.wall, self._clocks.monotonic)
        left = tracker.policy.seconds_left(clock())
        interval = tracker.policy.interval(clock())
        has_missed = self._schedule.hurry.may_have_missed(now, first_poll_in, interval)
        is_first = first_poll_in <= 0 or has_missed
        if not is_first:
            first_poll_at = now + first_poll_in
        elif self._link.client is None or not self._schedule.has_begun:
            first_poll_at = now + GATHERING
        else:
            first_poll_at = self._schedule.first_poll(now, interval)
        return _Joined(
            tracker=tracker,
            due=Due(first_poll_at, interval, is_first),
            now=clock,
            ends_at=float("inf") if left is None else now + left + LAST_POLL,
            log=log,
            done=asyncio.get_running_loop().create_future(),
        )

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        for work in (self._run, self._end_overdue):
            # Either may have ended with the wait before, which has not left yet.
            if work.__name__ not in self._tasks or self._tasks[work.__name__].done():
                # In an empty context: what the poller does belongs to no single task's log.
                self._tasks[work.__name__] = loop.create_task(work(), context=contextvars.Context())

    async def _close(self) -> None:
        self._listener.follow(None)
        self._on_empty(self)
        self._report.emptied(self._clocks.monotonic())
        tasks, self._tasks = self._tasks, {}
        try:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        finally:
            # Not before the loop has stopped, which may just have opened another client.
            await self._link.aclose()

    # -------------------------------------------------------------------------------------------- the loop

    async def _run(self) -> None:
        try:
            if self._listener.can_hear:
                # The first poll may be far away, and only the connection says whether bells come until then.
                plan = self._session.connect(self._clocks.monotonic())
                await arun_plan(plan, self._link.send, control=self._link.control)
                self._follow_connection()
            while self._waits:
                self._interrupted.clear()
                seconds = self._schedule.next_at(wait.due for wait in self._waits) - self._clocks.monotonic()
                if seconds > 0:
                    trackers = (wait.tracker for wait in self._waits)
                    self._report.waiting(trackers, self._clocks.monotonic(), self._clocks.wall())
                    await self._idle(min(seconds, REPORT_EVERY), self._interrupted)
                else:
                    await self._cycle()
        except Exception as error:  # noqa: BLE001 - whatever it is, no wait may hang for ever
            self._on_empty(self)
            for wait in self._waits:
                wait.fail(error)

    async def _idle(self, seconds: float, event: asyncio.Event) -> None:
        """Sleep, or until the event comes."""
        sleeper = asyncio.ensure_future(self._clocks.sleep(seconds))
        interrupted = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait((sleeper, interrupted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            interrupted.cancel()

    async def _cycle(self) -> None:
        """One poll cycle: poll the tasks of all waits that are due, and give every wait its results."""
        began = self._clocks.monotonic()
        until = self._schedule.begin((wait.due for wait in self._waits), began)
        cycle = _Cycle(self._waits, until)
        before = self._calls
        await arun_plan(
            self._session.cycle(cycle.request(began, self._clocks.wall())),
            self._link.send,
            deliver=lambda results: self._deliver(cycle, results),
            control=self._link.control,
        )
        self._follow_connection()
        if cycle.has_changes:
            self._schedule.hurry.show_change()
        self._schedule.spread = self._clocks.spread()
        for index, wait in enumerate(cycle.to_settle, 1):
            if index % _BATCH == 0:
                await asyncio.sleep(0)
            if wait.is_open:
                self._alone(wait, self._settle, wait, began)
        self._report.polled(
            self._clocks.monotonic(),
            calls=self._calls - before,
            covered=cycle.covered,
            is_good=cycle.is_good,
        )

    @property
    def _calls(self) -> int:
        # The client's own: others on the account, of another task type, use the same rate limiter.
        return self._link.client.calls if self._link.client else 0

    async def _deliver(self, cycle: _Cycle, results: PollResults) -> None:
        """Give the waits their part of ``results``; end those that are over."""
        for index, (wait, own) in enumerate(cycle.parts(results), 1):
            if index % _BATCH == 0:
                await asyncio.sleep(0)
            if wait.is_open:
                self._alone(wait, self._tell, cycle, wait, own)

    def _alone(self, wait: _Joined, work: Callable[..., None], *arguments: Any) -> None:
        """Do ``work`` for a wait; a fault in it ends this wait and no other."""
        try:
            work(*arguments)
        except Exception as error:
            log.exception("%s: a wait failed by a fault of this provider.", self._service)
            wait.fail(error)

    def _follow_connection(self) -> None:
        self._listener.follow(self._link.client.config if self._link.client else None)

    def _hear(self, has_rung: bool) -> None:
        """Poll for every wait as soon as may be."""
        self._schedule.hurry.hear(self._clocks.monotonic(), has_rung=has_rung)
        if has_rung:
            self._report.heard()
        self._interrupted.set()

    def _tell(self, cycle: _Cycle, wait: _Joined, results: PollResults) -> None:
        before = wait.tracker.state if cycle.is_hurried else None
        cycle.is_good |= any(not isinstance(result, RemoteTaskError) for result in results.values())
        covered = wait.tracker.update(results, wait.now(), is_due=wait in cycle.due)
        is_changed = before not in (None, wait.tracker.state) and not wait.tracker.checkpoint()
        cycle.note(wait, covered, is_changed=is_changed)
        if covered and wait.tracker.is_over:
            self._end(wait)

    def _settle(self, wait: _Joined, began: float) -> None:
        """End the wait if it is over, else schedule its next poll."""
        now, moment = wait.now(), self._clocks.monotonic()
        spread = self._schedule.spread
        back_off = self._link.client.backs_off_for() if self._link.client else 0.0
        stretched = self._schedule.hurry.stretched(moment, self._listener.poll_interval)
        pause = wait.tracker.pause(now, spread, back_off, stretched)
        for warning in wait.tracker.take_warnings():
            wait.context.run(wait.log.warning, "%s", warning)
        if pause is None:
            self._end(wait)
            return
        interval = wait.tracker.interval(now, stretched)
        # From the beginning of the cycle, so that a long one does not prolong the interval.
        wait.due.at = max(began + pause, moment + min(pause, 1.0))
        wait.due.interval = interval
        wait.due.is_urgent = pause < interval * spread
        self._mention(wait, now, pause)

    def _end(self, wait: _Joined) -> None:
        for warning in wait.tracker.take_warnings():
            wait.context.run(wait.log.warning, "%s", warning)
        result = wait.tracker.result(wait.now())
        try:
            self._report.finished(result.outcome, result.waited)
        finally:
            self._waits.pop(wait, None)
            wait.done.set_result(result)

    async def _end_overdue(self) -> None:
        """End each wait whose deadline has passed, but for the time of a last poll."""
        while True:
            self._earlier_end.clear()
            now = self._clocks.monotonic()
            for wait in [one for one in self._waits if one.ends_at <= now and one.is_open]:
                self._alone(wait, self._end, wait)
            self._next_end = min((wait.ends_at for wait in self._waits), default=float("inf"))
            if self._next_end == float("inf"):
                await self._earlier_end.wait()
            else:
                await self._idle(self._next_end - now, self._earlier_end)

    def _mention(self, wait: _Joined, now: float, pause: float) -> None:
        state, after = wait.tracker.state, now - wait.tracker.policy.started_at
        if state == wait.logged_state and after < max(
            wait.logged_after * _LOG_GROWTH, wait.logged_after + _LOG_AT_LEAST
        ):
            return
        wait.logged_state, wait.logged_after = state, after
        summary = wait.tracker.summary(now, pause)
        wait.context.run(wait.log.info, "%s", summary)


class _Cycle:
    """The waits of one poll cycle, and what it has told them.

    :param until: the latest moment of a due poll that is taken along.
    """

    def __init__(self, waits: Iterable[_Joined], until: float) -> None:
        self.waits = [wait for wait in waits if wait.is_open]
        self.due = {wait for wait in self.waits if wait.due.at <= until}
        self.covered = 0
        self.is_hurried = until == float("inf")
        self.has_changes = False
        self.is_good = False
        self._told: set[_Joined] = set()
        self._by_task: dict[str, list[_Joined]] = {}
        for wait in self.waits:
            for task_id in wait.tracker.unfinished_ids:
                self._by_task.setdefault(task_id, []).append(wait)

    def request(self, now: float, time: float) -> PollRequest:
        """Return what the cycle is for."""
        due = [task_id for task_id, waits in self._by_task.items() if any(wait in self.due for wait in waits)]
        in_detail = {
            task_id
            for task_id, waits in self._by_task.items()
            if any(wait.tracker.policy.in_detail for wait in waits)
        }
        return PollRequest(due, self._by_task.keys() - set(due), in_detail, now, time)

    def parts(self, results: PollResults) -> Iterable[tuple[_Joined, PollResults]]:
        """Return the waits that ``results`` concern, each with its own."""
        parts: dict[_Joined, dict[str, PollResult]] = {}
        for task_id, result in results.items():
            for wait in self._by_task.get(task_id, ()):
                parts.setdefault(wait, {})[task_id] = result
        return parts.items()

    def note(self, wait: _Joined, covered: int, *, is_changed: bool) -> None:
        """Note that a wait got so many results, and whether they have changed where it stands."""
        self.covered += covered
        self.has_changes |= is_changed
        if covered:
            self._told.add(wait)

    @property
    def to_settle(self) -> Iterable[_Joined]:
        """The waits whose next poll has to be scheduled: those that were due, and those that were covered."""
        return [wait for wait in self.waits if wait in self.due or wait in self._told]


_is_spared = False


def _spare_the_collector(waits: int) -> None:
    """Keep the garbage collector's passes short where thousands of waits are held.

    A full pass goes through every object of the process: with ten thousand waits and all that Airflow has
    loaded it holds the event loop up for 150 ms. So what is there when they come is set aside, once, and
    given back when they have gone.
    """
    global _is_spared
    if waits >= _MANY_WAITS and not _is_spared:
        _is_spared = True
        gc.freeze()


def _stop_sparing() -> None:
    global _is_spared
    if _is_spared:
        _is_spared = False
        gc.unfreeze()


_Key = tuple[str, str, str]
_POLLERS: PerLoop[dict[_Key, SharedPoller]] = PerLoop(dict)


def join(
    tracker: PollTracker,
    *,
    task_type: TaskType,
    conn_id: str,
    link: Callable[[], AsyncLink],
    clocks: Clocks,
    metrics: PollMetrics,
    first_poll_in: float,
    log: Log,
    back_off: float = 0.0,
    bells: Bells | None = None,
) -> Coroutine[Any, Any, WaitResult]:
    """Poll this wait with every other one on the same connection; see :meth:`SharedPoller.join`.

    :param link: makes the way to the service, for the first wait.
    :param bells: where bells are heard; ``None`` where none can be.
    """
    pollers = _POLLERS.get()
    key = (task_type.service.name, task_type.label, conn_id)

    def forget(poller: SharedPoller) -> None:
        if pollers.get(key) is poller:
            del pollers[key]
        if not pollers:
            _stop_sparing()

    if key not in pollers:
        report = PollReport(metrics, PollerName(*key), clocks.monotonic())
        pollers[key] = SharedPoller(task_type, link(), clocks, report, forget, bells)
    return pollers[key].join(tracker, first_poll_in, back_off, log)
