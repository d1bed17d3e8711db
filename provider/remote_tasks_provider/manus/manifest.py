"""Manus in Airflow's eyes; data only."""

from __future__ import annotations

from remote_tasks_provider.core.manifests import FormField, Manifest

__all__ = ["MANIFEST"]

MANIFEST = Manifest(
    folder="manus",
    name="Manus",
    doc_url="https://open.manus.ai/docs",
    hook="ManusHook",
    links=("ManusTaskLink",),
    key_label="API key",
    default_host="https://api.manus.ai",
    fields={
        "api_version": FormField(
            "API version",
            "Which Manus API to talk to. Default v1.",
            {"type": ["string", "null"], "enum": ["v1"]},
        )
    },
)
