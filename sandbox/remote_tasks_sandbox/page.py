"""The page of the sandbox: a file that never changes, and the JSON it asks ``/_sandbox/page`` for.

Every list of the sandbox's state is a table of the page; ``static/page.js`` chooses the columns. Titles, ids
and paths are whatever a test or a client sent, so the script writes them as text and never as HTML.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from remote_tasks_sandbox.calls import Answer
from remote_tasks_sandbox.state import Sandbox

__all__ = ["connection_strings", "overview", "static"]

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
