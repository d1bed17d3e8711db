"""Manus v1 over HTTP: keys, parameters, error bodies and the two read operations of the sandbox.

``GET /v1/tasks`` and ``GET /v1/tasks/{id}`` as on https://open.manus.ai/docs/v1/get-tasks, plus the output
files' addresses. What is documented, observed or assumed stands in ``docs/sandbox.md``.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from remote_tasks_provider.sandbox.manus import ListQuery, ManusTask, file_signature
from remote_tasks_provider.sandbox.messages import Answer, Call, dump_json, json_answer

if TYPE_CHECKING:
    from remote_tasks_provider.sandbox.faults import Plan
    from remote_tasks_provider.sandbox.state import Sandbox

__all__ = ["ManusApi", "manus_error"]

#: HTTP status to gRPC code, as the gateway in front of the API maps them.
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4}

#: ``error`` is the failure word of the OpenAI-compatible pages and of published answers.
_FILTER_WORDS = frozenset({"pending", "running", "completed", "failed", "error"})


class _Refused(Exception):
    """Carries an error answer out of the parameter checks."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def manus_error(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    """Return an error in the form of the gRPC gateway; there is no request id."""
    return json_answer({"code": _CODES.get(status, 2), "message": message, "details": []}, status, headers)


class ManusApi:
    """Answers calls under ``/manus``."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def answer(self, call: Call, plan: Plan) -> Answer:
        """Answer one call; the caller holds the sandbox's lock."""
        if call.segments[:1] == ("files",) and len(call.segments) == 3:
            return self._file(call)
        try:
            self._check_key(call)
            if call.segments == ("v1", "tasks"):
                return self._list(call, plan)
            if call.segments[:2] == ("v1", "tasks") and len(call.segments) == 3 and call.segments[2]:
                return self._get(call, plan)
        except _Refused as refused:
            return refused.answer
        return manus_error(404, "Not Found")

    def _check_key(self, call: Call) -> None:
        key = call.headers.get("api_key")
        if key is not None:
            if hmac.compare_digest(key.encode(), self._sandbox.settings.manus_key.encode()):
                return
            raise _Refused(manus_error(401, "invalid api key"))
        if "authorization" in call.headers:
            # Whatever follows "Bearer" is read as a JWT, and an API key has not the three parts of one.
            reason = "token is malformed: token contains an invalid number of segments"
            if call.headers["authorization"].count(".") == 2:
                reason = "signature is invalid"
            raise _Refused(manus_error(401, f"invalid token: {reason}"))
        raise _Refused(manus_error(401, "api key is required"))

    def _check_method_and_rate(self, call: Call, endpoint: str) -> None:
        if call.method not in ("GET", "HEAD"):
            raise _Refused(manus_error(501, "Method Not Allowed"))
        wait = self._sandbox.over_limit(endpoint)
        if wait is not None:
            headers = {"Retry-After": str(wait)} if self._sandbox.settings.rate_limit_retry_after else {}
            raise _Refused(manus_error(429, "rate limit exceeded", headers))

    def _list(self, call: Call, plan: Plan) -> Answer:
        self._check_method_and_rate(call, "manus.list")
        query = _list_query(call, repeat=plan.repeats_cursor)
        now = self._sandbox.clock.now()
        try:
            page, more = self._sandbox.manus.select(
                query, now, lambda task: bool(plan.shaping) and plan.unlisted(task.id, task.added_at, now)
            )
        except KeyError:
            return manus_error(400, "after: no such task")
        parts = [b'{"object":"list"']
        if page:
            parts += [b',"data":[', b",".join(self._render(task, now, plan) for task in page), b"]"]
            parts += [b',"first_id":', dump_json(page[0].id), b',"last_id":', dump_json(page[-1].id)]
        elif plan.repeats_cursor:
            parts.append(b',"last_id":"repeated"')
        if more or plan.repeats_cursor:
            parts.append(b',"has_more":true')
        return Answer(200, b"".join([*parts, b"}"]))

    def _get(self, call: Call, plan: Plan) -> Answer:
        self._check_method_and_rate(call, "manus.get")
        if any(value not in ("true", "false", "1", "0") for value in call.values("convert")):
            return manus_error(400, 'parsing field "convert": invalid bool')
        now = self._sandbox.clock.now()
        task = self._sandbox.manus.get(call.segments[2])
        if task is None or plan.hides(task.id, task.added_at, now):
            return manus_error(404, "task not found")
        return Answer(200, self._render(task, now, plan))

    def _render(self, task: ManusTask, now: float, plan: Plan) -> bytes:
        lags = bool(plan.shaping) and plan.lags(
            task.id, task.timeline.index(now), task.timeline.since(now), now
        )
        settings, base_url = self._sandbox.settings, self._sandbox.base_url
        rendered = task.rendered(now, lags=lags, base_url=base_url, expires_in=settings.file_url_seconds)
        task.note_read(now)
        return rendered

    def _file(self, call: Call) -> Answer:
        task = self._sandbox.manus.get(call.segments[1])
        found = [item for item in task.files if item.name == call.segments[2]] if task else []
        expires = "".join(call.values("Expires")[:1])
        signed = expires.isdecimal() and hmac.compare_digest(
            "".join(call.values("Signature")[:1]).encode(),
            file_signature(call.segments[1], call.segments[2], int(expires)).encode(),
        )
        if not found or not signed or int(expires) < self._sandbox.clock.now():
            return Answer(403, b"<Error><Code>AccessDenied</Code></Error>", content_type="application/xml")
        return Answer(200, found[0].content, content_type=found[0].mime_type)


def _list_query(call: Call, *, repeat: bool) -> ListQuery:
    """Check the parameters as the gateway would; unknown ones are ignored.

    :param repeat: ignore the cursor, so that the first page comes again
    """
    limit = _integer(call, "limit")
    if limit is not None and not 1 <= limit <= 1000:
        raise _Refused(manus_error(400, "limit must be between 1 and 1000"))
    statuses = call.values("status")
    for word in statuses:
        if word not in _FILTER_WORDS:
            raise _Refused(manus_error(400, f"invalid status: {word}"))
    # Both spellings of these three are documented, on different pages.
    return ListQuery(
        after=None if repeat else _single(call, "after"),
        limit=100 if limit is None else limit,
        ascending=_choice(call, ("desc", "asc"), "order") == "asc",
        by_update=_choice(call, ("created_at", "updated_at"), "orderBy", "order_by") == "updated_at",
        text=_single(call, "query") or "",
        statuses=frozenset(statuses),
        created_after=_integer(call, "createdAfter", "created_after"),
        created_before=_integer(call, "createdBefore", "created_before"),
        project_id=_single(call, "project_id"),
    )


def _single(call: Call, *names: str) -> str | None:
    """Return the one value of a parameter; an empty one counts as not sent: proto3 can't tell them apart."""
    values = call.values(*names)
    if len(values) > 1:
        raise _Refused(manus_error(400, f"too many values for field {names[0]!r}"))
    return (values[0] or None) if values else None


def _choice(call: Call, allowed: tuple[str, ...], *names: str) -> str:
    value = _single(call, *names) or allowed[0]
    if value not in allowed:
        raise _Refused(manus_error(400, f"{names[0]} must be one of: {', '.join(allowed)}"))
    return value


def _integer(call: Call, *names: str) -> int | None:
    value = _single(call, *names)
    if value is None:
        return None
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
        raise _Refused(manus_error(400, f"parsing field {names[0]!r}: invalid integer"))
    return int(value)
