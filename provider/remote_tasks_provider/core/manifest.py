"""What a vendor tells Airflow about itself: data only, free to read in every Airflow process.

Must import nothing but the standard library: the scheduler, the API server and every worker read it at start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FormField", "Manifest"]

_PACKAGE = "remote_tasks_provider"
_SECTIONS = ("hooks", "operators", "sensors", "triggers")


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of the connection form, kept in the connection's extra.

    :param schema: JSON schema of the value: ``type`` and, where it helps, ``default``, ``enum`` and bounds;
        default a text.
    """

    label: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": ["string", "null"]})

    @staticmethod
    def one_of(*words: str) -> dict[str, Any]:
        """Return the schema of a text that is one of ``words``."""
        return {"type": ["string", "null"], "enum": list(words)}


_COMMON_FIELDS = {
    "connect_timeout": FormField(
        "Connect timeout (s)",
        "Seconds to wait for a connection to the host. Default 10.",
        {"type": ["number", "null"], "minimum": 0.001, "maximum": 300},
    ),
    "read_timeout": FormField(
        "Read timeout (s)",
        "Seconds of silence after which a request counts as failed. Default 30.",
        {"type": ["number", "null"], "minimum": 0.001, "maximum": 600},
    ),
    "total_timeout": FormField(
        "Total timeout (s)",
        "Seconds for one request and its whole answer, however steadily it trickles. Default 120.",
        {"type": ["number", "null"], "minimum": 0.001, "maximum": 3600},
    ),
    "max_attempts": FormField(
        "Attempts per request",
        "How often one request is sent at most, the first time included. Default 5.",
        {"type": ["integer", "null"], "minimum": 1, "maximum": 20},
    ),
    "push": FormField(
        "Push",
        "Whether webhooks arrive for this connection, so that a wait polls as soon as one has come. "
        "Default false.",
        {"type": ["boolean", "null"]},
    ),
    "push_events": FormField(
        "Push events",
        "Whether each webhook also gives the connection's asset an event, which can start DAGs. "
        "Default false.",
        {"type": ["boolean", "null"]},
    ),
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A vendor in Airflow's eyes.

    :param folder: the vendor's package below this one.
    :param name: the vendor's name for people.
    :param hook: the hook's class name in ``<folder>.hooks``.
    :param links: class names of extra links in ``<folder>.links``.
    :param key_label: what the vendor calls its API key.
    :param default_host: placeholder of the host field.
    :param decorators: ``@task.<name>`` → the function that makes it, in ``<folder>.decorators``.
    :param fields: fields of the form beyond those that every vendor has.
    """

    folder: str
    name: str
    doc_url: str
    hook: str
    links: tuple[str, ...]
    key_label: str
    default_host: str
    fields: Mapping[str, FormField] = field(default_factory=dict)
    decorators: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_fields(self) -> dict[str, FormField]:
        """The vendor's fields, then those that every vendor has."""
        return {**self.fields, **_COMMON_FIELDS}

    def ui_field_behaviour(self) -> dict[str, Any]:
        """Return what the form makes of Airflow's own fields, as a hook gives it below Airflow 3.2."""
        # The port has a field because Airflow 3.3.2 tests no saved connection without one: its list sends 0
        # for an empty port, finds that it differs from the stored one, wants the password again, and shows
        # nothing of that but "Bad Request". No form of Airflow describes this field, so the placeholder does.
        placeholders = {
            "host": self.default_host,
            "password": f"the {self.key_label} alone",
            "port": "443; while it is empty, Test answers Bad Request",
        }
        return {
            "hidden_fields": ["login", "schema", "extra"],
            "relabeling": {"password": self.key_label, "host": "Base URL"},
            "placeholders": placeholders,
        }

    def connection_type(self) -> dict[str, Any]:
        """Return the entry of ``connection-types`` in the provider info."""
        return {
            "connection-type": self.folder,
            "hook-class-name": f"{_PACKAGE}.{self.folder}.hooks.{self.hook}",
            "hook-name": self.name,
            "ui-field-behaviour": {
                name.replace("_", "-"): value for name, value in self.ui_field_behaviour().items()
            },
            "conn-fields": {
                name: {"label": item.label, "description": item.description, "schema": dict(item.schema)}
                for name, item in self.all_fields.items()
            },
        }

    def integration(self) -> dict[str, Any]:
        """Return the entry of ``integrations`` in the provider info."""
        return {"integration-name": self.name, "external-doc-url": self.doc_url, "tags": ["service"]}

    def modules(self) -> dict[str, dict[str, Any]]:
        """Return, by section, the entries that list the vendor's Python modules."""
        return {
            section: {
                "integration-name": self.name,
                "python-modules": [f"{_PACKAGE}.{self.folder}.{section}"],
            }
            for section in _SECTIONS
        }

    def task_decorators(self) -> list[dict[str, str]]:
        """Return the entries of ``task-decorators`` in the provider info."""
        return [
            {"name": name, "class-name": f"{_PACKAGE}.{self.folder}.decorators.{function}"}
            for name, function in self.decorators.items()
        ]

    def link_classes(self) -> list[str]:
        """Return the entries of ``extra-links`` in the provider info."""
        return [f"{_PACKAGE}.{self.folder}.links.{link}" for link in self.links]
