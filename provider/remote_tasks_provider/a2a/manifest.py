"""A2A in Airflow's eyes; data only."""

from __future__ import annotations

from remote_tasks_provider.core.manifest import FormField, Manifest

__all__ = ["MANIFEST"]

MANIFEST = Manifest(
    folder="a2a",
    name="A2A agent",
    doc_url="https://a2a-protocol.org/latest/specification/",
    hook="A2AHook",
    links=(),
    key_label="Token (may be empty)",
    decorators={"a2a": "a2a_task"},
    default_host="https://agent.example.com/path",
    fields={
        "protocol_version": FormField(
            "Protocol version",
            "The version of A2A to speak; auto is what the agent's card prefers. Default auto.",
            FormField.one_of("auto", "1.0", "0.3"),
        ),
        "binding": FormField(
            "Binding",
            "How to speak it; auto is what the agent's card prefers. Default auto.",
            FormField.one_of("auto", "rest", "jsonrpc"),
        ),
        "card_path": FormField(
            "Card path",
            "Path of the agent's card below the base URL. Default: the well-known paths.",
        ),
        "tenant": FormField(
            "Tenant",
            "The tenant to name in every request. Default: the one in the agent's card.",
        ),
        "auth": FormField(
            "Token is",
            "A bearer token, user:password for basic, or an API key in a header. Default bearer.",
            FormField.one_of("bearer", "basic", "api_key"),
        ),
        "api_key_header": FormField(
            "API key header",
            "With auth api_key: the header that carries the key. Default X-API-Key.",
        ),
        "use_card_host": FormField(
            "Use the card's host",
            "Whether to call the host that the card names, without the token, if it is another one than the "
            "base URL's. Default false.",
            {"type": ["boolean", "null"]},
        ),
        "webhook_secret": FormField(
            "Webhook secret",
            "What the agent sends with its push notifications: 16 characters or more, not the token. "
            "Default: none, and no push.",
            {"type": ["string", "null"], "format": "password"},
        ),
    },
)
