"""How each Airflow finds the provider, and what it makes of the connection form."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.providers.common.compat.sdk import BaseHook
from airflow.providers_manager import ProvidersManager

from dev.airflow.connections import agent_connection
from remote_tasks_provider.get_provider_info import get_provider_info

AIRFLOW = tuple(int(part) for part in metadata.version("apache-airflow").split(".")[:2])
CONNECTION_TYPES = ("manus", "qstash", "a2a")


def dotted_paths(info: dict[str, Any]) -> Iterator[str]:
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in info.get(kind, []):
            yield from entry["python-modules"]
    yield from (entry["hook-class-name"] for entry in info["connection-types"])
    yield from (entry["class-name"] for entry in info.get("task-decorators", []))
    yield from info.get("extra-links", [])


def load(path: str) -> Any:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


class TestEnvironment:
    def test_airflow_version_is_the_expected_one(self) -> None:
        assert metadata.version("apache-airflow") == os.environ.get("EXPECTED_AIRFLOW", airflow.__version__)


class TestProviderInfo:
    def test_info_follows_the_schema_of_this_airflow(self) -> None:
        schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())

        jsonschema.validate(get_provider_info(), schema)

    @pytest.mark.parametrize("path", sorted(set(dotted_paths(get_provider_info()))))
    def test_dotted_paths_can_be_imported(self, path: str) -> None:
        assert load(path) is not None

    def test_provider_is_listed_by_airflow(self) -> None:
        assert "airflow-provider-remote-tasks" in ProvidersManager().providers


@pytest.mark.parametrize("connection_type", CONNECTION_TYPES)
class TestConnectionType:
    def test_hook_is_known_to_airflow(self, connection_type: str) -> None:
        hook = ProvidersManager().hooks[connection_type]

        assert hook is not None
        assert hook.connection_type == connection_type
        assert load(hook.hook_class_name).conn_type == connection_type

    @pytest.mark.usefixtures("airflow_connections")
    def test_hook_is_made_from_a_connection(
        self, connection_type: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        agent = json.dumps(agent_connection("http://127.0.0.1:1"))
        monkeypatch.setenv("AIRFLOW_CONN_A2A_DEFAULT", agent)

        hook = BaseHook.get_hook(f"{connection_type}_default")

        assert hook.conn_type == connection_type


FORM_IN_AIRFLOW_2 = """
import json
from airflow.providers.common.compat.sdk import BaseHook
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
fields = [name.split("__")[1:] for name in manager.connection_form_widgets]
print(json.dumps({
    kind: {
        "fields": sorted(field for owner, field in fields if owner == kind),
        "key_label": manager.field_behaviours.get(kind, {}).get("relabeling", {}).get("password"),
    } for kind in ("manus", "qstash", "a2a")
}))
"""
FORM_IN_AIRFLOW_3 = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
print(json.dumps({
    meta.connection_type: {
        "fields": sorted(meta.extra_fields or {}),
        "key_label": getattr(getattr(meta.standard_fields, "password", None), "title", None),
    } for meta in HookMetaService.hook_meta_data() if meta.connection_type in ("manus", "qstash", "a2a")
}))
"""


@pytest.mark.skipif(
    AIRFLOW == (3, 0) and find_spec("wtforms") is None,
    reason="Airflow 3.0 shows no provider's fields where wtforms (the FAB provider) is not installed",
)
@pytest.mark.parametrize("connection_type", CONNECTION_TYPES)
class TestConnectionForm:
    @pytest.fixture(scope="class")
    def forms(self) -> dict[str, Any]:
        # In a process of its own: Airflow reads a form once per process, and 3.x does it with stand-ins for
        # wtforms, so that any earlier look at a hook would decide the result.
        code = FORM_IN_AIRFLOW_3 if AIRFLOW >= (3, 0) else FORM_IN_AIRFLOW_2
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout.strip().splitlines()[-1])

    @pytest.fixture
    def declared(self, connection_type: str) -> dict[str, Any]:
        (entry,) = [
            entry
            for entry in get_provider_info()["connection-types"]
            if entry["connection-type"] == connection_type
        ]
        return entry

    def test_form_has_every_declared_field(
        self, connection_type: str, declared: dict[str, Any], forms: dict[str, Any]
    ) -> None:
        assert forms[connection_type]["fields"] == sorted(declared["conn-fields"])

    def test_form_labels_the_key_as_the_vendor_does(
        self, connection_type: str, declared: dict[str, Any], forms: dict[str, Any]
    ) -> None:
        relabeling = declared["ui-field-behaviour"]["relabeling"]

        assert forms[connection_type]["key_label"] == relabeling["password"]
