"""Publish options: what QStash is asked to deliver, checked before anything is sent.

https://upstash.com/docs/qstash/api/publish has the headers. Limits depend on the account's plan
(https://upstash.com/pricing/qstash), which the connection names.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.request_options import RequestOptions
from remote_tasks_provider.qstash.api.headers import check_headers, extra_headers

__all__ = ["PLANS", "PlanName", "PublishOptions", "check_name", "destination_url"]

PlanName = Literal["free", "payg", "fixed"]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_SPAN = re.compile(r"(\d+d)?(\d+h)?(\d+m)?(\d+s)?")
_CALLBACK_OPTIONS = ("delay", "headers", "method", "retries", "retry_delay", "timeout")
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
# Characters that a URL may hold; others are percent-encoded, and what is encoded already stays. Brackets are
# encoded, because one of the two HTTP libraries would encode them in a path.
_URL_CHARACTERS = "%/:=&?~+!$,;'@()*"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Plan:
    """What an account may do; sizes in bytes, times in seconds, ``None`` for no limit."""

    body: int
    delay: int | None
    timeout: int
    requests: int


PLANS: Mapping[PlanName, Plan] = {
    "free": Plan(body=1024**2, delay=7 * 86400, timeout=900, requests=100 * 1024**2),
    "payg": Plan(body=10 * 1024**2, delay=365 * 86400, timeout=7200, requests=100 * 1024**2),
    "fixed": Plan(body=50 * 1024**2, delay=None, timeout=7200, requests=100 * 1024**2),
}


@dataclass(frozen=True, slots=True)
class PublishOptions(RequestOptions):
    """A message to publish or to schedule; hook, operators and decorator share this definition.

    It checks itself. ``QStashPublishOperator`` describes the parameters; ``plan`` is the connection's, and
    ``is_scheduled`` says whether a schedule publishes it.

    :raises ValueError: naming the parameter and the fix, before anything is sent.
    """

    parameter_names: ClassVar[Mapping[str, str]] = {
        "queue": "qstash_queue",
        "retries": "delivery_retries",
        "retry_delay": "delivery_retry_delay",
        "timeout": "delivery_timeout",
    }

    destination: str | None = field(default=None, repr=False)
    body: Any = field(default=None, repr=False)
    plan: PlanName = "free"
    url_group: str | None = None
    queue: str | None = None
    method: str = "POST"
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    delay: float | str | timedelta | None = None
    not_before: datetime | int | str | None = None
    retries: int | None = None
    retry_delay: str | None = None
    timeout: float | str | timedelta | None = None
    deduplication_id: str | None = None
    content_based_deduplication: bool = False
    callback: str | None = field(default=None, repr=False)
    failure_callback: str | None = field(default=None, repr=False)
    flow_control: Mapping[str, Any] | None = None
    labels: str | Iterable[str] | None = None
    redact: str | None = None
    callback_options: Mapping[str, Any] | None = field(default=None, repr=False)
    failure_callback_options: Mapping[str, Any] | None = field(default=None, repr=False)
    extra_headers: Mapping[str, str] | None = field(default=None, repr=False)
    is_scheduled: bool = False

    target: str = field(init=False, repr=False)
    """The destination as it stands in a path."""
    content: bytes = field(init=False, repr=False)
    """The body as it is sent."""
    sent_headers: tuple[tuple[str, str], ...] = field(init=False, repr=False)
    """QStash's own headers and those that it forwards."""

    def __post_init__(self) -> None:
        content, content_type = encode_body(self.body)
        if len(content) > (limit := PLANS[self.plan].body):
            raise InvalidArgumentError(_over(f"body has {len(content)} bytes", limit, "bytes", self.plan))
        if self.queue is not None:
            check_name(self.queue, "queue")
        self._check_combinations()
        for name, value in (
            ("target", _target(self.destination, self.url_group)),
            ("content", content),
            ("sent_headers", self._sent_headers(content_type)),
        ):
            object.__setattr__(self, name, value)

    def _check_combinations(self) -> None:
        is_delayed = self.delay is not None or self.not_before is not None
        if self.delay is not None and self.not_before is not None:
            raise InvalidArgumentError("delay and not_before are both given; choose one")
        # What a schedule puts into a queue may be delayed: https://upstash.com/docs/qstash/features/schedules
        if self.queue is not None and is_delayed and not self.is_scheduled:
            raise InvalidArgumentError(
                "delay or not_before is given with a queue, which delivers in order; leave out one of them"
            )
        for name in ("callback", "failure_callback"):
            if getattr(self, f"{name}_options") is not None and getattr(self, name) is None:
                raise InvalidArgumentError(f"{name}_options is given without {name}, which it is for")
        if self.deduplication_id and self.content_based_deduplication:
            raise InvalidArgumentError(
                "deduplication_id and content_based_deduplication are both given; choose one"
            )

    def _sent_headers(self, content_type: str | None) -> tuple[tuple[str, str], ...]:
        own = dict(self._own_headers())
        for name in ("callback", "failure_callback"):
            own |= callback_headers(name, getattr(self, f"{name}_options"), self.plan)
        forwarded = check_headers(self.headers or {}, content_type)
        sent = (*forwarded, *own.items())
        return (*sent, *extra_headers(self.extra_headers, dict(sent)))

    def _own_headers(self) -> Iterator[tuple[str, str]]:
        plan = PLANS[self.plan]
        own = {
            "Upstash-Method": validation.choice(str(self.method).upper(), "method", METHODS),
            "Upstash-Delay": _seconds(self.delay, "delay", plan.delay, self.plan, zero=True),
            "Upstash-Not-Before": _not_before(self.not_before, self.plan),
            "Upstash-Retries": _retries(self.retries, "retries"),
            "Upstash-Retry-Delay": _one_line(self.retry_delay, "retry_delay"),
            "Upstash-Timeout": _seconds(self.timeout, "timeout", plan.timeout, self.plan),
            "Upstash-Deduplication-Id": _deduplication_id(self.deduplication_id),
            "Upstash-Content-Based-Deduplication": "true" if self.content_based_deduplication else None,
            "Upstash-Callback": _callback(self.callback, "callback"),
            "Upstash-Failure-Callback": _callback(self.failure_callback, "failure_callback"),
            "Upstash-Label": _labels(self.labels),
            "Upstash-Redact-Fields": _one_line(self.redact, "redact"),
            **_flow_control(self.flow_control),
        }
        return ((name, str(value)) for name, value in own.items() if value is not None)

    def keyed(self, deduplication_id: str) -> PublishOptions:
        """Return the same with a deduplication id; it has none."""
        found = copy(self)
        sent = (*self.sent_headers, ("Upstash-Deduplication-Id", deduplication_id))
        object.__setattr__(found, "deduplication_id", deduplication_id)
        object.__setattr__(found, "sent_headers", sent)
        return found

    @property
    def has_key(self) -> bool:
        """Whether QStash would recognise a repeat of it."""
        return bool(self.deduplication_id or self.content_based_deduplication)


def _over(excess: str, most: float, unit: str, plan: str) -> str:
    return (
        f"{excess}; the plan {plan!r} allows {most:g} {unit}. If the account has another plan, set plan in "
        "the connection's extra (free, payg or fixed)"
    )


def _target(destination: str | None, url_group: str | None) -> str:
    if (destination is None) == (url_group is None):
        raise InvalidArgumentError("give one of destination (a URL) and url_group (a name)")
    if url_group is not None:
        return check_name(url_group, "url_group")
    # A URL group's name has none of the characters that a URL without its scheme would have.
    if isinstance(destination, str) and _NAME.fullmatch(destination) and destination != "localhost":
        return check_name(destination, "destination")
    return destination_url(destination, "destination")


def destination_url(url: Any, name: str) -> str:
    """Return ``url`` as it is sent in a path, if QStash can deliver there."""
    if not isinstance(url, str) or not url.strip():
        raise InvalidArgumentError(
            f"{name} is {url!r}; it must be a URL: did a template or an XCom come out empty?"
        )
    shown = url.split("?")[0].rpartition("@")[2][:80]
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidArgumentError(f"{name} is {shown!r}, which is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgumentError(
            f"{name} is {shown!r}, without a scheme and a host that can be called: write https://{shown.lstrip('/')}"
            if "://" not in url
            else f"{name} is {shown!r}; QStash delivers to http:// and https:// only"
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidArgumentError(
            f"{name} holds a user or a password, which logs would show: send an Authorization header"
        )
    if parts.fragment or not url.isprintable() or url != url.strip():
        raise InvalidArgumentError(
            f"{name} is {shown!r}; a fragment, a space around it or a line break is never sent"
        )
    if not parts.netloc.isascii() or "[" in parts.netloc or {".", ".."} & set(parts.path.split("/")):
        raise InvalidArgumentError(
            f"{name} is {shown!r}; write its host as an ASCII name (xn--…) and its path without '.' and '..'"
        )
    return quote(_LONE_PERCENT.sub("%25", url), safe=_URL_CHARACTERS)


def check_name(name: Any, parameter: str) -> str:
    """Return ``name`` if a queue, a URL group, a schedule or a key may have it."""
    checked = validation.object_id(name, parameter)
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", checked):
        raise InvalidArgumentError(
            f"{parameter} is {name!r}; a name has letters, digits, '-', '_' and '.' only"
        )
    return checked


def encode_body(body: Any, name: str = "body") -> tuple[bytes, str | None]:
    """Return a body's bytes and its content type: text, bytes, or a JSON value."""
    if body is None:
        return b"", None
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode(), "application/json"
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{name} cannot be written as JSON: {error}") from None


def callback_headers(name: str, options: Any, plan: PlanName) -> dict[str, str]:
    """Return the headers of a callback's own options.

    https://upstash.com/docs/qstash/features/callbacks

    :param name: ``callback`` or ``failure_callback``.
    """
    parameter, prefix = f"{name}_options", f"Upstash-{name.replace('_', '-').title()}-"
    given = dict(validation.mapping({} if options is None else options, parameter))
    if unknown := given.keys() - set(_CALLBACK_OPTIONS):
        raise InvalidArgumentError(
            f"{parameter} has {sorted(unknown)[0]!r}; the options are {', '.join(_CALLBACK_OPTIONS)}"
        )
    method, headers = given.get("method"), given.get("headers") or {}
    found = {
        "Method": None if method is None else validation.choice(str(method).upper(), parameter, METHODS),
        "Retries": _retries(given.get("retries"), f"{parameter}['retries']"),
        "Retry-Delay": _one_line(given.get("retry_delay"), f"{parameter}['retry_delay']"),
        "Delay": _seconds(given.get("delay"), f"{parameter}['delay']", PLANS[plan].delay, plan, zero=True),
        "Timeout": _seconds(given.get("timeout"), f"{parameter}['timeout']", PLANS[plan].timeout, plan),
    }
    own = {f"{prefix}{key}": str(value) for key, value in found.items() if value is not None}
    for key, value in check_headers(headers, None):
        own[f"{prefix}Forward-{key.removeprefix('Upstash-Forward-')}"] = value
    return own


def _retries(value: Any, name: str) -> int | None:
    return None if value is None else validation.whole_number(value, name, least=0)


def _span(value: Any, name: str, *, zero: bool = False) -> int | None:
    """Return a duration in whole seconds: a number, a ``timedelta``, or QStash's ``1d10h30m5s``."""
    if value is None:
        return None
    found = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
    if found and any(found.groups()):
        return sum(int(part[:-1]) * _UNITS[part[-1]] for part in found.groups() if part)
    try:
        seconds = validation.seconds(value, name, zero=zero)
        return max(1, round(seconds)) if seconds else 0
    except ValueError:
        raise InvalidArgumentError(
            f"{name} is {value!r}; write seconds, a timedelta, or something like 1d10h30m5s"
        ) from None


def _seconds(value: Any, name: str, most: int | None, plan: PlanName, *, zero: bool = False) -> str | None:
    seconds = _span(value, name, zero=zero)
    if seconds is not None and most is not None and seconds > most:
        raise InvalidArgumentError(_over(f"{name} is {seconds} s", most, "s", plan))
    return None if seconds is None else f"{seconds}s"


def _not_before(value: Any, plan: PlanName) -> int | None:
    moment, most = validation.unix_seconds(value, "not_before"), PLANS[plan].delay
    if moment is not None and most is not None and moment - time.time() > most:
        raise InvalidArgumentError(
            _over(f"not_before is {moment - time.time():.0f} s from now", most, "s", plan)
        )
    return moment


def _callback(url: str | None, name: str) -> str | None:
    return None if url is None else destination_url(url, name)


def _deduplication_id(value: str | None) -> str | None:
    if not value:
        return None
    checked = validation.object_id(value, "deduplication_id")
    if ":" in checked or not checked.isascii() or " " in checked:
        raise InvalidArgumentError(
            f"deduplication_id is {value!r}; QStash takes no ':', no space and ASCII only"
        )
    return checked


def _one_line(value: Any, name: str) -> str | None:
    """Return a text that a header can carry."""
    if value is None:
        return None
    if not (isinstance(value, str) and value.isascii() and value.isprintable()):
        raise InvalidArgumentError(f"{name} is {value!r}; it must be a line of ASCII text")
    return validation.word(value, name).strip()


def _labels(value: Any) -> str | None:
    if value is None:
        return None
    several = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    items: Iterable[Any] = value if several else [value]
    lines = [_one_line(validation.word(one, "labels"), "labels") or "" for one in items]
    for line in lines:
        if "," in line:
            raise InvalidArgumentError(f"labels has {line!r}; a label is a text without a comma")
    return ",".join(lines) or None


def _flow_control(asked: Any) -> dict[str, str]:
    given = validation.mapping({} if asked is None else asked, "flow_control")
    if not given:
        return {}
    limits = {name: given.get(name) for name in ("parallelism", "rate")}
    unknown = set(given) - {"key", "period", *limits}
    if unknown or given.get("key") is None or not any(one is not None for one in limits.values()):
        raise InvalidArgumentError(
            f"flow_control is {dict(given)!r}; it must have a key and parallelism, rate or both, and may "
            "have period"
        )
    numbers = [
        f"{name}={validation.whole_number(value, f'flow_control[{name!r}]', least=1)}"
        for name, value in limits.items()
        if value is not None
    ]
    period = _span(given.get("period"), "flow_control['period']")
    key = _one_line(validation.word(given["key"], "flow_control['key']"), "flow_control['key']") or ""
    return {
        "Upstash-Flow-Control-Key": key,
        "Upstash-Flow-Control-Value": ", ".join([*numbers, *([f"period={period}s"] if period else [])]),
    }
