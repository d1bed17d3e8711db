"""What Airflow shows of Manus before a hook is imported; data only."""

from __future__ import annotations

from remote_tasks_provider.core.manifest import FormField, Manifest

__all__ = ["MANIFEST"]

MANIFEST = Manifest(
    folder="manus",
    name="Manus",
    doc_url="https://open.manus.ai/docs",
    hook="ManusHook",
    links=("ManusTaskLink",),
    decorators={"manus": "manus_task"},
    key_label="API key",
    default_host="https://api.manus.ai",
    fields={
        "api_version": FormField(
            "API version",
            "Which Manus API to talk to. Default v1. Manus recommends v2, and much of ManusTaskOperator "
            "needs it.",
            {"type": ["string", "null"], "enum": ["v1", "v2"]},
        ),
        "auth": FormField(
            "Password is",
            "An API key, or with oauth the access token of an OAuth app (API v2). Default api_key.",
            {"type": ["string", "null"], "enum": ["api_key", "oauth"]},
        ),
    },
)
