"""The control plane under ``/_sandbox/`` and the pages: how other processes and people use the sandbox.

Everything here calls :class:`~remote_tasks_sandbox.state.Sandbox`; nothing is decided here but how
JSON becomes a call. Who may come in is checked before, in ``app``.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from remote_tasks_sandbox.demo import DEFAULT_SEED_SECONDS, seed_demo
from remote_tasks_sandbox.journal import RequestRecord
from remote_tasks_sandbox.page import overview_page, task_page
from remote_tasks_sandbox.qstash.tasks import QStashTask, QStashTasks
from remote_tasks_sandbox.qstash.wire import dlq_message_wire

if TYPE_CHECKING:
    from remote_tasks_sandbox.manus.tasks import ManusTask, ManusTasks
    from remote_tasks_sandbox.qstash.account import QStashAccount
    from remote_tasks_sandbox.qstash.message import Delivery, Message, Published
    from remote_tasks_sandbox.state import Sandbox

__all__ = ["control_app"]

Handler = Callable[[Request], Awaitable[Response]]

_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "cache-control": "no-store",
}


def control_app(sandbox: Sandbox) -> Starlette:
    """Return the Starlette application of the control plane and the pages."""
    control = _Control(sandbox)
    tasks = [
        route
        for vendor, store in (("manus", sandbox.manus), ("qstash", sandbox.qstash))
        for route in _task_routes(sandbox, vendor, store)
    ]
    routes = [
        Route("/state", _guarded(control.state)),
        Route("/reset", _guarded(control.reset), methods=["POST"]),
        Route("/faults", _guarded(control.faults), methods=["GET", "POST", "DELETE"]),
        Route("/faults/{fault_id}", _guarded(control.remove_fault), methods=["DELETE"]),
        Route("/requests", _guarded(control.requests), methods=["GET", "DELETE"]),
        Route("/clock", _guarded(control.clock), methods=["GET", "POST"]),
        Route("/settings", _guarded(control.settings), methods=["GET", "POST"]),
        *tasks,
        *_manus_routes(sandbox.manus),
        *_qstash_routes(sandbox.qstash),
    ]

    async def overview(request: Request) -> Response:
        refresh = request.query_params.get("refresh") != "off"
        return HTMLResponse(overview_page(sandbox, refresh=refresh), headers=_PAGE_HEADERS)

    async def task(request: Request) -> Response:
        body = task_page(sandbox, request.path_params["task_id"])
        return HTMLResponse(body or "No such task.", 200 if body else 404, headers=_PAGE_HEADERS)

    return Starlette(
        routes=[
            Route("/", overview),
            Route("/manus/app/{task_id:path}", task),
            Mount("/_sandbox", routes=routes),
        ]
    )


class _Control:
    """The handlers that are the same for both vendors."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def state(self, _: Request) -> Response:
        sandbox = self._sandbox
        with sandbox.lock:
            return JSONResponse(
                {
                    "now": sandbox.clock.now(),
                    "base_url": sandbox.base_url,
                    "settings": _plain_settings(sandbox),
                    "manus": [_describe(sandbox, task) for task in sandbox.manus.newest(len(sandbox.manus))],
                    "qstash": [
                        _describe(sandbox, task) for task in sandbox.qstash.newest(len(sandbox.qstash))
                    ],
                    "qstash_messages": [_describe_message(one) for one in sandbox.qstash.messages],
                    "dead_letters": [
                        dlq_message_wire(dlq_message) for dlq_message in sandbox.qstash.dlq_messages
                    ],
                    "faults": [fault.describe() for fault in sandbox.faults.all()],
                    "requests": sandbox.journal.total,
                }
            )

    async def reset(self, request: Request) -> Response:
        body = await _json_object(request)
        if unknown := sorted(set(body) - {"seed_demo", "seed_seconds"}):
            raise ValueError(f"unknown fields {unknown}; known are seed_demo, seed_seconds")
        self._sandbox.reset()
        if body.get("seed_demo"):
            seed_demo(self._sandbox, float(body.get("seed_seconds", DEFAULT_SEED_SECONDS)))
        return JSONResponse({"reset": True})

    async def faults(self, request: Request) -> Response:
        faults = self._sandbox.faults
        if request.method == "DELETE":
            faults.clear()
        if request.method != "POST":
            return JSONResponse({"faults": [fault.describe() for fault in faults.all()]})
        ids = []
        for item in await _json_objects(request):
            if "kind" not in item:
                raise ValueError("a fault needs a kind")
            ids.append(faults.add(**item))
        return JSONResponse({"ids": ids}, 201)

    async def remove_fault(self, request: Request) -> Response:
        if not self._sandbox.faults.remove(request.path_params["fault_id"]):
            raise KeyError(request.path_params["fault_id"])
        return JSONResponse({"removed": True})

    async def requests(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._sandbox.journal.clear()
        return JSONResponse({"requests": [_describe_request(record) for record in self._sandbox.requests]})

    async def clock(self, request: Request) -> Response:
        if request.method == "POST":
            seconds = (await _json_object(request)).get("advance")
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise ValueError('the clock is set with {"advance": seconds}')
            self._sandbox.clock.advance(seconds)
        return JSONResponse({"now": self._sandbox.clock.now()})

    async def settings(self, request: Request) -> Response:
        if request.method == "POST":
            self._sandbox.settings.update(await _json_object(request))
        return JSONResponse(_plain_settings(self._sandbox))


def _task_routes(sandbox: Sandbox, vendor: str, store: ManusTasks | QStashTasks) -> list[Route]:
    allowed = set(inspect.signature(store.add_task).parameters)

    async def create(request: Request) -> Response:
        items = await _json_objects(request)
        for item in items:
            if unknown := sorted(set(item) - allowed):
                raise ValueError(f"unknown fields {unknown}; known are {sorted(allowed)}")
        return JSONResponse({"ids": [store.add_task(**item) for item in items]}, 201)

    async def one(request: Request) -> Response:
        task_id = request.path_params["task_id"]
        if request.method == "DELETE":
            store.delete_task(task_id)
            return JSONResponse({"deleted": task_id})
        if request.method != "GET":
            _change(store, task_id, await _json_object(request))
        task = store.get(task_id)
        if task is None:
            raise KeyError(task_id)
        return JSONResponse(_describe(sandbox, task))

    return [
        Route(f"/{vendor}/tasks", _guarded(create), methods=["POST"]),
        Route(f"/{vendor}/tasks/{{task_id:path}}", _guarded(one), methods=["GET", "PATCH", "POST", "DELETE"]),
    ]


def _manus_routes(account: ManusTasks) -> list[Route]:
    """Return the routes for what only Manus has: tasks that clients create, ask for answers, and stop."""

    async def plans(request: Request) -> Response:
        items = await _json_objects(request)
        for item in items:
            account.plan(**item)
        return JSONResponse({"planned": len(items)}, 201)

    async def created(_: Request) -> Response:
        return JSONResponse({"created": [asdict(one) for one in account.created]})

    async def answers(request: Request) -> Response:
        received = account.answers(request.path_params["task_id"])
        return JSONResponse({"answers": [asdict(one) for one in received]})

    async def stop(request: Request) -> Response:
        account.stop_as_user(request.path_params["task_id"])
        return JSONResponse({"stopped": request.path_params["task_id"]})

    return [
        Route("/manus/plans", _guarded(plans), methods=["POST"]),
        Route("/manus/created", _guarded(created)),
        Route("/manus/answers/{task_id:path}", _guarded(answers)),
        Route("/manus/stop/{task_id:path}", _guarded(stop), methods=["POST"]),
    ]


def _qstash_routes(account: QStashAccount) -> list[Route]:
    """Return the routes for QStash's messages, which are no tasks."""

    async def messages(request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse({"messages": [_describe_message(one) for one in account.messages]})
        items = await _json_objects(request)
        return JSONResponse({"ids": [account.add_message(**item) for item in items]}, 201)

    async def one_message(request: Request) -> Response:
        message_id = request.path_params["message_id"]
        if request.method != "GET":
            body = await _json_object(request)
            if len(body) != 1 or not body.keys() <= {"state", "script"}:
                raise ValueError('a message is changed with {"state": word} or {"script": steps}')
            script = body["script"] if "script" in body else [(body["state"], None)]
            account.set_message_script(message_id, script)
        found = account.get_message(message_id)
        if found is None:
            raise KeyError(message_id)
        return JSONResponse(_describe_message(found))

    async def publish(request: Request) -> Response:
        items = await _json_objects(request)
        return JSONResponse({"ids": [account.publish(**item) for item in items]}, 201)

    async def plans(request: Request) -> Response:
        if request.method == "POST":
            for item in await _json_objects(request):
                account.plan_delivery(**item)
        found = [plan.describe() for plan in account.engine.plans.all()]
        return JSONResponse({"plans": found}, 201 if request.method == "POST" else 200)

    async def sent(request: Request) -> Response:
        listed = {
            "published": [_plain(one) for one in account.published],
            "deliveries": [_plain(one) for one in account.deliveries],
            "bulk-cancels": account.bulk_cancels,
        }
        name = request.url.path.rpartition("/")[2]
        return JSONResponse({name: listed[name]})

    return [
        Route("/qstash/messages", _guarded(messages), methods=["GET", "POST"]),
        Route("/qstash/messages/{message_id:path}", _guarded(one_message), methods=["GET", "PATCH", "POST"]),
        Route("/qstash/publish", _guarded(publish), methods=["POST"]),
        Route("/qstash/plans", _guarded(plans), methods=["GET", "POST"]),
        *(Route(f"/qstash/{name}", _guarded(sent)) for name in ("published", "deliveries", "bulk-cancels")),
    ]


def _change(store: ManusTasks | QStashTasks, task_id: str, body: Mapping[str, Any]) -> None:
    if set(body) - {"status", "script", "error"} or ("status" in body) == ("script" in body):
        raise ValueError(
            'a task is changed with {"status": word} or {"script": steps}, and "error" if you like'
        )
    script = body["script"] if "script" in body else [(body["status"], None)]
    store.set_script(task_id, script, error=body.get("error"))


def _describe(sandbox: Sandbox, task: ManusTask | QStashTask) -> dict[str, Any]:
    now = sandbox.clock.now()
    described = {
        "id": task.id,
        "status": task.timeline.word(now),
        "since": task.timeline.since(now),
        "changes_at": task.timeline.next_change(now),
        "changes_after_reads": task.timeline.reads_left(),
        "reads": task.reads,
        "last_read_at": task.last_read_at,
    }
    if isinstance(task, QStashTask):
        return described | {"message_id": task.message_id, "created_at": task.created_ms, "url": task.url}
    return described | {"created_at": task.created_at, "title": task.title}


def _describe_message(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "state": message.state,
        "url": message.url,
        "created_at": message.created_at,
        "changes_at": message.next_at,
        "retried": message.retried,
        "callback_of": message.cause.id if message.cause else None,
        "entries": [{"time": entry.time_ms, "state": entry.state} for entry in message.entries],
    }


def _plain(record: Published | Delivery) -> dict[str, Any]:
    """Return a record as JSON-ready data; bytes that are no text are shown as far as they are."""
    return {**asdict(record), "body": record.body.decode(errors="replace")}


def _describe_request(record: RequestRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in RequestRecord.__slots__}


def _plain_settings(sandbox: Sandbox) -> dict[str, Any]:
    return dict(vars(sandbox.settings))


def _guarded(handler: Handler) -> Handler:
    """Turn what the sandbox's methods raise into JSON errors."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except KeyError as error:
            return JSONResponse({"error": f"there is no {error.args[0]!r}"}, 404)
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)

    return guarded


async def _json(request: Request) -> Any:
    raw = await request.body()
    try:
        return json.loads(raw) if raw.strip() else {}
    except ValueError as error:
        raise ValueError(f"the body is not JSON: {error}") from error


async def _json_object(request: Request) -> dict[str, Any]:
    body = await _json(request)
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 - a wrong value in JSON, answered with 400
    return body


async def _json_objects(request: Request) -> list[dict[str, Any]]:
    """Accept one object or a list of them."""
    body = await _json(request)
    items = body if isinstance(body, list) else [body]
    if not all(isinstance(item, dict) for item in items):
        raise ValueError("the body must be a JSON object or a list of them")
    return items
