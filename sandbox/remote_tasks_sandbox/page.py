"""The page of the sandbox: a file that never changes, and the JSON it asks ``/_sandbox/page`` for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from remote_tasks_sandbox.blocks import ago, table
from remote_tasks_sandbox.calls import Answer
from remote_tasks_sandbox.state import Sandbox

__all__ = ["connection_strings", "overview", "static"]

_REQUESTS = 20
_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:",
    "cache-control": "no-store",
}


def static(name: str, status: int = 200) -> Answer:
    """Return a file of the page.

    :raises KeyError: when there is none with that name
    """
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
    """Return the page at ``/``; the caller holds the lock."""
    now = sandbox.clock.now()
    blocks = [block for vendor in sandbox.vendors.values() for block in vendor.overview()]
    return {
        "title": "Sandbox",
        "now": now,
        "refresh": True,
        "blocks": [
            {"title": "Connect Airflow", "lines": connection_strings(sandbox, "...")},
            *blocks,
            _requests(sandbox, now),
            _faults(sandbox),
        ],
    }


def _requests(sandbox: Sandbox, now: float) -> dict[str, Any]:
    rows = []
    for record in sandbox.journal.last(_REQUESTS):
        tone = "wait" if record.status is None else "good" if record.status < 300 else "bad"
        query = "&".join(f"{name}={value}" for name, value in record.query)
        address = record.path + ("?" + query if query else "")
        request = {"text": f"{record.method} {address}", "notes": [record.fault] if record.fault else []}
        rows.append([{"text": str(record.status or "none"), "tone": tone}, request, ago(now - record.at)])
    columns = ("Answer", "Request", "When")
    return table("Requests", columns, rows, empty="None yet.", total=sandbox.journal.total)


def _faults(sandbox: Sandbox) -> dict[str, Any]:
    rows = []
    for fault in sandbox.faults.all():
        only = [f"only {fault.task_id}"] if fault.task_id else []
        calls = {"text": f"{fault.method} {fault.path}", "notes": only}
        times = "" if fault.times is None else f" of {fault.times}"
        rows.append([{"text": fault.kind, "tone": "odd"}, calls, f"{fault.applied}{times}"])
    return table("Faults", ("Fault", "Calls", "Applied"), rows, empty="None: everything works.")
