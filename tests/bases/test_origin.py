"""Who asks: the names that tell two task instances apart, and two Airflows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import airflow
import pytest

from remote_tasks_provider.bases.origin import Origin, deployment_id, is_first_attempt

# Airflow 2.11 has it elsewhere.
SECTION = "API" if airflow.__version__ >= "3" else "WEBSERVER"
BASE_URL = f"AIRFLOW__{SECTION}__BASE_URL"


def origin(loop: Any = None, **facts: Any) -> Origin:
    ti = SimpleNamespace(
        **{"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1, "try_number": 1, "max_tries": 0}
        | facts
    )
    context: Any = {"ti": ti}
    if loop is not None:
        context["loop"] = loop
    return Origin.of(context)


class TestDeploymentId:
    def test_deployment_id_is_the_configured_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__REMOTE_TASKS__DEPLOYMENT_ID", " production ")

        assert deployment_id() == "production"
        assert origin().deployment == "production"

    @pytest.mark.parametrize("variable", [BASE_URL, "AIRFLOW__CORE__FERNET_KEY"])
    def test_deployment_id_is_another_with_another_address_or_key(
        self, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        monkeypatch.setenv(variable, "https://staging.example.com")
        staging = deployment_id()
        monkeypatch.setenv(variable, "https://airflow.example.com")

        assert deployment_id() != staging

    def test_deployment_id_is_the_same_on_each_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(BASE_URL, "https://airflow.example.com/")
        first = deployment_id()
        monkeypatch.setenv(BASE_URL, "https://airflow.example.com")

        assert deployment_id() == first

    def test_deployment_id_is_the_same_however_a_missing_key_shows(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "{FERNET_KEY}")
        unset = deployment_id()
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")

        assert deployment_id() == unset

    def test_deployment_id_does_not_show_the_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")

        assert "secret" not in deployment_id()


class TestOrigin:
    @pytest.mark.parametrize(
        "facts",
        [
            {"dag_id": "e"},
            {"task_id": "u"},
            {"run_id": "s"},
            {"map_index": 0},
            {"region_id": UUID(int=7), "region_index": 0},
        ],
    )
    def test_key_is_another_for_another_task_instance(self, facts: dict[str, Any]) -> None:
        assert origin(**facts).key != origin().key

    def test_key_is_another_for_another_deployment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        production = origin().key
        monkeypatch.setenv("AIRFLOW__REMOTE_TASKS__DEPLOYMENT_ID", "staging")

        assert origin().key != production

    def test_key_is_another_in_each_iteration_of_a_loop(self) -> None:
        region = UUID(int=7)

        first, second = (origin(region_id=region, region_index=index) for index in (0, 1))

        assert first.key != second.key

    def test_key_is_the_same_in_an_iteration_that_was_made_anew(self) -> None:
        first, again, second = (
            origin(SimpleNamespace(index=index), region_id=UUID(int=region), region_index=index)
            for index, region in ((0, 7), (0, 8), (1, 8))
        )

        assert first.key == again.key != second.key

    def test_key_is_the_same_outside_loops_on_every_airflow(self) -> None:
        assert (
            origin(region_id=UUID(int=0), region_index=-1).key == origin(region_id=None).key == origin().key
        )

    def test_key_is_the_same_on_every_attempt_and_after_a_clear(self) -> None:
        assert origin(try_number=4, max_tries=6).key == origin().key

    def test_digest_is_another_for_other_parts(self) -> None:
        assert origin().digest("1") != origin().digest("2") != origin().digest()

    def test_origin_reads_what_a_minimal_task_instance_has(self) -> None:
        found = origin(map_index=None, try_number=None, max_tries=None)

        assert (found.map_index, found.attempt, found.max_tries) == (-1, 1, 0)


class TestFirstAttempt:
    @pytest.mark.parametrize(
        ("number", "max_tries", "retries", "expected"),
        [
            (1, 2, 2, True),
            (2, 2, 2, False),
            (3, 4, 2, True),
            (4, 4, 2, False),
            (1, 2, 5, True),
            (1, 0, 0, True),
        ],
    )
    def test_first_attempt_is_the_one_after_a_clear_too(
        self, number: int, max_tries: int, retries: int, expected: bool
    ) -> None:
        ti = SimpleNamespace(
            dag_id="d", task_id="t", run_id="r", map_index=-1, try_number=number, max_tries=max_tries
        )
        context: Any = {"ti": ti}
        task: Any = SimpleNamespace(retries=retries)

        assert is_first_attempt(task, context) is expected
