"""The provider info is valid for the installed Airflow and names nothing that is not there."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

import remote_tasks_provider
from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.core.manifest import Manifest
from remote_tasks_provider.core.service import Service
from remote_tasks_provider.get_provider_info import get_provider_info, manifests

INFO = get_provider_info()
MANIFESTS = {manifest.folder: manifest for manifest in manifests()}
PACKAGE = Path(next(iter(remote_tasks_provider.__path__)))


def _load(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _hook_class(folder: str) -> type[RemoteTaskHook]:
    entry = MANIFESTS[folder].connection_type()
    found: type[RemoteTaskHook] = _load(entry["hook-class-name"])
    return found


def _service(folder: str) -> Service[Any]:
    return _hook_class(folder).service


def _classes(dotted: Any) -> Iterator[str]:
    """Yield every string of the info that names one of this provider's classes or modules."""
    if isinstance(dotted, dict):
        for value in dotted.values():
            yield from _classes(value)
    elif isinstance(dotted, list):
        for value in dotted:
            yield from _classes(value)
    elif isinstance(dotted, str) and dotted.startswith("remote_tasks_provider."):
        yield dotted


class TestSchema:
    def test_info_is_accepted_by_the_installed_airflow(self) -> None:
        path = Path(next(iter(airflow.__path__))) / "provider_info.schema.json"

        jsonschema.validate(INFO, json.loads(path.read_text()))

    def test_info_is_plain_json(self) -> None:
        assert json.loads(json.dumps(INFO)) == INFO

    def test_version_is_that_of_the_installed_distribution(self) -> None:
        assert INFO["versions"] == [remote_tasks_provider.__version__]
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = remote_tasks_provider.nothing


class TestNames:
    @pytest.mark.parametrize("name", sorted(set(_classes(INFO))))
    def test_dotted_names_can_be_imported(self, name: str) -> None:
        last = name.rpartition(".")[2]

        assert _load(name) if last[0].isupper() or ".decorators." in name else importlib.import_module(name)

    @pytest.mark.parametrize("folder", MANIFESTS)
    @pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
    def test_modules_of_a_vendor_are_listed(self, folder: str, kind: str) -> None:
        listed = [name for entry in INFO[kind] for name in entry["python-modules"]]

        assert importlib.util.find_spec(f"remote_tasks_provider.{folder}.{kind}") is not None
        assert f"remote_tasks_provider.{folder}.{kind}" in listed

    @pytest.mark.parametrize("folder", MANIFESTS)
    def test_links_of_a_vendor_are_listed(self, folder: str) -> None:
        path = PACKAGE / folder / "links.py"
        if not path.is_file():
            assert MANIFESTS[folder].links == ()
            return
        links = importlib.import_module(f"remote_tasks_provider.{folder}.links")

        assert set(MANIFESTS[folder].links) == set(links.__all__)
        assert set(MANIFESTS[folder].link_classes()) <= set(INFO["extra-links"])


@pytest.mark.parametrize("folder", MANIFESTS)
class TestForm:
    def test_form_fields_are_those_the_connection_accepts(self, folder: str) -> None:
        accepted = _service(folder).extras.model_fields

        assert set(MANIFESTS[folder].all_fields) == set(accepted)

    def test_form_bounds_and_choices_are_those_the_connection_accepts(self, folder: str) -> None:
        properties = _service(folder).extras.model_json_schema()["properties"]
        for name, item in MANIFESTS[folder].all_fields.items():
            accepted = properties[name]
            # An extra that may be empty is one kind or null.
            accepted = {**accepted, **accepted.get("anyOf", [{}])[0]}
            choices = accepted.get("enum") or ([accepted["const"]] if "const" in accepted else None)

            assert item.schema["type"] == [accepted["type"], "null"]
            assert list(item.schema.get("enum", [])) == list(choices or [])
            assert item.schema.get("maximum") == accepted.get("maximum")
            if "minimum" in accepted:
                assert item.schema["minimum"] == accepted["minimum"]

    def test_form_descriptions_name_the_defaults(self, folder: str) -> None:
        for name, model_field in _service(folder).extras.model_fields.items():
            default = model_field.default
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            shown = shown.lower() if isinstance(default, bool) else shown

            expected = "Default: " if default is None else f"Default {shown}."
            assert expected in MANIFESTS[folder].all_fields[name].description

    def test_hook_knows_its_connection_type(self, folder: str) -> None:
        hook = _hook_class(folder)

        assert hook.conn_type == folder
        assert hook.hook_name == MANIFESTS[folder].name
        assert hook.default_conn_name == f"{folder}_default"
        assert hook.conn_name_attr == f"{folder}_conn_id"

    def test_hook_gives_the_same_labels(self, folder: str) -> None:
        behaviour = MANIFESTS[folder].connection_type()["ui-field-behaviour"]

        assert _hook_class(folder).get_ui_field_behaviour() == {
            key.replace("-", "_"): value for key, value in behaviour.items()
        }

    def test_default_host_is_that_of_the_service(self, folder: str) -> None:
        service = _service(folder)
        default = service.default_base_url
        if default is None:
            return

        assert MANIFESTS[folder].default_host == (default(service.extras()) if callable(default) else default)


def test_manifests_exist_for_every_vendor() -> None:
    assert set(MANIFESTS) >= {"manus", "qstash"}
    assert all(isinstance(manifest, Manifest) for manifest in MANIFESTS.values())
