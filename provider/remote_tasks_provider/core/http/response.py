"""What a response means: the value that was asked for, or which error. One parser for both transports.

Error bodies are read in every shape the vendors use: ``{"code": 5, "message": …}``, ``{"error": "…"}``,
``{"error": {"code": …, "message": …}, "request_id": …}``, plain text and HTML.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from remote_tasks_provider.core.errors import (
    ApiError,
    AuthenticationError,
    InvalidArgumentError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RedirectError,
    ServerError,
)
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Operation, Refused, Response
from remote_tasks_provider.core.http.parsing import Reader, one_line

__all__ = [
    "MAX_RETRY_AFTER",
    "Explain",
    "Hint",
    "date_of",
    "error_type_of",
    "read_response",
    "retry_after",
    "used_up_for",
]

T = TypeVar("T")

log = logging.getLogger(__name__)

_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ServerError,
    425: ServerError,
    429: RateLimitedError,
}

MAX_RETRY_AFTER = 3600.0
"""Seconds; the service is taken to be wrong when it asks for a longer pause."""
# QStash counts bursts by the second; a longer pause would only mean that the clocks differ.
_BURST_WINDOW = 2.0

_read_error = Reader(dict[str, Any])
_warned: set[str] = set()
"""Operations of whose odd items the log has told. A triggerer reads the same list for days."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A vendor's knowledge about an error: what to do, and its real class where the status misleads."""

    text: str
    error_type: type[ApiError] | None = None


Explain = Callable[[Operation[Any], int, str, ConnectionConfig], "Hint | None"]
"""``(operation, status, message, config) -> Hint | None``: what a vendor knows about an error."""


def read_response(
    operation: Operation[T], response: Response, config: ConnectionConfig, explain: Explain
) -> T:
    """Return what ``operation`` asked for.

    :raises ApiError: by the status, for anything but 2xx, and for an error under a good status.
    :raises InvalidResponseError: when a good status comes with a body of another shape, or with a redirect.
    """
    where = f"{config.service} {operation.name}"
    if 300 <= response.status < 400:
        target = one_line(config.scrub(response.headers.get("location", "nowhere")).split("?")[0], 200)
        raise RedirectError(
            f"{where}: HTTP {response.status}, a redirect to {target}. Redirects are not followed, "
            f"because the key would go there too. Set the host of connection {config.conn_id!r} to the final "
            "base URL."
        )
    if not 200 <= response.status < 300:
        raise _api_error(operation, response, config, explain)
    try:
        value = operation.parse(response)
    except Refused as refused:
        answer = replace(response, status=refused.status)
        raise _api_error(operation, answer, config, explain, refused.code) from None
    except InvalidArgumentError:
        # What was asked for is not there.
        raise
    except ValueError as error:
        media_type = one_line(config.scrub(response.headers.get("content-type", "no content type")), 80)
        raise InvalidResponseError(
            f"{where}: expected {operation.expects} as JSON, but {error} "
            f"({media_type}{_quoted(operation, response, config)}). "
            f"If this stays, check the host of connection {config.conn_id!r} ({config.base_url})."
        ) from None
    if response.odd_items:
        _report_odd_items(where, sum(response.odd_items))
    return value


def _report_odd_items(where: str, count: int) -> None:
    level = logging.DEBUG if where in _warned else logging.WARNING
    _warned.add(where)
    log.log(
        level,
        "%s: left out %d of the items that the service sent, which cannot be read: not an object, or without "
        "a usable id. Report it to the service. Said once; further ones are logged at level DEBUG.",
        where,
        count,
    )


def _quoted(operation: Operation[Any], response: Response, config: ConnectionConfig) -> str:
    """Return the start of the body, for a message; nothing, where that could show a secret."""
    if operation.is_private:
        return ""
    return f": {one_line(config.scrub(response.body[:2000].decode('utf-8', 'replace')), 120)!r}"


def _api_error(
    operation: Operation[Any],
    response: Response,
    config: ConnectionConfig,
    explain: Explain,
    known_code: str | None = None,
) -> ApiError:
    code, message, request_id = _details(response)
    code = known_code or code
    message = one_line(config.scrub(message))
    request_id = request_id or response.headers.get("x-request-id")
    hint = explain(operation, response.status, message, config) or _general_hint(
        operation, response.status, config
    )
    error_type = hint.error_type or error_type_of(response.status)
    return error_type(
        message,
        status_code=response.status,
        code=one_line(config.scrub(code), 60) if code else None,
        request_id=one_line(config.scrub(request_id), 80) if request_id else None,
        retry_after=retry_after(response.headers, time.time()),
        endpoint=f"{config.service} {operation.name}",
        hint=hint.text,
    )


def error_type_of(status: int) -> type[ApiError]:
    """Return the class of an error by its HTTP status alone."""
    return _BY_STATUS.get(status) or (ServerError if status >= 500 else InvalidRequestError)


def _general_hint(operation: Operation[Any], status: int, config: ConnectionConfig) -> Hint:
    if status == 401:
        return Hint(
            f"Check the password (API key) of connection {config.conn_id!r}: it was not accepted by "
            f"{config.base_url}."
        )
    if status == 403:
        return Hint(f"The key of connection {config.conn_id!r} is not allowed to do this.")
    if status == 405 or (status == 404 and not operation.has_id):
        return Hint(f"Check the host of connection {config.conn_id!r} ({config.base_url}).")
    return Hint("")


def _details(response: Response) -> tuple[str | None, str, str | None]:
    """Return code, message and request id of an error body."""
    try:
        body = _read_error(response)
    except ValueError:
        return None, _plain_text(response), None
    inner = body.get("error")
    source: Mapping[str, Any] = inner if isinstance(inner, dict) else body
    text = inner if isinstance(inner, str) else None
    message = source.get("message") or text or _plain_text(response)
    code, request_id = _reason(source) or source.get("code"), body.get("request_id")
    return (
        None if code is None else str(code),
        str(message),
        None if request_id is None else str(request_id),
    )


def _reason(error: Mapping[str, Any]) -> str | None:
    """Return the reason that an error's details give; see https://google.aip.dev/193."""
    details = error.get("details")
    reasons = (
        [one.get("reason") for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    )
    return next((reason for reason in reasons if isinstance(reason, str) and reason), None)


def _plain_text(response: Response) -> str:
    if "html" in response.headers.get("content-type", ""):
        return "an HTML page instead of the API's answer"
    return response.body[:2000].decode("utf-8", "replace")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds the service asks to wait, or ``None``.

    Reads ``Retry-After`` in seconds or as a date (RFC 9110, 10.2.3), and QStash's ``Burst-RateLimit-Reset``
    and ``RateLimit-Reset`` in Unix seconds (https://upstash.com/docs/qstash/api/api-ratelimiting).
    The result is from 0 to an hour.
    """
    seconds = _retry_after_header(headers.get("retry-after"), now)
    if seconds is None:
        for name in ("burst-ratelimit-reset", "ratelimit-reset"):
            reset = _number(headers.get(name))
            if reset is not None:
                seconds = reset - now
                break
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER)


def used_up_for(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds for which a good answer says that no more calls are left, or ``None``.

    Reads QStash's ``Burst-RateLimit-Remaining`` and ``-Reset``, whose window is a second.
    """
    if _number(headers.get("burst-ratelimit-remaining")) != 0:
        return None
    reset = _number(headers.get("burst-ratelimit-reset"))
    return None if reset is None else min(max(reset - now, 0.0), _BURST_WINDOW)


def _retry_after_header(value: str | None, now: float) -> float | None:
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return seconds
    moment = _http_date(value)
    return None if moment is None else moment.timestamp() - now


def date_of(response: Response) -> datetime | None:
    """Return when the service has answered, by its own clock."""
    return _http_date(response.headers.get("date", ""))


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
        # HTTP dates are GMT; one that does not say so would be read in the machine's own zone.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and -1e12 < number < 1e12 else None
