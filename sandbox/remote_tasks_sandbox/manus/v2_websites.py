"""The operations ``website.*`` of Manus v2, but for ``website.update``.

https://open.manus.ai/docs/v2/website.publish and the pages beside it.
"""

from __future__ import annotations

from typing import Any

from remote_tasks_sandbox.calls import Call, Refused
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.manus.account import ManusAccount
from remote_tasks_sandbox.manus.parsing import Shape, check_fields, json_body, single
from remote_tasks_sandbox.manus.task import ManusTask, v2_word
from remote_tasks_sandbox.manus.v2_tasks import Operations
from remote_tasks_sandbox.manus.websites import Website, live_version
from remote_tasks_sandbox.manus.wire import links
from remote_tasks_sandbox.vendor import Context

__all__ = ["WebsiteOperations"]

_PREFIX = "site-"
_PUBLISH: dict[str, Shape] = {"task_id": str, "website_id": str, "visibility": ("public", "team", "")}


class WebsiteOperations:
    """Performs ``website.*``; each handler returns what stands beside ``ok`` and ``request_id``.

    :ivar operations: name to HTTP method and handler
    """

    def __init__(self, context: Context, account: ManusAccount) -> None:
        self._context = context
        self._account = account
        self.operations: Operations = {
            "website.publish": ("POST", self._publish),
            "website.status": ("GET", self._status),
            "website.listCheckpoints": ("GET", self._list_checkpoints),
        }

    def _publish(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        body = check_fields(json_body(call), _PUBLISH)
        task, website, ends = self._find(body.get("task_id"), body.get("website_id"), plan)
        version_id = _version(len(ends))
        website.publish(version_id, body.get("visibility") or "public", self._context.clock.now())
        return {"website_id": f"{_PREFIX}{task.id}", "version_id": version_id}

    def _status(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        task, website, ends = self._find(single(call, "task_id"), single(call, "website_id"), plan)
        now, shown = self._context.clock.now(), website.publications
        if plan.shaping and plan.lags(task.id, len(shown), website.began_at, now):
            shown = shown[:-1]
        latest, live = shown[-1] if shown else None, live_version(shown, now)
        return {
            "website_id": f"{_PREFIX}{task.id}",
            "publish_status": latest.timeline.word(now) if latest else "unpublished",
            "site_urls": [links(task, self._context.base_url)["task_url"]] if live else [],
            "version_id": live,
            "status_updated_at": int(latest.timeline.since(now) if latest else ends[0]),
            "visibility": latest.visibility if latest else "private",
        }

    def _list_checkpoints(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        task, website, ends = self._find(single(call, "task_id"), single(call, "website_id"), plan)
        checkpoints = [
            {"version_id": _version(number), "message": "Built.", "status": "success", "created_at": int(end)}
            for number, end in enumerate(ends, start=1)
        ]
        return {
            "website_id": f"{_PREFIX}{task.id}",
            "data": checkpoints[::-1],
            "published_version_id": live_version(website.publications, self._context.clock.now()),
        }

    def _find(
        self, task_id: str | None, website_id: str | None, plan: Plan
    ) -> tuple[ManusTask, Website, list[float]]:
        """Return a task, its website, and when each of the website's checkpoints was made: at an end."""
        if bool(task_id) == bool(website_id):
            raise Refused(400, "exactly one of task_id and website_id is required")
        task = self._account.visible(task_id or str(website_id).removeprefix(_PREFIX), plan)
        visited = task.timeline.visited(task.timeline.index(self._context.clock.now()))
        ends = [start for start, word in visited if v2_word(word) == "stopped"]
        if task.website is None or not ends:
            raise Refused(404, "website not found")
        return task, task.website, ends


def _version(number: int) -> str:
    return f"v{number:03}"
