"""Where messages go: scripted answers by pattern of the address, and how real deliveries are signed.

https://upstash.com/docs/qstash/features/security for the signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from remote_tasks_sandbox.delivery import Response
from remote_tasks_sandbox.progression import check_seconds

__all__ = ["DEFAULT_LATENCY", "DeliveryPlan", "DeliveryPlans", "sign"]

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
        """Put a plan in force, before all that are."""
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


_SIGNED_SECONDS = 300


def sign(body: bytes, url: str, key: str, *, age: float = 0.0) -> str:
    """Return the signature of a delivery: a JWT with HS256.

    Its times are the machine's, not the sandbox's: the receiver compares them with its own clock.

    :param key: the current signing key
    :param age: seconds since it was signed
    """
    now = int(time.time() - age)
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()
    claims = {"iss": "Upstash", "sub": url, "exp": now + _SIGNED_SECONDS, "nbf": 0, "iat": now}
    claims |= {"jti": f"jwt_{secrets.token_hex(12)}", "body": digest}
    signed = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(claims)}"
    signature = hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_unpadded(signature)}"


def _segment(value: Mapping[str, Any]) -> str:
    return _unpadded(json.dumps(value, separators=(",", ":")).encode())


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
