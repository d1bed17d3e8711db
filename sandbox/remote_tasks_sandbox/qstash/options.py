"""What a publisher asks of QStash: destination, body and all ``Upstash-*`` headers, checked.

https://upstash.com/docs/qstash/api/publish. HTTP is left to ``v2_messages``, the delivery to ``engine``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from remote_tasks_sandbox.calls import Refused
from remote_tasks_sandbox.qstash.parsing import check_url, duration, flag, retry_delay_seconds, whole

__all__ = [
    "DEFAULT_RETRIES",
    "METHODS",
    "PLANS",
    "FlowControl",
    "PlanLimits",
    "PublishOptions",
    "forwarded",
    "read_again",
    "read_options",
]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
DEFAULT_RETRIES = 3

_DAY = 86400
_MEGABYTE = 1024 * 1024
#: Not meant for a second life.
_FIRST_LIFE = frozenset(
    {
        *("upstash-delay", "upstash-not-before", "upstash-deduplication-id"),
        "upstash-content-based-deduplication",
    }
)
#: Not forwarded even with ``Upstash-Header-Forward``: they belong to the way from the publisher to QStash.
_OWN_HEADERS = frozenset({"authorization", "host", "content-length", "connection", "accept-encoding"})


@dataclass(frozen=True)
class PlanLimits:
    """What a plan allows: https://upstash.com/pricing/qstash; times are in seconds."""

    body_bytes: int
    delay: float
    timeout: float
    retries: int


PLANS = {
    "free": PlanLimits(body_bytes=_MEGABYTE, delay=7 * _DAY, timeout=900, retries=3),
    "payg": PlanLimits(body_bytes=10 * _MEGABYTE, delay=365 * _DAY, timeout=7200, retries=5),
}


@dataclass(frozen=True)
class FlowControl:
    """The flow control of a message; ``period`` is in seconds."""

    key: str
    parallelism: int | None = None
    rate: int | None = None
    period: int = 1


@dataclass(frozen=True)
class PublishOptions:
    """A message as its publisher wants it, to one destination.

    :param headers: what the destination gets, names as they were sent
    :param asked: all ``Upstash-*`` headers, lower case, for a retry from the dead letter queue
    :param timeout: seconds for one attempt; ``None`` for what the plan allows
    :param delay: seconds before the first attempt
    :param not_before: unix seconds; overrides ``delay``
    """

    url: str
    method: str = "POST"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)
    max_retries: int = DEFAULT_RETRIES
    retry_delay: str | None = None
    timeout: int | None = None
    delay: int = 0
    not_before: int | None = None
    labels: tuple[str, ...] = ()
    flow: FlowControl | None = None
    callback: PublishOptions | None = None
    failure_callback: PublishOptions | None = None
    redact: frozenset[str] = frozenset()
    deduplication_id: str | None = None
    queue: str | None = None
    topic: str | None = None
    endpoint: str | None = None
    schedule_id: str | None = None

    def deduplication_key(self) -> tuple[str, str] | None:
        """Return what a repeated message is known by; the members of a URL group differ by their address."""
        if self.deduplication_id is None:
            return None
        return self.deduplication_id, self.url if self.topic else ""


def read_options(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    plan: PlanLimits,
    now: float,
    *,
    queue: str | None = None,
    scheduled: bool = False,
) -> PublishOptions:
    """Check what was sent and return it as options; the destination itself is checked elsewhere.

    :param headers: lower-case names
    :param now: unix seconds, from which ``Upstash-Not-Before`` may be as far as the plan allows
    :param queue: the queue it goes through, which knows no delay
    :param scheduled: whether a schedule publishes it: then a queue goes with a delay
    """
    if len(body) > plan.body_bytes:
        raise Refused(413, f"message is too large: {len(body)} bytes, max allowed {plan.body_bytes}")
    asked = {name: value for name, value in headers.items() if name.startswith("upstash-")}
    if queue and not scheduled and {"upstash-delay", "upstash-not-before"} & asked.keys():
        raise Refused(400, "invalid delay: a message in a queue can't be delayed")
    options = _common(PublishOptions(url, body=body, asked=asked), "upstash-", asked, plan)
    options = replace(
        options,
        headers=_destination_headers(headers, asked),
        not_before=_not_before(asked, now + plan.delay),
        labels=_words(asked.get("upstash-label", "")),
        flow=_flow_control(asked),
        callback=_callback("upstash-callback", asked, plan),
        failure_callback=_callback("upstash-failure-callback", asked, plan),
        redact=_redacted(asked),
        queue=queue,
    )
    return replace(options, deduplication_id=_deduplication_id(options))


def read_again(
    old: PublishOptions, overrides: Mapping[str, str], plan: PlanLimits, now: float
) -> PublishOptions:
    """Return the options of a second life: those of the first one, but its delay and its deduplication id.

    :param overrides: ``Upstash-*`` headers, lower case, that stand above those of the first life
    """
    kept = {name: value for name, value in old.asked.items() if name not in _FIRST_LIFE}
    kept |= {f"upstash-forward-{name}": value for name, value in old.headers.items()}
    return read_options(old.url, {**kept, **overrides}, old.body, plan, now, queue=old.queue)


def forwarded(prefix: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers below ``<prefix>forward-``, without that prefix."""
    start = f"{prefix}forward-"
    return {name.removeprefix(start): value for name, value in headers.items() if name.startswith(start)}


def _common(
    options: PublishOptions, prefix: str, asked: Mapping[str, str], plan: PlanLimits
) -> PublishOptions:
    """Read what a message and its callbacks have alike."""
    method = asked.get(f"{prefix}method", "POST").upper()
    if method not in METHODS:
        raise Refused(400, f"invalid method: {method!r} is none of {', '.join(METHODS)}")
    delay = duration("delay", asked.get(f"{prefix}delay", "0s"))
    if delay > plan.delay:
        raise Refused(400, f"invalid delay: {delay} s, max allowed {plan.delay:.0f} s")
    timeout = asked.get(f"{prefix}timeout")
    seconds = None if timeout is None else duration("timeout", timeout)
    if seconds is not None and not 1 <= seconds <= plan.timeout:
        raise Refused(400, f"invalid timeout: {seconds} s, max allowed {plan.timeout:.0f} s")
    retries = asked.get(f"{prefix}retries")
    expression = asked.get(f"{prefix}retry-delay")
    if expression is not None:
        retry_delay_seconds(expression, 0)
    return replace(
        options,
        method=method,
        delay=delay,
        timeout=seconds,
        retry_delay=expression,
        max_retries=min(DEFAULT_RETRIES, plan.retries)
        if retries is None
        else whole("retries", retries, most=plan.retries),
    )


def _callback(name: str, asked: Mapping[str, str], plan: PlanLimits) -> PublishOptions | None:
    url = asked.get(name)
    if url is None:
        return None
    check_url(name.removeprefix("upstash-").replace("-", " "), url)
    options = _common(PublishOptions(url), f"{name}-", asked, plan)
    return replace(options, headers=forwarded(f"{name}-", asked))


def _destination_headers(headers: Mapping[str, str], asked: Mapping[str, str]) -> dict[str, str]:
    passed = {"content-type": headers["content-type"]} if "content-type" in headers else {}
    if flag("header forward", asked.get("upstash-header-forward", "false")):
        passed |= {
            name: value
            for name, value in headers.items()
            if name not in _OWN_HEADERS and not name.startswith("upstash-")
        }
    return passed | forwarded("upstash-", asked)


def _not_before(asked: Mapping[str, str], latest: float) -> int | None:
    value = asked.get("upstash-not-before")
    if value is None:
        return None
    seconds = whole("not before", value)
    if seconds > latest:
        raise Refused(400, f"invalid not before: {seconds} is beyond the max allowed {latest:.0f}")
    return seconds


def _words(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _flow_control(asked: Mapping[str, str]) -> FlowControl | None:
    key, value = asked.get("upstash-flow-control-key"), asked.get("upstash-flow-control-value")
    if key is None and value is None:
        return None
    if not key or not value:
        raise Refused(400, "invalid flow control: key and value belong together")
    given = {}
    for part in _words(value):
        name, _, setting = (piece.strip() for piece in part.partition("="))
        if name not in ("parallelism", "rate", "period"):
            raise Refused(400, f"invalid flow control value: {part!r}")
        is_span = name == "period" and not setting.isdecimal()
        given[name] = duration(name, setting) if is_span else whole(name, setting, least=1)
    if not given.keys() & {"parallelism", "rate"}:
        raise Refused(400, "invalid flow control value: it needs parallelism or rate")
    return FlowControl(key, given.get("parallelism"), given.get("rate"), given.get("period", 1))


def _redacted(asked: Mapping[str, str]) -> frozenset[str]:
    fields = frozenset(word.lower() for word in _words(asked.get("upstash-redact-fields", "")))
    for name in fields:
        if name not in ("body", "header") and not (name.startswith("header[") and name.endswith("]")):
            raise Refused(400, f"invalid redact fields: {name!r} is none of body, header, header[<name>]")
    return fields


def _deduplication_id(options: PublishOptions) -> str | None:
    given = options.asked.get("upstash-deduplication-id")
    by_content = flag(
        "content based deduplication", options.asked.get("upstash-content-based-deduplication", "false")
    )
    if given is not None:
        if not given or ":" in given:
            raise Refused(400, "invalid deduplication id: it must not be empty and not contain ':'")
        return given
    if not by_content:
        return None
    parts = [
        options.url,
        options.headers.get("content-type", ""),
        *(f"{k}={v}" for k, v in sorted(options.headers.items())),
    ]
    return "content-" + hashlib.sha256("\n".join(parts).encode() + b"\n" + options.body).hexdigest()
