"""Manus v2 over HTTP: keys and tokens, the envelope, error bodies, and the operations that have no module.

https://open.manus.ai/docs/v2/introduction and https://open.manus.ai/docs/v2/file.upload.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from remote_tasks_sandbox.calls import Answer, Call, Later, Refused, is_same, json_answer
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.manus.account import ManusAccount, Project
from remote_tasks_sandbox.manus.files import Upload
from remote_tasks_sandbox.manus.parsing import check_fields, json_body, limit, required, single
from remote_tasks_sandbox.manus.v2_tasks import Operations, TaskOperations, more_of, read_cursor
from remote_tasks_sandbox.manus.v2_webhooks import WebhookOperations
from remote_tasks_sandbox.manus.v2_websites import WebsiteOperations
from remote_tasks_sandbox.manus.wire import as_proto3
from remote_tasks_sandbox.vendor import Context

__all__ = ["AccountOperations", "ManusV2Api", "v2_error"]

_USER_ID = "user_sandbox"
#: What the account has to choose from.
_CATALOG: dict[str, Any] = json.loads((Path(__file__).parent / "catalog.json").read_text())


class AccountOperations:
    """Performs the rest; each handler returns what stands beside ``ok`` and ``request_id``.

    :ivar operations: name to HTTP method and handler
    """

    def __init__(self, context: Context, account: ManusAccount) -> None:
        self._context = context
        self._account = account
        self.operations: Operations = {
            "file.upload": ("POST", self._upload_file),
            "file.detail": ("GET", self._show_file),
            "file.delete": ("POST", self._delete_file),
            "project.create": ("POST", self._create_project),
            "project.list": ("GET", self._list_projects),
            "usage.availableCredits": ("GET", self._available_credits),
            "usage.list": ("GET", self._list_usage),
            "connector.list": ("GET", lambda *_: {"data": _CATALOG["connectors"]}),
            "skill.list": ("GET", lambda *_: {"data": _CATALOG["skills"]}),
            "browser.onlineList": ("GET", lambda *_: {"data": _CATALOG["browsers"]}),
            "user.me": ("GET", lambda *_: {"user_id": _USER_ID}),
        }

    def _upload_file(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        body = check_fields(json_body(call), {"filename": str}, required=("filename",))
        upload = self._account.uploads.open(body["filename"])
        return {
            "file": _file(upload),
            "upload_url": self._account.uploads.address(upload, self._context.base_url),
            "upload_expires_at": upload.upload_expires_at,
        }

    def _show_file(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        upload = self._upload(required(call, "file_id"))
        detail = {
            "bytes": None if upload.content is None else len(upload.content),
            "content_type": upload.content_type or "",
            "expires_at": upload.expires_at,
            "error_message": None,
        }
        return {"file": _file(upload) | detail}

    def _delete_file(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        body = check_fields(json_body(call), {"file_id": str}, required=("file_id",))
        self._upload(body["file_id"]).deleted = True
        return {}

    def _create_project(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        body = check_fields(json_body(call), {"name": str, "instruction": str}, required=("name",))
        project_id = self._account.add_project(body["name"], body.get("instruction", ""))
        return {"project": _project(self._account.projects[project_id])}

    def _list_projects(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        return {"data": [_project(project) for project in reversed(self._account.projects.values())]}

    def _available_credits(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        left = max(self._context.settings.manus_credits - sum(used for _, used in self._usage()), 0)
        now = int(self._context.clock.now())
        return {
            "data": {
                "total_credits": left,
                "free_credits": 0,
                "periodic_credits": left,
                "addon_credits": 0,
                "pro_monthly_credits": left,
                "event_credits": 0,
                "refresh_credits": 0,
                "max_refresh_credits": 300,
                "next_refresh_time": now - now % 86_400 + 86_400,
                "refresh_interval": "daily",
            }
        }

    def _list_usage(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        page_size, cursor = limit(call, 20, 100), single(call, "cursor")
        at = 0 if cursor is None or plan.repeats_cursor else read_cursor(cursor, [int])[0]
        records = [record for record, used in self._usage() if used]
        page, more = records[at : at + page_size], len(records) > at + page_size
        return {"data": page} | more_of(at + page_size if more else None, plan)

    def _upload(self, file_id: str) -> Upload:
        upload = self._account.uploads.get(file_id)
        if upload is None:
            raise Refused(404, "file not found")
        return upload

    def _usage(self) -> list[tuple[dict[str, Any], int]]:
        """Return the records of all tasks with the credits each used, the newest first."""
        now = self._context.clock.now()
        found = []
        for task in self._account.newest(len(self._account)):
            used = task.credits(now)
            record = {
                "task_id": task.id,
                "title": task.title,
                "credits": -used,
                "created_at": task.created_at,
                "type": "cost",
                "collaborate_infos": [],
            }
            found.append((record, used))
        return found


def _file(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "filename": upload.name,
        "status": upload.status,
        "created_at": upload.created_at,
    }


def _project(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "created_at": project.created_at,
        "instruction": project.instruction,
    }


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
        "website.update",
    }
)

_KEY_ONLY = frozenset({"agent", "usage", "webhook", "website"})


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
        self.operations = (
            TaskOperations(context, account).operations
            | AccountOperations(context, account).operations
            | WebhookOperations(account).operations
            | WebsiteOperations(context, account).operations
        )

    def answer(self, call: Call, plan: Plan) -> Answer | Later:
        """Answer one call; the caller holds the sandbox's lock."""
        name = call.segments[1] if len(call.segments) == 2 else ""
        return self._enveloped(lambda: self._perform(call, plan, name, self._authenticate(call, name)))

    def _enveloped(self, perform: Callable[[], dict[str, Any] | Later]) -> Answer | Later:
        try:
            answer = perform()
        except TokenRefused as refused:
            return json_answer({"code": _CODES[refused.status], "message": refused.message}, refused.status)
        except Refused as refused:
            return v2_error(refused.status, refused.message, refused.headers)
        if isinstance(answer, Later):
            return answer.within(self._enveloped)
        if self._context.settings.manus_v2_as_proto3:
            answer = as_proto3(answer)
        return json_answer({"ok": True, "request_id": _request_id()} | answer)

    def _perform(self, call: Call, plan: Plan, name: str, key_name: str | None) -> dict[str, Any] | Later:
        if name in NOT_EMULATED:
            raise Refused(501, f"{name} is not emulated")
        if name not in self.operations:
            raise Refused(404, "unknown operation")
        method, handler = self.operations[name]
        if ("GET" if call.method == "HEAD" else call.method) != method:
            raise Refused(405, f"use {method}")
        message = "Rate limit exceeded. Please retry after a short backoff."
        self._context.check_limit(f"manus.{name}", message)
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
