"""Manus v2 over HTTP: keys and tokens, the envelope, error bodies, and which operation a call is for.

https://open.manus.ai/docs/v2/introduction. What is documented, observed or assumed stands in
``docs/sandbox.md``.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from remote_tasks_sandbox.calls import Answer, Call, Refused, is_same, json_answer
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.manus.account import ManusAccount
from remote_tasks_sandbox.manus.v2_account import AccountOperations
from remote_tasks_sandbox.manus.v2_tasks import TaskOperations
from remote_tasks_sandbox.manus.v2_wire import as_proto3
from remote_tasks_sandbox.vendor import Context

__all__ = ["ManusV2Api", "v2_error"]

_CODES = {
    400: "invalid_argument",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    405: "unimplemented",
    501: "unimplemented",
    429: "rate_limited",
    503: "unavailable",
}

#: What an OAuth token needs one of. Nothing named means: nothing is needed.
_SCOPES = {"task": ("create_task", "manage_all_tasks"), "project.create": ("create_project",)}
_SCOPES |= {"connector.list": ("use_connectors",), "browser.onlineList": ("use_my_browsers",)}

#: Operations of the vendor that the sandbox does not emulate.
NOT_EMULATED = frozenset(
    {
        *("agent.list", "agent.detail", "agent.update", "usage.teamLog", "usage.teamStatistic"),
        *("webhook.create", "webhook.list", "webhook.delete", "webhook.publicKey"),
        *("website.status", "website.listCheckpoints", "website.publish", "website.update"),
    }
)

_KEY_ONLY = frozenset({"usage"})


def v2_error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error in v2's envelope."""
    error = {"code": _CODES.get(status, "internal"), "message": message}
    return json_answer({"ok": False, "request_id": _request_id(), "error": error}, status, headers)


def _request_id() -> str:
    return f"req_{secrets.token_hex(8)}"


class TokenRefused(Refused):
    """The refusal of an OAuth token, which v2 sends without its envelope."""


class ManusV2Api:
    """Answers calls under ``/manus/v2``."""

    def __init__(self, context: Context, account: ManusAccount) -> None:
        self._context = context
        parts = (TaskOperations(context, account), AccountOperations(context, account))
        self.operations = parts[0].operations | parts[1].operations

    def answer(self, call: Call, plan: Plan) -> Answer:
        """Answer one call; the caller holds the sandbox's lock."""
        name = call.segments[1] if len(call.segments) == 2 else ""
        try:
            key_name = self._authenticate(call, name)
            answer = self._perform(call, plan, name, key_name)
        except TokenRefused as refused:
            return json_answer({"code": _CODES[refused.status], "message": refused.message}, refused.status)
        except Refused as refused:
            return v2_error(refused.status, refused.message, refused.headers)
        if self._context.settings.manus_v2_as_proto3:
            answer = as_proto3(answer)
        return json_answer({"ok": True, "request_id": _request_id()} | answer)

    def _perform(self, call: Call, plan: Plan, name: str, key_name: str | None) -> dict[str, Any]:
        if name in NOT_EMULATED:
            raise Refused(501, f"{name} is not emulated")
        if name not in self.operations:
            raise Refused(404, "unknown operation")
        method, handler = self.operations[name]
        if ("GET" if call.method == "HEAD" else call.method) != method:
            raise Refused(405, f"use {method}")
        wait = self._context.over_limit(f"manus.{name}")
        if wait is not None:
            headers = {"Retry-After": str(wait)} if self._context.settings.rate_limit_retry_after else {}
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
        if not is_same(key, self._context.settings.manus_key):
            raise Refused(401, "invalid API key")
        return "sandbox"

    def _check_token(self, bearer: str, name: str) -> None:
        settings = self._context.settings
        scheme, _, token = bearer.partition(" ")
        held = is_same(token, settings.manus_oauth_token)
        if scheme.lower() != "bearer" or not held:
            raise TokenRefused(401, "invalid access token")
        family = name.partition(".")[0]
        if family in _KEY_ONLY:
            raise TokenRefused(403, "this operation needs an API key")
        needed = _SCOPES.get(name, _SCOPES.get(family, ()))
        if needed and not set(needed) & set(settings.manus_oauth_scopes):
            names = ", ".join(needed)
            raise TokenRefused(403, f"insufficient_scope: required one of [{names}]")
