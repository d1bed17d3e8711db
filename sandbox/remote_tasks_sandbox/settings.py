"""The switches of the sandbox: accepted keys, QStash's region and cursor quirks, the vendors' rate limits.

Imports nothing of the sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["DOCUMENTED_RATE_LIMITS", "RATE_LIMITED_ENDPOINTS", "Settings"]

#: Calls per minute: https://open.manus.ai/docs/v2/rate-limits. None are documented for v1.
DOCUMENTED_RATE_LIMITS = {
    "manus.task.create": 10,
    "manus.task.sendMessage": 10,
    "manus.task.detail": 100,
    "manus.task.list": 100,
    "manus.task.listMessages": 100,
    "manus.task.update": 40,
    "manus.task.stop": 40,
    "manus.task.delete": 40,
    "manus.task.confirmAction": 40,
    "manus.project.create": 40,
    "manus.project.list": 100,
    "manus.file.upload": 40,
    "manus.file.detail": 100,
    "manus.file.delete": 40,
    "manus.skill.list": 100,
    "manus.connector.list": 100,
    "manus.browser.onlineList": 100,
    "manus.usage.list": 600,
    "manus.usage.availableCredits": 600,
}

RATE_LIMITED_ENDPOINTS = (
    *("manus.list", "manus.get", "manus.create", "manus.update", "manus.delete"),
    *("manus.files", "manus.projects"),
    *DOCUMENTED_RATE_LIMITS,
    *("manus.user.me", "qstash.task", "qstash.message_tasks", "qstash.publish", "qstash.messages"),
    *("qstash.logs", "qstash.dlq", "qstash.schedules", "qstash.queues", "qstash.topics"),
    *("qstash.flow_control", "qstash.keys"),
)

_SCOPES = ("create_task", "manage_all_tasks", "create_project", "use_connectors", "use_my_browsers")

_CURSOR_ENDS = ("absent", None, 0, "0", "")
_STRING_FIELDS = ("maxRetry", "retried", "lastErrorAt")
_PLANS = ("free", "payg")
_LOG_KEYS = ("events", "logs")
_CANCELLED_WORDS = ("CANCELLED", "CANCELED")
_THREE_DAYS = 3 * 86400.0


@dataclass
class Settings:
    """Switches that may be changed while the sandbox runs.

    :param manus_key: the one key accepted, in the header ``API_KEY`` of v1 and ``x-manus-api-key`` of v2
    :param manus_oauth_token: the one token v2 accepts as ``Authorization: Bearer``
    :param manus_oauth_scopes: what that token may do
    :param manus_credits: what the account had to spend before its first task
    :param manus_user_stop_on_stop: ``True`` lets a stop through the API leave the event ``user_stop``, as one
        in the web app does; whether it does so is not documented
    :param manus_v2_as_proto3: ``True`` lets v2 answer as v1 does: 64-bit integers as strings, and nothing
        that is empty, zero or false
    :param qstash_token: the token accepted as ``Authorization: Bearer``
    :param qstash_read_only_token: the token that may read everything and change nothing
    :param qstash_foreign_token: a token of the other region, answered with 404
    :param wrong_region: ``True`` lets every QStash call answer 404 "user not found in this region"
    :param region: the region named in that answer
    :param cursor_end: how the last page of a QStash list spells its cursor: ``"absent"``, ``None`` (JSON
        ``null``), ``0``, ``"0"`` or ``""``
    :param qstash_string_fields: fields of the single QStash task sent as strings
    :param qstash_plan: ``"free"`` or ``"payg"``: how large, how late and how often a message may be
    :param qstash_deliver: whether messages to this machine are really sent; no other destination ever is
    :param qstash_retry_seconds: sandbox seconds between attempts where neither the publisher nor the
        destination says when; ``None`` for QStash's own 12 s, 2.5 min, 30 min, 6 h, 24 h
    :param qstash_cancel_seconds: sandbox seconds from ``CANCEL_REQUESTED`` to ``CANCELLED``; ``None`` for the
        next time an attempt is due
    :param qstash_log_lag: seconds before an entry shows in the log
    :param qstash_log_retention: seconds after which it does so no more
    :param qstash_dlq_retention: seconds after which a dead letter is gone
    :param qstash_logs_key: under which key the log's entries come: ``"events"`` or ``"logs"``
    :param qstash_cancelled_word: ``"CANCELLED"`` or ``"CANCELED"``
    :param qstash_lower_case_states: ``True`` writes the states of the log in lower case
    :param qstash_times_as_strings: ``True`` writes the times of the log as strings
    :param qstash_groups_as_object: ``True`` answers a message to a URL group with ``{"messages": […]}``
        instead of a list
    :param qstash_burst_limit: calls per second, all that are limited together; ``None`` for no limit
    :param qstash_daily_limit: messages per day (UTC); ``None`` for no limit
    :param qstash_current_signing_key: what deliveries are signed with
    :param qstash_next_signing_key: what becomes current when the keys are rotated
    :param rate_limits: calls per minute, by endpoint name (one of ``RATE_LIMITED_ENDPOINTS``); an endpoint
        that is not named has no limit; :meth:`update` also takes ``"documented"``
    :param rate_limit_retry_after: ``True`` adds ``Retry-After`` to a 429 of those limits; neither vendor
        documents it
    :param file_url_seconds: how long the address of an output file works, at most; at least half as long
    """

    manus_key: str = "sk-sandbox"
    manus_oauth_token: str = "oauth-sandbox"  # noqa: S105 - the sandbox's own, published default
    manus_oauth_scopes: tuple[str, ...] = _SCOPES
    manus_credits: int = 10_000
    manus_user_stop_on_stop: bool = False
    manus_v2_as_proto3: bool = False
    qstash_token: str = "sandbox-token"  # noqa: S105 - likewise
    qstash_read_only_token: str = "sandbox-read-only-token"  # noqa: S105 - likewise
    qstash_foreign_token: str = "sandbox-us-token"  # noqa: S105 - likewise
    wrong_region: bool = False
    region: str = "eu-central-1"
    cursor_end: str | int | None = "absent"
    qstash_string_fields: tuple[str, ...] = _STRING_FIELDS
    qstash_plan: str = "free"
    qstash_deliver: bool = True
    qstash_retry_seconds: float | None = 1.0
    qstash_cancel_seconds: float | None = 0.0
    qstash_log_lag: float = 0.0
    qstash_log_retention: float = _THREE_DAYS
    qstash_dlq_retention: float = _THREE_DAYS
    qstash_logs_key: str = "events"
    qstash_cancelled_word: str = "CANCELLED"
    qstash_lower_case_states: bool = False
    qstash_times_as_strings: bool = False
    qstash_groups_as_object: bool = False
    qstash_burst_limit: int | None = None
    qstash_daily_limit: int | None = None
    qstash_current_signing_key: str = "sig_sandboxCurrent00000000000000000"
    qstash_next_signing_key: str = "sig_sandboxNext00000000000000000000"
    rate_limits: dict[str, int] = field(default_factory=dict)
    rate_limit_retry_after: bool = False
    file_url_seconds: float = 3600.0

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the keys and tokens that the journal must not hold."""
        qstash = (self.qstash_token, self.qstash_read_only_token, self.qstash_foreign_token)
        return self.manus_key, self.manus_oauth_token, *sorted(qstash, key=len, reverse=True)

    def update(self, changes: Mapping[str, Any]) -> None:
        """Change several settings, all or none.

        :param changes: setting name to new value
        :raises ValueError: for an unknown name or a value of the wrong kind
        """
        known = {item.name for item in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ValueError(f"unknown settings {unknown}; known are {sorted(known)}")
        checked = {name: _CHECKS[name](name, value) for name, value in changes.items()}
        for name, value in checked.items():
            setattr(self, name, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is a text that is not empty")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} is true or false")  # noqa: TRY004 - a wrong value in JSON, answered with 400
    return value


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ValueError(f"{name} is a number above 0")
    return float(value)


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} is a number of seconds from 0 on")
    return float(value)


def _or_none(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else check(name, value)


def _one_of(*words: str) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        if value not in words:
            raise ValueError(f"{name} is one of {list(words)}")
        return value

    return check


def _cursor_end(name: str, value: Any) -> str | int | None:
    # ``True == 1`` and ``0 == False`` in Python; only a real 0 may mean the number.
    if isinstance(value, bool) or value not in _CURSOR_ENDS:
        raise ValueError(f'{name} is one of "absent", null, 0, "0", ""')
    return value  # type: ignore[no-any-return]  # narrowed by the membership test above


def _string_fields(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not set(value) <= set(_STRING_FIELDS):
        raise ValueError(f"{name} is a list of some of {list(_STRING_FIELDS)}")
    return tuple(value)


def _scopes(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not set(value) <= set(_SCOPES):
        raise ValueError(f"{name} is a list of some of {list(_SCOPES)}")
    return tuple(value)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} is a whole number from 0 on")
    return value


def _rate_limits(name: str, value: Any) -> dict[str, int]:
    if value == "documented":
        return dict(DOCUMENTED_RATE_LIMITS)
    if not isinstance(value, Mapping) or not set(value) <= set(RATE_LIMITED_ENDPOINTS):
        raise ValueError(
            f"{name} maps endpoints, some of {list(RATE_LIMITED_ENDPOINTS)}, to calls per minute"
        )
    if any(isinstance(calls, bool) or not isinstance(calls, int) or calls < 0 for calls in value.values()):
        raise ValueError(f"{name} counts calls per minute in whole numbers from 0 on")
    return dict(value)


_CHECKS: dict[str, Any] = {
    "manus_key": _text,
    "manus_oauth_token": _text,
    "manus_oauth_scopes": _scopes,
    "manus_credits": _whole,
    "manus_user_stop_on_stop": _flag,
    "manus_v2_as_proto3": _flag,
    "qstash_token": _text,
    "wrong_region": _flag,
    "region": _text,
    "cursor_end": _cursor_end,
    "qstash_string_fields": _string_fields,
    "qstash_read_only_token": _text,
    "qstash_foreign_token": _text,
    "qstash_plan": _one_of(*_PLANS),
    "qstash_deliver": _flag,
    "qstash_retry_seconds": _or_none(_seconds),
    "qstash_cancel_seconds": _or_none(_seconds),
    "qstash_log_lag": _seconds,
    "qstash_log_retention": _seconds,
    "qstash_dlq_retention": _seconds,
    "qstash_logs_key": _one_of(*_LOG_KEYS),
    "qstash_cancelled_word": _one_of(*_CANCELLED_WORDS),
    "qstash_lower_case_states": _flag,
    "qstash_times_as_strings": _flag,
    "qstash_groups_as_object": _flag,
    "qstash_burst_limit": _or_none(_whole),
    "qstash_daily_limit": _or_none(_whole),
    "qstash_current_signing_key": _text,
    "qstash_next_signing_key": _text,
    "rate_limits": _rate_limits,
    "rate_limit_retry_after": _flag,
    "file_url_seconds": _positive,
}
