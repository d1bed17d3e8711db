"""Manus v1 over HTTP: keys, parameters, bodies, error bodies.

https://open.manus.ai/docs/v1/get-tasks and the pages beside it. What is documented, observed or assumed
stands in ``docs/reference/sandbox.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from remote_tasks_sandbox.calls import Answer, Call, Later, Refused, dump_json, is_same, json_answer
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.manus.account import ListQuery, ManusAccount, NewTask, Project
from remote_tasks_sandbox.manus.files import Upload
from remote_tasks_sandbox.manus.parsing import (
    Shape,
    check_connectors,
    check_fields,
    check_project,
    choice,
    flag,
    integer,
    json_body,
    limit,
    single,
    v1_attachments,
)
from remote_tasks_sandbox.manus.task import ManusTask
from remote_tasks_sandbox.manus.webhooks import public_key
from remote_tasks_sandbox.manus.wire import links, rendered
from remote_tasks_sandbox.vendor import Context

__all__ = ["ManusV1Api", "v1_error"]

#: HTTP status to gRPC code, as the gateway in front of the API maps them.
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4}

#: ``error`` is the failure word of the OpenAI-compatible pages and of published answers.
_FILTER_WORDS = frozenset({"pending", "running", "completed", "failed", "error"})

_PROFILES = (
    "manus-1.6",
    "manus-1.6-lite",
    "manus-1.6-max",
    "manus-1.5",
    "manus-1.5-lite",
    "speed",
    "quality",
)

_CREATE: dict[str, Shape] = {
    "prompt": str,
    "agentProfile": _PROFILES,
    "attachments": [dict],
    "taskMode": ("chat", "adaptive", "agent"),
    "connectors": [str],
    "hideInTaskList": bool,
    "createShareableLink": bool,
    "taskId": str,
    "locale": str,
    "projectId": str,
    "interactiveMode": bool,
}
#: First part of the paths of the vendor's operations that the sandbox does not emulate.
_NOT_EMULATED = frozenset({"responses"})

_UPDATE: dict[str, Shape] = {"title": str, "enableShared": bool, "enableVisibleInTaskList": bool}


def v1_error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error in the form of the gRPC gateway; there is no request id."""
    return json_answer({"code": _CODES.get(status, 2), "message": message, "details": []}, status, headers)


class ManusV1Api:
    """Answers calls under ``/manus/v1``."""

    def __init__(self, context: Context, account: ManusAccount) -> None:
        self._context = context
        self._account = account

    def answer(self, call: Call, plan: Plan) -> Answer | Later:
        """Answer one call; the caller holds the sandbox's lock."""
        return self._answered(lambda: self._perform(call, plan))

    def _answered(self, perform: Callable[[], Answer | Later]) -> Answer | Later:
        try:
            answer = perform()
        except Refused as refused:
            return v1_error(refused.status, refused.message, refused.headers)
        return answer.within(self._answered) if isinstance(answer, Later) else answer

    def _perform(self, call: Call, plan: Plan) -> Answer | Later:
        self._check_key(call)
        endpoint, handler = self._operation(call)
        self._context.check_limit(endpoint, "rate limit exceeded")
        return handler(call, plan)

    def _operation(self, call: Call) -> tuple[str, Callable[[Call, Plan], Answer | Later]]:
        operations: dict[str, tuple[str, Callable[[Call, Plan], Answer | Later]]] = {
            "GET tasks": ("manus.list", self._list),
            "POST tasks": ("manus.create", self._create),
            "GET tasks/": ("manus.get", self._get),
            "PUT tasks/": ("manus.update", self._update),
            "DELETE tasks/": ("manus.delete", self._delete),
            "GET files": ("manus.files", self._list_files),
            "POST files": ("manus.files", self._create_file),
            "GET files/": ("manus.files", self._get_file),
            "DELETE files/": ("manus.files", self._delete_file),
            "GET projects": ("manus.projects", self._list_projects),
            "POST projects": ("manus.projects", self._create_project),
            "POST webhooks": ("manus.webhooks", self._create_webhook),
            "DELETE webhooks/": ("manus.webhooks", self._delete_webhook),
            "GET webhook/": ("manus.webhooks", self._show_webhook_key),
        }
        parts = call.segments
        if len(parts) in (2, 3) and parts[0] == "v1" and all(parts):
            path = parts[1] + "/" * (len(parts) - 2)
            found = operations.get(f"{'GET' if call.method == 'HEAD' else call.method} {path}")
            if found is not None:
                return found
            if path in {known.partition(" ")[2] for known in operations}:
                raise Refused(501, "Method Not Allowed")
        if parts[0] == "v1" and parts[1:2] and parts[1] in _NOT_EMULATED:
            raise Refused(501, f"{call.method} /{'/'.join(parts)} is not emulated")
        raise Refused(404, "Not Found")

    def _check_key(self, call: Call) -> None:
        key = call.headers.get("api_key")
        if key is not None:
            if is_same(key, self._context.settings.manus_key):
                return
            raise Refused(401, "invalid api key")
        if "authorization" in call.headers:
            # Whatever follows "Bearer" is read as a JWT, and an API key has not the three parts of one.
            reason = "token is malformed: token contains an invalid number of segments"
            if call.headers["authorization"].count(".") == 2:
                reason = "signature is invalid"
            raise Refused(401, f"invalid token: {reason}")
        raise Refused(401, "api key is required")

    def _list(self, call: Call, plan: Plan) -> Answer:
        query = _list_query(call, repeat=plan.repeats_cursor)
        now = self._context.clock.now()
        try:
            page, more = self._account.listed(query, plan)
        except KeyError:
            raise Refused(400, "after: no such task") from None
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
        flag(call, "convert")
        task = self._account.visible(call.segments[2], plan)
        return Answer(200, self._render(task, self._context.clock.now(), plan))

    def _create(self, call: Call, plan: Plan) -> Answer:
        raw = json_body(call)
        body = check_fields(raw, _CREATE, required=("prompt", "agentProfile"))
        if not body["prompt"].strip():
            raise Refused(400, "prompt must not be empty")
        check_connectors(body.get("connectors", []))
        attachments = v1_attachments(body.get("attachments", []), self._account.uploads)
        if "taskId" in body:
            task, now = self._account.visible(body["taskId"], plan), self._context.clock.now()
            task.take("message", "v1", now, raw, text=body["prompt"], attachments=attachments)
            return self._named(task)
        check_project(body.get("projectId"), self._account)
        new = NewTask(
            version="v1",
            body=raw,
            prompt=body["prompt"],
            profile=body["agentProfile"],
            project_id=body.get("projectId"),
            locale=body.get("locale", ""),
            share_visibility="public" if body.get("createShareableLink") else "private",
            api_key_name="sandbox",
            attachments=attachments,
        )
        return self._named(self._account.create(new))

    def _update(self, call: Call, plan: Plan) -> Answer:
        task = self._account.visible(call.segments[2], plan)
        body = check_fields(json_body(call), _UPDATE)
        task.title = body.get("title", task.title)
        if "enableShared" in body:
            task.share_visibility = "public" if body["enableShared"] else "private"
        return self._named(task)

    def _delete(self, call: Call, plan: Plan) -> Answer:
        task = self._account.visible(call.segments[2], plan)
        self._account.delete_task(task.id)
        return json_answer({"id": task.id, "object": "task.deleted", "deleted": True})

    def _named(self, task: ManusTask) -> Answer:
        return json_answer(links(task, self._context.base_url))

    def _render(self, task: ManusTask, now: float, plan: Plan) -> bytes:
        lags = bool(plan.shaping) and plan.lags(
            task.id, task.timeline.index(now), task.timeline.since(now), now
        )
        settings, base_url = self._context.settings, self._context.base_url
        shown = rendered(task, now, lags=lags, base_url=base_url, expires_in=settings.file_url_seconds)
        task.note_read(now)
        return shown

    def _create_file(self, call: Call, plan: Plan) -> Answer:
        body = check_fields(json_body(call), {"filename": str}, required=("filename",))
        upload = self._account.uploads.open(body["filename"])
        return json_answer(
            {
                "id": upload.id,
                "object": "file",
                "filename": upload.name,
                "status": upload.status,
                "upload_url": self._account.uploads.address(upload, self._context.base_url),
                "upload_expires_at": str(upload.upload_expires_at),
                "created_at": str(upload.created_at),
            }
        )

    def _list_files(self, call: Call, plan: Plan) -> Answer:
        files = [_file(upload) for upload in self._account.uploads.newest()[:10]]
        return json_answer({"object": "list", "data": files} if files else {"object": "list"})

    def _get_file(self, call: Call, plan: Plan) -> Answer:
        return json_answer(_file(self._upload(call)))

    def _delete_file(self, call: Call, plan: Plan) -> Answer:
        upload = self._upload(call)
        upload.deleted = True
        return json_answer({"id": upload.id, "object": "file.deleted", "deleted": True})

    def _upload(self, call: Call) -> Upload:
        upload = self._account.uploads.get(call.segments[2])
        if upload is None:
            raise Refused(404, "file not found or has been deleted")
        return upload

    def _create_project(self, call: Call, plan: Plan) -> Answer:
        body = check_fields(json_body(call), {"name": str, "instruction": str}, required=("name",))
        project_id = self._account.add_project(body["name"], body.get("instruction", ""))
        return json_answer(_project(self._account.projects[project_id]))

    def _list_projects(self, call: Call, plan: Plan) -> Answer:
        most = limit(call, 100, 1000)
        projects = [_project(project) for project in reversed(self._account.projects.values())][:most]
        return json_answer({"data": projects} if projects else {})

    def _create_webhook(self, call: Call, plan: Plan) -> Later:
        body = check_fields(json_body(call), {"webhook": dict}, required=("webhook",))
        webhook = check_fields(body["webhook"], {"url": str}, required=("url",), where="webhook.")
        return self._account.webhooks.register(
            webhook["url"], lambda added: json_answer({"webhook_id": added.id})
        )

    def _delete_webhook(self, call: Call, plan: Plan) -> Answer:
        try:
            self._account.webhooks.remove(call.segments[2])
        except KeyError:
            raise Refused(404, "webhook not found") from None
        return Answer(204, b"")

    def _show_webhook_key(self, call: Call, plan: Plan) -> Answer:
        if call.segments[2] != "public_key":
            raise Refused(404, "Not Found")
        told, made_at = public_key()
        return json_answer(told | {"created_at": f"{made_at:%Y-%m-%dT%H:%M:%SZ}"})


def _list_query(call: Call, *, repeat: bool) -> ListQuery:
    """Check the parameters as the gateway would; unknown ones are ignored.

    :param repeat: ignore the cursor, so that the first page comes again
    """
    page_size = limit(call, 100, 1000)
    statuses = call.values("status")
    for word in statuses:
        if word not in _FILTER_WORDS:
            raise Refused(400, f"invalid status: {word}")
    # Both spellings of these three are documented, on different pages.
    return ListQuery(
        after=None if repeat else single(call, "after"),
        limit=page_size,
        ascending=choice(call, ("desc", "asc"), "order") == "asc",
        by_update=choice(call, ("created_at", "updated_at"), "orderBy", "order_by") == "updated_at",
        text=single(call, "query") or "",
        statuses=frozenset(statuses),
        created_after=integer(call, "createdAfter", "created_after"),
        created_before=integer(call, "createdBefore", "created_before"),
        project_id=single(call, "project_id"),
    )


def _file(upload: Upload) -> dict[str, Any]:
    full = {
        "id": upload.id,
        "object": "file",
        "bytes": "" if upload.content is None else str(len(upload.content)),
        "created_at": str(upload.created_at),
        "expires_at": str(upload.expires_at),
        "filename": upload.name,
        "status": upload.status,
        "content_type": upload.content_type,
    }
    return {name: value for name, value in full.items() if value}


def _project(project: Project) -> dict[str, Any]:
    full = {"id": project.id, "name": project.name, "instruction": project.instruction}
    return {name: value for name, value in full.items() if value} | {"created_at": str(project.created_at)}
