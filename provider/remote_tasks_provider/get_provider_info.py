"""The entry point through which Airflow learns of this provider.

Every Airflow process calls it at start, so it reads the vendors' manifests and imports no hook, no HTTP
library and no pydantic. A service is found by its folder: a sub-package other than
``core`` with a ``manifest`` module.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import remote_tasks_provider
from remote_tasks_provider.core.manifest import Manifest

__all__ = ["get_provider_info", "manifests"]


_DEPLOYMENT_ID = {
    "description": """What tells this Airflow from others that use the same account at a remote service.
It is part of the correlation tags and deduplication ids by which remote tasks are found again, so two
Airflows with the same DAGs never take, deduplicate or cancel each other's remote tasks. Give each
deployment one of its own, the same on all its workers, and keep it.

Default: a hash of ``[api] base_url`` (2.11: ``[webserver] base_url``) and ``[core] fernet_key``. Set the
option if your workers do not share these two, if you change one of them, or if two deployments have both
in common.
""",
    "version_added": "0.2.0",
    "type": "string",
    "example": "production",
    "default": "",
}

_SHORTEST_DEFERRAL = {
    "description": """For how many seconds a deferred wait lasts at least, from 0 to 120.
Airflow's scheduler may fail a task that resumes before it has noticed that the task's first process is
over: "finished with state success, but the task instance's state attribute is queued". So a trigger keeps
the end of a shorter wait back. Raise it if you see that message, or if your scheduler is busy.
""",
    "version_added": "0.2.0",
    "type": "float",
    "example": "30",
    "default": "10",
}

_PUSH_POLL_INTERVAL = {
    "description": """For how many seconds a wait does not poll by itself while webhooks arrive: 0 to 3600.
Only on a connection with ``push``. Each webhook makes the waits poll at once, so the polls in between are
for webhooks that were lost, and the option is what such a loss costs. It takes effect where it is longer
than a wait's own interval; 0 leaves every interval as it is. When no webhook has come for twice as long,
waits poll at their own intervals again.
""",
    "version_added": "0.2.0",
    "type": "float",
    "example": "120",
    "default": "300",
}

_WEBHOOK_URL = {
    "description": """The address at which the receiver of webhooks is reached from outside.
In Airflow's API server its path ends in ``/remote-tasks``. Services sign this address, so it must be the one
that they call, and not the one behind a proxy. Empty: there is no receiver.
""",
    "version_added": "0.2.0",
    "type": "string",
    "example": "https://hooks.example.com/remote-tasks",
    "default": "",
}

_WEBHOOK_CONNECTIONS = {
    "description": """The connections that the receiver takes webhooks for.
Each is written as type/id; commas separate them. Every other path is answered with 404. Empty:
there is no receiver.
""",
    "version_added": "0.2.0",
    "type": "string",
    "example": "manus/manus_default, qstash/qstash_default",
    "default": "",
}

_WEBHOOK_API_URL = {
    "description": """Airflow's address, for a receiver outside the API server, which uses the REST API.
In the API server it is not needed.
""",
    "version_added": "0.2.0",
    "type": "string",
    "example": "https://airflow.example.com",
    "default": "",
}

_WEBHOOK_API_USERNAME = {
    "description": """The user of Airflow's REST API for such a receiver.
It needs the right to edit assets, and no other: in the simple auth manager the role ``op``.
""",
    "version_added": "0.2.0",
    "type": "string",
    "example": "webhooks",
    "default": "",
}

_WEBHOOK_API_PASSWORD = {
    "description": """The password of that user. Airflow also reads it from a command or a secrets backend:
``webhook_api_password_cmd``, ``webhook_api_password_secret``.
""",
    "version_added": "0.2.0",
    "type": "string",
    "sensitive": True,
    "example": None,
    "default": "",
}


def manifests() -> Iterator[Manifest]:
    """Yield the manifest of each vendor, by folder name."""
    root = Path(__file__).parent
    for module in sorted(pkgutil.iter_modules([str(root)]), key=lambda found: found.name):
        if module.ispkg and module.name != "core" and (root / module.name / "manifest.py").is_file():
            yield importlib.import_module(f"{remote_tasks_provider.__name__}.{module.name}.manifest").MANIFEST


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow's ``provider_info.schema.json`` asks for."""
    vendors = list(manifests())
    info: dict[str, Any] = {
        "package-name": "airflow-provider-remote-tasks",
        "name": "Remote Tasks",
        "description": "Tasks that run behind somebody else's REST API: "
        + ", ".join(vendor.name for vendor in vendors)
        + ".",
        "versions": [remote_tasks_provider.__version__],
        "integrations": [vendor.integration() for vendor in vendors],
        "connection-types": [vendor.connection_type() for vendor in vendors],
        "extra-links": [link for vendor in vendors for link in vendor.link_classes()],
        "task-decorators": [one for vendor in vendors for one in vendor.task_decorators()],
    }
    options = {
        "deployment_id": _DEPLOYMENT_ID,
        "shortest_deferral": _SHORTEST_DEFERRAL,
        "push_poll_interval": _PUSH_POLL_INTERVAL,
        "webhook_url": _WEBHOOK_URL,
        "webhook_connections": _WEBHOOK_CONNECTIONS,
        "webhook_api_url": _WEBHOOK_API_URL,
        "webhook_api_username": _WEBHOOK_API_USERNAME,
        "webhook_api_password": _WEBHOOK_API_PASSWORD,
    }
    info["config"] = {"remote_tasks": {"description": "Remote tasks.", "options": options}}
    for vendor in vendors:
        for section, modules in vendor.modules().items():
            info.setdefault(section, []).append(modules)
    return info
