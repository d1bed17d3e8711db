"""What scripted destinations answer: outcomes by pattern of their address, one for each attempt of a message.

No destination but those of this machine is ever contacted; what the others answer is decided here. Imports
nothing of the sandbox but the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from remote_tasks_sandbox.progression import check_seconds
from remote_tasks_sandbox.qstash.message import Response

__all__ = ["DEFAULT_LATENCY", "DeliveryPlan", "DeliveryPlans"]

DEFAULT_LATENCY = 0.2

_ERRORS = {"error": "connection refused", "timeout": "timeout"}
_FIELDS = ("status", "body", "headers", "latency")


@dataclass(frozen=True)
class DeliveryPlan:
    """What destinations like ``pattern`` answer.

    :param steps: an answer and its latency in seconds for each attempt; the last one goes for all others
    """

    pattern: str
    steps: tuple[tuple[Response, float], ...]

    def attempt(self, number: int) -> tuple[Response, float]:
        """Return what attempt ``number``, from 0 on, comes to and how long it takes."""
        return self.steps[min(number, len(self.steps) - 1)]

    def describe(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        steps = [
            {"status": one.status, "error": one.error, "latency": latency} for one, latency in self.steps
        ]
        return {"pattern": self.pattern, "outcomes": steps}


class DeliveryPlans:
    """The plans in force; the caller holds the lock."""

    def __init__(self) -> None:
        self._plans: list[DeliveryPlan] = []

    def add(self, pattern: str, outcomes: Any = (200,), *, latency: float = 0.0) -> None:
        """Put a plan in force, before all that are.

        :raises ValueError: for an outcome that is none, or a negative latency
        """
        if isinstance(outcomes, int | str | Mapping):
            outcomes = [outcomes]
        if not isinstance(outcomes, Iterable):
            raise ValueError("outcomes are a list such as [500, 500, 200]")  # noqa: TRY004 - a wrong value in JSON, answered with 400
        steps = tuple(_step(outcome, latency) for outcome in outcomes)
        if not pattern or not steps:
            raise ValueError("a plan needs a pattern and at least one outcome")
        self._plans.insert(0, DeliveryPlan(pattern, steps))

    def find(self, url: str) -> DeliveryPlan | None:
        """Return the newest plan for a destination."""
        return next((plan for plan in self._plans if fnmatchcase(url, plan.pattern)), None)

    def all(self) -> list[DeliveryPlan]:
        """Return the plans, newest first."""
        return list(self._plans)

    def clear(self) -> None:
        """Forget all plans."""
        self._plans.clear()


def _step(outcome: Any, latency: float) -> tuple[Response, float]:
    given = outcome if isinstance(outcome, Mapping) else {"status": outcome}
    if set(given) - set(_FIELDS):
        raise ValueError(f"an outcome has no fields but {list(_FIELDS)}")
    status = given.get("status", 200)
    error = _ERRORS.get(status, "") if isinstance(status, str) else ""
    status = 0 if error else status
    is_status = isinstance(status, int) and not isinstance(status, bool) and 200 <= status <= 599
    if not error and not is_status:
        raise ValueError(f'an outcome is a status from 200 to 599, "error" or "timeout", not {status!r}')
    body = given.get("body", b"")
    headers = {str(name): str(value) for name, value in dict(given.get("headers", {})).items()}
    raw = body.encode() if isinstance(body, str) else bytes(body)
    return Response(status, raw, headers, error), check_seconds("a latency", given.get("latency", latency))
