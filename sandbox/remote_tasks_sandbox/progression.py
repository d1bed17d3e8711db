"""How an emulated task moves from one status word to the next: by time, by reads, or on command.

All three are kept as one list of (start, word) entries, so that "what is it now", "since when", "what came
before" and "when does it change" have one answer each. Words are never checked: a vendor may invent one
tomorrow, and a test must be able to say so today. Imports nothing of the sandbox.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Script", "Step", "Timeline", "check_seconds", "parse_script"]

Step = tuple[str, "float | None"]
Script = Sequence[Step]


def parse_script(raw: Iterable[Any]) -> tuple[Step, ...]:
    """Check a script and bring it into one form.

    :param raw: steps, each a word, a ``(word, seconds)`` pair or ``{"status": word, "seconds": seconds}``;
        ``None`` for the seconds means for ever
    :returns: the steps as pairs
    """
    if isinstance(raw, str | Mapping):
        raise ValueError('a script is a list such as [["running", 5], ["completed", null]]')  # noqa: TRY004 - a wrong value in JSON, answered with 400
    steps = tuple(_parse_step(step) for step in raw)
    if not steps:
        raise ValueError("a script needs at least one step")
    return steps


def _parse_step(step: Any) -> Step:
    word: Any
    seconds: Any
    if isinstance(step, str):
        word, seconds = step, None
    elif isinstance(step, Mapping):
        word, seconds = step.get("status"), step.get("seconds")
    elif isinstance(step, Sequence) and 1 <= len(step) <= 2:
        word, seconds = step[0], (step[1] if len(step) == 2 else None)
    else:
        raise ValueError(f"not a step: {step!r}")
    if not isinstance(word, str) or not word:
        raise ValueError(f"a step starts with a status word, not {word!r}")
    if seconds is None:
        return word, None
    return word, check_seconds(f"the time of step {word!r}", seconds)


def check_seconds(name: str, value: Any) -> float:
    """Return a number of seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} is a number of seconds from 0 on, not {value!r}")
    return float(value)


class Timeline:
    """The statuses one task had, has and will have.

    :param script: the steps; see :func:`parse_script`
    :param now: unix seconds from which the steps are counted
    :param began_at: unix seconds at which the first status began, if earlier than ``now``
    :param advance_after_reads: go one step on after that many reads instead of by time; ``None`` goes by time
    :param holds: words that may last for ever and yet have steps after them, begun by :meth:`go_on`
    """

    def __init__(
        self,
        script: Iterable[Any],
        *,
        now: float,
        began_at: float | None = None,
        advance_after_reads: int | None = None,
        holds: frozenset[str] = frozenset(),
    ) -> None:
        if advance_after_reads is not None and advance_after_reads < 1:
            raise ValueError("advance_after_reads counts reads from 1 on")
        self._starts: list[float] = []
        self._words: list[str] = []
        self._ahead: list[str] = []
        self._held: tuple[Step, ...] = ()
        self._holds = holds
        self._reads_per_step = advance_after_reads
        self._reads_in_step = 0
        #: Grows with every change by command or read, so that caches of rendered tasks know they are stale.
        self.version = 0
        #: Called after every change by command or read.
        self.on_change: Callable[[], None] = lambda: None
        self._append(self._checked(script), now)
        if began_at is not None:
            self._starts[0] = min(began_at, self._starts[0])

    def _checked(self, script: Iterable[Any]) -> tuple[Step, ...]:
        steps = parse_script(script)
        by_time = self._reads_per_step is None
        if by_time and any(seconds is None and word not in self._holds for word, seconds in steps[:-1]):
            raise ValueError("a step that lasts for ever (null) must be the last one")
        return steps

    def _append(self, steps: tuple[Step, ...], now: float) -> None:
        if self._reads_per_step is not None:
            self._starts.append(now)
            self._words.append(steps[0][0])
            self._ahead = [word for word, _ in steps[1:]]
            return
        at = now
        for number, (word, seconds) in enumerate(steps, start=1):
            self._starts.append(at)
            self._words.append(word)
            if seconds is None:
                self._held = steps[number:]
                return
            at += seconds

    def index(self, now: float) -> int:
        """Return the position of the status in force at ``now``."""
        return max(bisect_right(self._starts, now) - 1, 0)

    def word(self, now: float) -> str:
        """Return the status word in force at ``now``."""
        return self._words[self.index(now)]

    def since(self, now: float) -> float:
        """Return when the status in force at ``now`` began, in unix seconds."""
        return self._starts[self.index(now)]

    def visited(self, index: int) -> list[tuple[float, str]]:
        """Return the (start, word) pairs up to and with position ``index``, oldest first."""
        return list(zip(self._starts[: index + 1], self._words[: index + 1], strict=True))

    def next_change(self, now: float) -> float | None:
        """Return when the next status begins by time, or ``None`` when none is due."""
        following = self.index(now) + 1
        return self._starts[following] if following < len(self._starts) else None

    def next_word(self, now: float) -> str | None:
        """Return the word of the next status, or ``None`` when none is to come."""
        following = self.index(now) + 1
        if following < len(self._words):
            return self._words[following]
        return self._ahead[0] if self._ahead else None

    def reads_left(self) -> int | None:
        """Return how many more reads bring the next status, or ``None`` when reads change nothing."""
        if self._reads_per_step is None or not self._ahead:
            return None
        return self._reads_per_step - self._reads_in_step

    def run(self, script: Iterable[Any], now: float) -> None:
        """Drop what lies ahead and follow ``script`` from ``now`` on."""
        steps = self._checked(script)
        keep = self.index(now) + 1
        del self._starts[keep:], self._words[keep:]
        self._ahead, self._held = [], ()
        self._reads_in_step = 0
        self.version += 1
        self._append(steps, max(now, self._starts[-1]))
        self.on_change()

    def go_on(self, default: Iterable[Any], now: float) -> None:
        """Begin the next step at once, or ``default`` when there is none to come."""
        following = self.index(now) + 1
        starts = [*self._starts[following:], None]
        scheduled = [
            (word, None if end is None else end - start)
            for word, start, end in zip(self._words[following:], starts, starts[1:], strict=False)
            if start is not None
        ]
        self.run([*scheduled, *((word, None) for word in self._ahead), *self._held] or default, now)

    def note_read(self, now: float) -> None:
        """Count one read; where the task goes by reads, this may begin its next status."""
        if self._reads_per_step is None or not self._ahead:
            return
        self._reads_in_step += 1
        if self._reads_in_step >= self._reads_per_step:
            self._reads_in_step = 0
            self.version += 1
            self._starts.append(max(now, self._starts[-1]))
            self._words.append(self._ahead.pop(0))
            self.on_change()
