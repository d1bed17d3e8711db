"""Acme in Airflow's eyes; data only."""

# [START manifest]
from __future__ import annotations

from remote_tasks_provider.core.manifest import Manifest

__all__ = ["MANIFEST"]

MANIFEST = Manifest(
    folder="acme",
    name="Acme",
    doc_url="https://render.acme.example/docs",
    hook="AcmeHook",
    links=("AcmeJobLink",),
    key_label="API key",
    default_host="https://render.acme.example",
)
# [END manifest]
