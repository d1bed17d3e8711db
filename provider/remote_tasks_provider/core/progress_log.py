"""How far long work is, said in the log every few seconds, so that a reader need not guess."""

from __future__ import annotations

import time
from collections.abc import Callable

from remote_tasks_provider.core.log import Log, counted, in_bytes

__all__ = ["ProgressLog"]

# Seconds between two lines.
_EVERY = 10.0


class ProgressLog:
    """Counts what was done, and says it now and then; work that is over before the first line says nothing.

    :param doing: the beginning of each line: ``Uploading a.csv``.
    :param noun: what is counted beside bytes: ``item``.
    :param of: how many there will be, if known.
    :param monotonic: seconds that never jump.
    """

    def __init__(
        self,
        log: Log,
        doing: str,
        *,
        noun: str | None = None,
        of: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._doing = doing
        self._noun = noun
        self._of = of
        self._monotonic = monotonic
        self._began = self._said_at = monotonic()
        self._number = self._size = 0

    def add(self, number: int = 0, size: int = 0) -> None:
        """Count; say how far the work is if that was not said for some seconds.

        :param size: bytes.
        """
        self._number += number
        self._size += size
        now = self._monotonic()
        if now - self._said_at >= _EVERY:
            self._said_at = now
            self._log.info("%s: %s so far, %s/s.", self._doing, self._amount, self._rate(now - self._began))

    def add_bytes(self, size: int) -> None:
        """Count bytes; as :meth:`add`."""
        self.add(size=size)

    @property
    def _amount(self) -> str:
        if self._noun is None:
            return in_bytes(self._size)
        number = counted(self._number, self._noun)
        if self._of is not None:
            number = f"{self._number:,} of {counted(self._of, self._noun)}"
        return f"{number}, {in_bytes(self._size)}"

    def _rate(self, seconds: float) -> str:
        """Return what was done in a second: bytes where the number of things is known, else the things."""
        if self._noun is not None and self._of is None:
            return counted(round(self._number / seconds), self._noun)
        return in_bytes(self._size / seconds)
