"""Which Airflow this is, pre-releases included."""

from __future__ import annotations

import importlib.util
from typing import Any

import airflow
import pytest

from remote_tasks_provider.bases import compat


def _as_read_on(version: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(airflow, "__version__", version)
    spec = importlib.util.spec_from_file_location("compat_elsewhere", compat.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("version", ["3.3.0", "3.3.0b2", "3.3.0rc1", "3.3.0.dev0", "3.4.0b2"])
def test_prerelease_has_what_its_final_release_has(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _as_read_on(version, monkeypatch)

    assert module.airflow_is_at_least("3.3")
    assert all((module.STARTS_FROM_TRIGGER, module.AWAITS_INPUT, module.TRIGGERS_GET_ON_KILL))


def test_older_release_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _as_read_on("3.2.2", monkeypatch)

    assert not any((module.STARTS_FROM_TRIGGER, module.AWAITS_INPUT, module.TRIGGERS_GET_ON_KILL))
