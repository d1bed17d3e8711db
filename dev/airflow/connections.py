"""Airflow connections to the services that a sandbox emulates."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from remote_tasks_sandbox import SandboxServer


def sandbox_connections(server: SandboxServer) -> dict[str, str]:
    """Return the connections by id, as JSON text, as the example DAGs name them."""
    settings = server.sandbox.settings
    manus = {"conn_type": "manus", "host": server.manus_url, "password": settings.manus_key}
    return {
        "manus_default": json.dumps(manus),
        "manus_v2": json.dumps({**manus, "extra": {"api_version": "v2"}}),
        "qstash_default": json.dumps(
            {"conn_type": "qstash", "host": server.qstash_url, "password": settings.qstash_token}
        ),
    }
