"""When a schedule is due: cron expressions of five fields, with ``CRON_TZ=`` before them.

https://upstash.com/docs/qstash/features/schedules. Minutes are counted in the expression's own zone. Imports
nothing of the sandbox but the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from remote_tasks_sandbox.qstash.parsing import Refused

__all__ = ["Cron"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
#: February 29th on a Monday may be 40 years away.
_MOST_DAYS = 41 * 366


@dataclass(frozen=True)
class Cron:
    """A cron expression.

    :param either_day: whether a day fits when its date or its weekday does, as both were narrowed down
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    dates: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    zone: tzinfo
    either_day: bool

    @classmethod
    def parse(cls, expression: str) -> Cron:
        """Read an expression.

        :raises Refused: when it is none
        """
        words = expression.split()
        zone: tzinfo = UTC
        if words and words[0].startswith("CRON_TZ="):
            name = words.pop(0).removeprefix("CRON_TZ=")
            try:
                zone = ZoneInfo(name)
            except (OSError, ValueError, KeyError):
                raise Refused(400, f"invalid cron: unknown time zone {name!r}") from None
        if len(words) != len(_FIELDS):
            raise Refused(400, f"invalid cron: {expression!r} must have five fields")
        minutes, hours, dates, months, weekdays = (
            _field(word, *field) for word, field in zip(words, _FIELDS, strict=True)
        )
        either = not words[2].startswith("*") and not words[4].startswith("*")
        return cls(minutes, hours, dates, months, frozenset(day % 7 for day in weekdays), zone, either)

    def after(self, seconds: float) -> float | None:
        """Return the next time after ``seconds``, both unix seconds; ``None`` when there is none."""
        start = datetime.fromtimestamp(seconds, self.zone).replace(second=0, microsecond=0, tzinfo=None)
        first = start + timedelta(minutes=1)
        day = first.replace(hour=0, minute=0)
        for _ in range(_MOST_DAYS):
            if self._fits(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        wanted = day.replace(hour=hour, minute=minute)
                        found = wanted.replace(tzinfo=self.zone).timestamp()
                        # In the hour that an autumn night repeats, the clock alone does not tell.
                        if wanted >= first and found > seconds:
                            return found
            day += timedelta(days=1)
        return None

    def _fits(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        date, weekday = day.day in self.dates, day.isoweekday() % 7 in self.weekdays
        return date or weekday if self.either_day else date and weekday


def _field(word: str, name: str, low: int, high: int, names: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for part in word.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _number(first, word, name, names, low)
            end = _number(last, word, name, names, low) if dash else high if slash else start
        width = int(step) if step.isdecimal() and step.isascii() else 0
        if not low <= start <= end <= high or (slash and width < 1):
            raise Refused(400, f"invalid cron: {word!r} is not a {name}")
        found.update(range(start, end + 1, width or 1))
    return frozenset(found)


def _number(text: str, word: str, name: str, names: tuple[str, ...], low: int) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    if not (text.isascii() and text.isdecimal()):
        raise Refused(400, f"invalid cron: {word!r} is not a {name}")
    return int(text)
