"""What an attempt meets: faults of the service, and what happens to the worker or the account meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ACTS",
    "FATES",
    "NO_FAULT",
    "PAID_FAULTS",
    "READ_FAULTS",
    "SMOOTH",
    "Act",
    "Fate",
    "Fault",
    "Plan",
]

Act = Literal[
    "",
    "crash",
    "mark failed",
    "mark success",
    "clear",
    "execution timeout",
    "another submits",
    "disk breaks",
    "person finishes it",
    "person stops it",
    "person deletes it",
]
ACTS: tuple[Act, ...] = (
    *("crash",) * 4,
    "mark failed",
    "mark success",
    "clear",
    "execution timeout",
    "another submits",
    "another submits",
    "disk breaks",
    "person finishes it",
    "person stops it",
    "person deletes it",
)
"""What may happen at a boundary: between two requests, two writes, or during a pause."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    :param kind: ``lost`` (no answer comes), ``status`` (an error is answered), ``refused`` (no connection).
    :param effect: whether the service does what it was asked all the same: ``none``, at the ``start`` of the
        request or at its ``end``.
    :param seconds: how long the request takes.
    :param status: the HTTP status of an error; 429 comes with ``Retry-After``.
    """

    kind: Literal["", "lost", "status", "refused"] = ""
    effect: Literal["none", "start", "end"] = "none"
    seconds: float = 0.0
    status: int = 0

    def __str__(self) -> str:
        effect = "" if self.effect == "none" else f", although it took effect at its {self.effect}"
        if self.kind == "lost":
            return f"the answer was lost after {self.seconds:g} s{effect}"
        return f"answered {self.status}{effect}" if self.kind == "status" else "connection refused"


NO_FAULT = Fault()
_LOST = tuple(Fault("lost", effect, seconds) for effect in ("start", "end") for seconds in (1.0, 60.0, 100.0))
PAID_FAULTS = (
    *(NO_FAULT,) * 12,
    *_LOST,
    Fault("lost", "start", 200.0),
    *(Fault("lost", "none", seconds) for seconds in (1.0, 100.0)),
    *(Fault("status", effect, status=status) for effect in ("none", "start") for status in (500, 503)),
    *(Fault("status", status=429, seconds=seconds) for seconds in (5.0, 60.0)),
    Fault("refused"),
)
"""What may happen to the request that costs money."""
READ_FAULTS = (
    *(NO_FAULT,) * 8,
    Fault("lost", "start", 1.0),
    Fault("lost", "start", 100.0),
    Fault("status", status=500),
    Fault("status", status=404),
    Fault("status", status=429, seconds=5.0),
    Fault("refused"),
)
"""What may happen to one of the others."""


@dataclass(frozen=True)
class Fate:
    """What becomes of a remote task that is submitted.

    :param seconds: how long it works.
    :param end: its last status.
    :param hidden_for: seconds for which the service neither lists nor knows it.
    :param unknown_for: seconds for which it answers 404, although the list shows it.
    """

    seconds: float = 40.0
    end: str = "completed"
    hidden_for: float = 0.0
    unknown_for: float = 0.0

    def __str__(self) -> str:
        late = f", unseen for {self.hidden_for:g} s" if self.hidden_for else ""
        late += f", 404 for {self.unknown_for:g} s" if self.unknown_for else ""
        return f"{self.end} after {self.seconds:g} s{late}"


_FOREVER = 1e7
FATES = (
    Fate(0.0),
    Fate(),
    Fate(),
    Fate(200.0),
    Fate(200.0),
    Fate(_FOREVER),
    Fate(40.0, "failed"),
    Fate(40.0, "pending"),
    Fate(40.0, hidden_for=30.0),
    Fate(200.0, hidden_for=80.0),
    Fate(_FOREVER, hidden_for=80.0),
    Fate(200.0, unknown_for=60.0),
)


@dataclass(frozen=True)
class Plan:
    """What one attempt meets.

    :param paid: what goes wrong with the first request that costs money.
    :param read: what goes wrong with another request, the ``read_at``-th.
    :param act: what happens at the ``at``-th boundary, or at the first one whose name begins with ``at``.
    :param fate: what becomes of what it submits.
    """

    paid: Fault = NO_FAULT
    read: Fault = NO_FAULT
    read_at: int = 0
    act: Act = ""
    at: int | str = 0
    fate: Fate = Fate()

    @property
    def is_smooth(self) -> bool:
        """Whether nothing goes wrong."""
        return not (self.paid.kind or self.read.kind or self.act)


SMOOTH = Plan()
