"""When a schedule is due: cron expressions of five fields, with ``CRON_TZ=`` before them.

https://upstash.com/docs/qstash/features/schedules. croniter reads the expressions; this module
adds the time zone and refuses what QStash does not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, CroniterError, croniter  # type: ignore[import-untyped]  # no types

from remote_tasks_sandbox.calls import Refused

__all__ = ["Cron"]

#: croniter's own additions (seconds, ``L``, ``#``, ``H``, ``R``, ``@daily``) are not QStash's.
_FIELDS = re.compile(r"(?:(?:[\d*,/-]|[a-z]{3})+ ){5}", re.IGNORECASE)


@dataclass(frozen=True)
class Cron:
    """A cron expression in a time zone."""

    expression: str
    zone: tzinfo

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
