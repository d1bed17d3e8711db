"""The control plane under ``/_sandbox/`` and the page: how other processes and people use the sandbox.

Everything here calls :class:`~remote_tasks_sandbox.state.Sandbox`; nothing is decided here but how JSON
becomes a call. ``app`` decides who may come in. The page is a file that never changes: it draws the JSON of
``/_sandbox/page``, where every list of the sandbox's state is a table. Titles, ids and paths are whatever a
test or a client sent, so ``static/page.js`` writes them as text and never as HTML.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from remote_tasks_sandbox.calls import Answer, Call, json_answer
from remote_tasks_sandbox.demo import DEFAULT_SEED_SECONDS, seed_demo
from remote_tasks_sandbox.state import Sandbox
from remote_tasks_sandbox.vendor import ControlCall, Handler

__all__ = ["Control", "connection_strings", "overview", "static"]

_MOST_ROWS = 100
_REQUESTS = 20
_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:",
    "cache-control": "no-store",
}


def static(name: str, status: int = 200) -> Answer:
    """Return a file of the page."""
    path = _FOLDER / name
    if path.parent != _FOLDER or not path.is_file():
        raise KeyError(name)
    return Answer(status, path.read_bytes(), f"{_TYPES[path.suffix]}; charset=utf-8", _HEADERS)


def connection_strings(sandbox: Sandbox, password: str | None = None) -> list[str]:
    """Return the environment variables that point Airflow's default connections at the sandbox.

    :param password: what stands in the place of the keys; default the keys themselves
    """
    lines = []
    for name, vendor in sandbox.vendors.items():
        key = getattr(sandbox.settings, vendor.key_setting) if password is None else password
        connection = {"conn_type": name, "host": f"{sandbox.base_url}/{name}", "password": key}
        value = json.dumps(connection, separators=(",", ":")).replace("'", "'\\''")
        lines.append(f"AIRFLOW_CONN_{name.upper()}_DEFAULT='{value}'")
    return lines


def overview(sandbox: Sandbox) -> dict[str, Any]:
    """Return the JSON of the page at ``/``; the caller holds the lock."""
    tables = {name: rows for vendor in sandbox.vendors.values() for name, rows in vendor.state().items()}
    tables["faults"] = [fault.describe() for fault in sandbox.faults.all()]
    shown = {name: {"total": len(rows), "rows": rows[:_MOST_ROWS]} for name, rows in tables.items()}
    requests = [record.describe() for record in sandbox.journal.last(_REQUESTS)]
    return {
        "title": "Sandbox",
        "now": sandbox.clock.now(),
        "refresh": True,
        "connections": connection_strings(sandbox, "..."),
        "tables": shown | {"requests": {"total": sandbox.journal.total, "rows": requests}},
    }


class Control:
    """Answers what is not a call to an emulated API.

    :param sandbox: the state that it shows and changes
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._routes: dict[str, Handler] = {
            "GET state": self._state,
            "POST reset": self._reset,
            "GET faults": lambda _: {"faults": [fault.describe() for fault in sandbox.faults.all()]},
            "POST faults": self._add_faults,
            "DELETE faults": self._clear_faults,
            "DELETE faults/": self._remove_fault,
            "GET requests": lambda _: {"requests": [one.describe() for one in sandbox.requests]},
            "DELETE requests": self._clear_requests,
            "GET clock": lambda _: {"now": sandbox.clock.now()},
            "POST clock": self._advance,
            "GET settings": lambda _: vars(sandbox.settings),
            "POST settings": self._change_settings,
        }
        for name, vendor in sandbox.vendors.items():
            for route, handler in vendor.account.control().items():
                method, _, path = route.partition(" ")
                self._routes[f"{method} {name}/{path}"] = handler

    def answer(self, call: Call) -> Answer:
        """Answer one call."""
        with self._sandbox.lock:
            try:
                if call.vendor == "_sandbox":
                    return self._controlled(call)
                # Also of an unknown task, so that the page can say so.
                return static("page.html", 404 if self._page(call.path) is None else 200)
            except KeyError as error:
                return json_answer({"error": f"there is no {error.args[0]!r}"}, 404)
            except (TypeError, ValueError) as error:
                return json_answer({"error": str(error)}, 400)

    def _controlled(self, call: Call) -> Answer:
        segments = call.segments
        if segments[:1] == ("static",):
            return static("/".join(segments[1:]))
        if segments == ("page",):
            page = self._page("".join(call.values("path")[:1]))
            return (
                json_answer({"error": "There is no such page."}, 404) if page is None else json_answer(page)
            )
        method = {"HEAD": "GET", "PATCH": "POST"}.get(call.method, call.method)
        depth = 2 if segments[:1] and segments[0] in self._sandbox.vendors else 1
        name, item = "/".join(segments[:depth]), "/".join(segments[depth:])
        route = f"{method} {name}/" if item else f"{method} {name}"
        if route not in self._routes:
            raise KeyError(f"{call.method} {call.path}")
        answer = self._routes[route](ControlCall(item, _json(call.body)))
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return json_answer(body, status)

    def _page(self, path: str) -> dict[str, Any] | None:
        if path == "/":
            return overview(self._sandbox)
        _, name, kind, task_id = [*path.split("/", 3), "", "", ""][:4]
        vendor = self._sandbox.vendors.get(name)
        return vendor.page(task_id) if vendor is not None and kind == "app" else None

    def _state(self, _: ControlCall) -> Any:
        sandbox = self._sandbox
        state = {
            "now": sandbox.clock.now(),
            "base_url": sandbox.base_url,
            "settings": vars(sandbox.settings),
            "faults": [fault.describe() for fault in sandbox.faults.all()],
            "requests": sandbox.journal.total,
        }
        for vendor in sandbox.vendors.values():
            state |= vendor.state()
        return state

    def _reset(self, call: ControlCall) -> Any:
        body = call.object()
        if unknown := sorted(set(body) - {"seed_demo", "seed_seconds"}):
            raise ValueError(f"unknown fields {unknown}; known are seed_demo, seed_seconds")
        self._sandbox.reset()
        if body.get("seed_demo"):
            seed_demo(self._sandbox, float(body.get("seed_seconds", DEFAULT_SEED_SECONDS)))
        return {"reset": True}

    def _add_faults(self, call: ControlCall) -> Any:
        ids = []
        for item in call.objects():
            if "kind" not in item:
                raise ValueError("a fault needs a kind")
            ids.append(self._sandbox.faults.add(**item))
        return 201, {"ids": ids}

    def _clear_faults(self, call: ControlCall) -> Any:
        self._sandbox.faults.clear()
        return {"faults": []}

    def _remove_fault(self, call: ControlCall) -> Any:
        if not self._sandbox.faults.remove(call.id):
            raise KeyError(call.id)
        return {"removed": True}

    def _clear_requests(self, call: ControlCall) -> Any:
        self._sandbox.journal.clear()
        return {"requests": []}

    def _advance(self, call: ControlCall) -> Any:
        seconds = call.object().get("advance")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ValueError('the clock is set with {"advance": seconds}')  # noqa: TRY004 - a wrong value in JSON, answered with 400
        self._sandbox.clock.advance(seconds)
        return {"now": self._sandbox.clock.now()}

    def _change_settings(self, call: ControlCall) -> Any:
        self._sandbox.settings.update(call.object())
        return vars(self._sandbox.settings)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body.strip() else {}
    except ValueError as error:
        raise ValueError(f"the body is not JSON: {error}") from error
