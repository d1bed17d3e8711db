"""QStash in Airflow's eyes; data only."""

from __future__ import annotations

from remote_tasks_provider.core.manifests import Manifest

__all__ = ["MANIFEST"]

MANIFEST = Manifest(
    folder="qstash",
    name="Upstash QStash",
    doc_url="https://upstash.com/docs/qstash",
    hook="QStashHook",
    links=(),
    key_label="QStash token",
    default_host="https://qstash.upstash.io",
)
