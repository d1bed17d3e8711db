"""The operations of Manus v2 that a client needs beside ``task.*``: files, projects, credits, lists.

https://open.manus.ai/docs/v2/file.upload and the pages beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from remote_tasks_sandbox.calls import Call, Refused
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.manus.account import ManusAccount, Project
from remote_tasks_sandbox.manus.files import Upload
from remote_tasks_sandbox.manus.parsing import check_fields, json_body, limit, required, single
from remote_tasks_sandbox.manus.v2_tasks import Operations, cursor_of, read_cursor
from remote_tasks_sandbox.vendor import Context

__all__ = ["AccountOperations"]

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
        if plan.repeats_cursor:
            return {"data": page, "has_more": True, "next_cursor": cursor_of("repeated")}
        if more:
            return {"data": page, "has_more": True, "next_cursor": cursor_of(at + page_size)}
        return {"data": page, "has_more": False}

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
