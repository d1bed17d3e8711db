"""What a vendor's manifest becomes for Airflow."""

from __future__ import annotations

from remote_tasks_provider.core.http.connection import ConnectionExtras
from remote_tasks_provider.core.manifest import FormField, Manifest

MANIFEST = Manifest(
    folder="example",
    name="Example",
    doc_url="https://example.com/docs",
    hook="ExampleHook",
    links=("ExampleLink",),
    key_label="API key",
    default_host="https://api.example.com",
    fields={"region": FormField("Region", "Where it lives.", {"type": "string"})},
)


class TestConnectionType:
    entry = MANIFEST.connection_type()

    def test_hook_is_named_by_its_module(self) -> None:
        assert self.entry["connection-type"] == "example"
        assert self.entry["hook-class-name"] == "remote_tasks_provider.example.hooks.ExampleHook"

    def test_vendor_fields_come_before_common_fields(self) -> None:
        assert list(self.entry["conn-fields"]) == ["region", *ConnectionExtras.model_fields]
        assert self.entry["conn-fields"]["region"] == {
            "label": "Region",
            "description": "Where it lives.",
            "schema": {"type": "string"},
        }

    def test_airflow_fields_are_described(self) -> None:
        behaviour = self.entry["ui-field-behaviour"]

        assert behaviour["relabeling"]["password"] == "API key"
        assert behaviour["placeholders"]["host"] == "https://api.example.com"
        assert "Test" in behaviour["placeholders"]["port"]
        assert not {"host", "port", "password"} & set(behaviour["hidden-fields"])


class TestOtherEntries:
    def test_integration_links_to_the_vendor_pages(self) -> None:
        assert MANIFEST.integration()["external-doc-url"] == "https://example.com/docs"

    def test_modules_and_links_are_named_by_their_module(self) -> None:
        assert MANIFEST.modules()["sensors"] == {
            "integration-name": "Example",
            "python-modules": ["remote_tasks_provider.example.sensors"],
        }
        assert MANIFEST.link_classes() == ["remote_tasks_provider.example.links.ExampleLink"]


class TestFormField:
    def test_field_is_a_text_unless_it_says_otherwise(self) -> None:
        assert FormField("Region", "Where it lives.").schema == {"type": ["string", "null"]}

    def test_words_may_be_left_out(self) -> None:
        assert FormField.one_of("eu", "us") == {"type": ["string", "null"], "enum": ["eu", "us"]}
