"""Airflow connections to the services that a sandbox emulates, and to an A2A agent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from remote_tasks_sandbox import SandboxServer


def connection_fields(server: SandboxServer) -> dict[str, dict[str, Any]]:
    """Return the connections by id, as the example DAGs name them."""
    settings = server.sandbox.settings
    # Without a port, Airflow 3.3.2 tests no saved connection.
    port = urlsplit(server.url).port
    manus = {"conn_type": "manus", "host": server.manus_url, "port": port, "password": settings.manus_key}
    qstash = {
        "conn_type": "qstash",
        "host": server.qstash_url,
        "port": port,
        "password": settings.qstash_token,
    }
    return {
        "manus_default": manus,
        "manus_v2": {**manus, "extra": {"api_version": "v2"}},
        "qstash_default": qstash,
    }


def agent_connection(url: str) -> dict[str, Any]:
    """Return the connection ``a2a_default`` to the agent at a URL."""
    return {"conn_type": "a2a", "host": url, "port": urlsplit(url).port}


def sandbox_connections(server: SandboxServer) -> dict[str, str]:
    """Return the connections by id, as JSON text for environment variables."""
    return {conn_id: json.dumps(fields) for conn_id, fields in connection_fields(server).items()}
