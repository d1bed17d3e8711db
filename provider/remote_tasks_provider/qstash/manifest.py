"""QStash in Airflow's eyes; data only."""

from __future__ import annotations

from remote_tasks_provider.core.manifest import FormField, Manifest

__all__ = ["MANIFEST"]

MANIFEST = Manifest(
    folder="qstash",
    name="Upstash QStash",
    doc_url="https://upstash.com/docs/qstash",
    hook="QStashHook",
    links=("QStashWorkflowLink",),
    key_label="QStash token",
    default_host="https://qstash.upstash.io",
    decorators={"qstash": "qstash_task"},
    fields={
        "region": FormField(
            "Region",
            "Where the account lives, if Base URL is empty. Default eu.",
            FormField.one_of("eu", "us"),
        ),
        "plan": FormField(
            "Plan",
            "The account's plan: free, payg (pay as you go) or fixed. Its limits are checked before a "
            "message is sent. Default free.",
            FormField.one_of("free", "payg", "fixed"),
        ),
        "webhook_secret": FormField(
            "Signing keys",
            "The current and, after a comma, the next signing key, for a receiver of callbacks that cannot "
            "ask QStash. Default: asked for.",
            {"type": ["string", "null"], "format": "password"},
        ),
    },
)
