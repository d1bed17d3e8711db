"""Schedules of the emulated QStash: they publish their message whenever their cron expression is due.

https://upstash.com/docs/qstash/features/schedules. croniter reads the expressions of five fields; this
module adds ``CRON_TZ=`` and refuses what QStash does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, CroniterError, croniter  # type: ignore[import-untyped]  # no types

from remote_tasks_sandbox.calls import Refused
from remote_tasks_sandbox.qstash.engine import QStashEngine
from remote_tasks_sandbox.qstash.message import Message, milliseconds
from remote_tasks_sandbox.qstash.options import PublishOptions
from remote_tasks_sandbox.qstash.wire import CALLER_IP, body_fields, option_fields, present

__all__ = ["Cron", "Schedule", "Schedules"]

#: croniter's own additions (seconds, ``L``, ``#``, ``H``, ``R``, ``@daily``) are not QStash's.
_FIELDS = re.compile(r"(?:(?:[\d*,/-]|[a-z]{3})+ ){5}", re.IGNORECASE)


@dataclass(frozen=True)
class Cron:
    """A cron expression in a time zone."""

    expression: str
    zone: tzinfo

    @classmethod
    def parse(cls, expression: str) -> Cron:
        """Read an expression."""
        words = expression.split()
        zone: tzinfo = UTC
        if words and words[0].startswith("CRON_TZ="):
            name = words.pop(0).removeprefix("CRON_TZ=")
            try:
                zone = ZoneInfo(name)
            except (OSError, ValueError, KeyError):
                raise Refused(400, f"invalid cron: unknown time zone {name!r}") from None
        bare = " ".join(words)
        if not _FIELDS.fullmatch(f"{bare} "):
            raise Refused(400, f"invalid cron: {expression!r} must have five fields")
        try:
            croniter(bare)
        except CroniterError as error:
            raise Refused(400, f"invalid cron: {error}") from None
        return cls(bare, zone)

    def after(self, seconds: float) -> float | None:
        """Return the next time after ``seconds``, both unix seconds; ``None`` when there is none."""
        start = datetime.fromtimestamp(seconds, self.zone)
        # A day must fit both its date and its weekday as soon as one of them begins with a star.
        runs = croniter(self.expression, start, ret_type=datetime, implement_cron_bug=True)
        try:
            found: datetime = runs.get_next()
            # The hour that an autumn night repeats counts once.
            while found.replace(tzinfo=None) <= start.replace(tzinfo=None):
                found = runs.get_next()
        except CroniterBadDateError:
            return None
        return found.timestamp()


#: When the clock is moved by a year, runs of its last day only are made up for.
_MOST_ARREARS = 86400.0
_STATES_KEPT = 10
_STATES = {"DELIVERED": "SUCCESS", "FAILED": "FAIL"}


@dataclass(eq=False)
class Schedule:
    """A message that is sent again and again.

    :param destination: a URL, or the name of a URL group
    :param expression: the cron expression as it was sent
    """

    id: str
    destination: str
    expression: str
    cron: Cron
    options: PublishOptions
    created_at: float
    paused: bool = False
    last_at: float | None = None
    next_at: float | None = None
    #: Grows with every change, so that what was due is not.
    version: int = 0
    #: The messages of its last runs, by id.
    runs: dict[str, Message] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        """Return the schedule with its facts."""
        options = self.options
        states = {message_id: _run_state(run) for message_id, run in self.runs.items()}
        shown = option_fields(options) | {
            "delay": options.delay,
            "timeout": options.timeout,
            "lastScheduleTime": None if self.last_at is None else milliseconds(self.last_at),
            "nextScheduleTime": None if self.next_at is None else milliseconds(self.next_at),
            "lastScheduleStates": states,
        }
        hidden = ("url", "topicName", "scheduleId")
        return {
            "scheduleId": self.id,
            "cron": self.expression,
            "destination": self.destination,
            "createdAt": milliseconds(self.created_at),
            "method": options.method,
            "retries": options.max_retries,
            "isPaused": self.paused,
            "callerIP": CALLER_IP,
            **present({name: value for name, value in shown.items() if name not in hidden}),
            **body_fields(options.body),
        }


class Schedules:
    """All schedules; the caller holds the lock.

    :param dispatch: sends a message with these options to a destination, at a time in unix seconds
    """

    def __init__(
        self, engine: QStashEngine, dispatch: Callable[[str, PublishOptions, float], list[Message]]
    ) -> None:
        self._engine = engine
        self._dispatch = dispatch
        self.all: dict[str, Schedule] = {}

    def put(
        self,
        schedule_id: str,
        destination: str,
        expression: str,
        cron: Cron,
        options: PublishOptions,
        now: float,
    ) -> None:
        """Create a schedule, or change the one with that id."""
        before = self.all.get(schedule_id)
        created_at = before.created_at if before else now
        options = replace(options, schedule_id=schedule_id)
        schedule = Schedule(schedule_id, destination, expression, cron, options, created_at)
        self.all[schedule_id] = schedule
        self._plan(schedule, now)

    def pause(self, schedule: Schedule, now: float, *, paused: bool) -> None:
        """Stop a schedule, or resume it with the next run; what it missed stays undone."""
        if schedule.paused != paused:
            schedule.paused = paused
            self._plan(schedule, now)

    def remove(self, schedule_id: str) -> None:
        """Remove a schedule; messages on their way continue."""
        self.all.pop(schedule_id, None)
        self._engine.real.discard(schedule_id)

    def clear(self) -> None:
        """Remove all."""
        self.all.clear()

    def _plan(self, schedule: Schedule, now: float) -> None:
        schedule.version += 1
        schedule.next_at = None if schedule.paused else schedule.cron.after(now)
        if schedule.next_at is None:
            self._engine.real.discard(schedule.id)
            return
        version = schedule.version
        self._engine.later(schedule.next_at, lambda at: self._run(schedule, version, at))
        if self._engine.leads_out(schedule.options):
            self._engine.watch(schedule.id)

    def _run(self, schedule: Schedule, version: int, at: float) -> None:
        if schedule.version != version or self.all.get(schedule.id) is not schedule:
            return
        late = self._engine.now() - at
        if late > _MOST_ARREARS:
            self._plan(schedule, at + late - _MOST_ARREARS)
            return
        schedule.last_at = at
        for message in self._dispatch(schedule.destination, schedule.options, at):
            schedule.runs[message.id] = message
        for message_id in list(schedule.runs)[:-_STATES_KEPT]:
            del schedule.runs[message_id]
        self._plan(schedule, at)


def _run_state(message: Message) -> str:
    if not message.finished:
        return "IN_PROGRESS"
    return _STATES.get(message.state.upper(), "FAIL")
