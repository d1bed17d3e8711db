"""Manus v2 over HTTP: keys and tokens, the envelope, error bodies, and which operation a call is for.

https://open.manus.ai/docs/v2/introduction. What is documented, observed or assumed stands in
``docs/sandbox.md``.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from remote_tasks_sandbox.calls import Answer, Call, json_answer
from remote_tasks_sandbox.manus.parsing import Refused
from remote_tasks_sandbox.manus.v2_account import AccountOperations
from remote_tasks_sandbox.manus.v2_tasks import TaskOperations
from remote_tasks_sandbox.manus.v2_wire import as_proto3

if TYPE_CHECKING:
    from remote_tasks_sandbox.faults import Plan
    from remote_tasks_sandbox.state import Sandbox

__all__ = ["ManusV2Api", "v2_error"]

_CODES = {
    400: "invalid_argument",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    405: "unimplemented",
    429: "rate_limited",
    503: "unavailable",
}

#: What an OAuth token needs one of. Nothing named means: nothing is needed.
_SCOPES = {"task": ("create_task", "manage_all_tasks"), "project.create": ("create_project",)}
_SCOPES |= {"connector.list": ("use_connectors",), "browser.onlineList": ("use_my_browsers",)}

_KEY_ONLY = frozenset({"usage"})


def v2_error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error in v2's envelope."""
    error = {"code": _CODES.get(status, "internal"), "message": message}
    return json_answer({"ok": False, "request_id": _request_id(), "error": error}, status, headers)


def _request_id() -> str:
    return f"req_{secrets.token_hex(8)}"


class ManusV2Api:
    """Answers calls under ``/manus/v2``."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._operations = TaskOperations(sandbox).operations | AccountOperations(sandbox).operations

    def answer(self, call: Call, plan: Plan) -> Answer:
        """Answer one call; the caller holds the sandbox's lock."""
        name = call.segments[1] if len(call.segments) == 2 else ""
        try:
            key_name = self._authenticate(call, name)
            answer = self._perform(call, plan, name, key_name)
        except Refused as refused:
            if refused.wrapped:
                return v2_error(refused.status, refused.message, refused.headers)
            return json_answer({"code": _CODES[refused.status], "message": refused.message}, refused.status)
        if self._sandbox.settings.manus_v2_as_proto3:
            answer = as_proto3(answer)
        return json_answer({"ok": True, "request_id": _request_id()} | answer)

    def _perform(self, call: Call, plan: Plan, name: str, key_name: str | None) -> dict[str, Any]:
        if name not in self._operations:
            raise Refused(404, "unknown operation")
        method, handler = self._operations[name]
        if ("GET" if call.method == "HEAD" else call.method) != method:
            raise Refused(405, f"use {method}")
        wait = self._sandbox.over_limit(f"manus.{name}")
        if wait is not None:
            headers = {"Retry-After": str(wait)} if self._sandbox.settings.rate_limit_retry_after else {}
            raise Refused(429, "Rate limit exceeded. Please retry after a short backoff.", headers)
        return handler(call, plan, key_name)

    def _authenticate(self, call: Call, name: str) -> str | None:
        """Return the name of the API key that was used, ``None`` for an OAuth token."""
        key, bearer = call.headers.get("x-manus-api-key"), call.headers.get("authorization")
        if key is not None and bearer is not None:
            raise Refused(401, "send either x-manus-api-key or Authorization, not both")
        if bearer is not None:
            self._check_token(bearer, name)
            return None
        if key is None:
            raise Refused(401, "missing API key")
        if not hmac.compare_digest(key.encode(), self._sandbox.settings.manus_key.encode()):
            raise Refused(401, "invalid API key")
        return "sandbox"

    def _check_token(self, bearer: str, name: str) -> None:
        settings = self._sandbox.settings
        scheme, _, token = bearer.partition(" ")
        held = hmac.compare_digest(token.encode(), settings.manus_oauth_token.encode())
        if scheme.lower() != "bearer" or not held:
            raise Refused(401, "invalid access token", wrapped=False)
        family = name.partition(".")[0]
        if family in _KEY_ONLY:
            raise Refused(403, "this operation needs an API key", wrapped=False)
        needed = _SCOPES.get(name, _SCOPES.get(family, ()))
        if needed and not set(needed) & set(settings.manus_oauth_scopes):
            names = ", ".join(needed)
            raise Refused(403, f"insufficient_scope: required one of [{names}]", wrapped=False)
