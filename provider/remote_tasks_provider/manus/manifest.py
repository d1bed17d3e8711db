"""What Airflow shows of Manus before a hook is imported; data only."""

from __future__ import annotations

from remote_tasks_provider.core.manifest import FormField, Manifest

__all__ = ["MANIFEST"]

MANIFEST = Manifest(
    folder="manus",
    name="Manus",
    doc_url="https://open.manus.ai/docs",
    hook="ManusHook",
    links=("ManusTaskLink", "ManusWebsiteLink"),
    decorators={"manus": "manus_task"},
    key_label="API key",
    default_host="https://api.manus.ai",
    fields={
        "api_version": FormField(
            "API version",
            "The only version of the Manus API to use. Default: for each call the one that does it best.",
            FormField.one_of("v1", "v2"),
        ),
        "auth": FormField(
            "Password is",
            "An API key, or with oauth the access token of an OAuth app. Default api_key.",
            FormField.one_of("api_key", "oauth"),
        ),
        "connectors": FormField(
            "Connectors",
            "Ids of the connectors that tasks may use, separated by commas; none for no connector. Default: "
            "the account's.",
        ),
        "webhook_public_key": FormField(
            "Webhook public key",
            "The PEM Manus signs webhooks with, for a receiver that cannot ask Manus. Default: asked for.",
            {"type": ["string", "null"], "format": "multiline"},
        ),
    },
)
