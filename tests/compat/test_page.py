"""The Remote Tasks page in a real API server: who gets what, on every Airflow that has a UI for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_tasks_provider.bases.compat import airflow_is_at_least
from remote_tasks_provider.page.plugin import RemoteTasksPagePlugin

IS_SHOWN = airflow_is_at_least("3.1")
QUESTION = "Which one? <script>alert(1)</script>"

if IS_SHOWN:
    from dev.page.auth import LIMITED, SECRET_DAG
    from dev.page.rows import NOW, Row, deferred
    from dev.page.server import PAGE, ApiServer

    SEEN = {"state": "running", "credits": 12, "at": NOW.timestamp() - 60}
    ROWS = [
        deferred("task_1", started_at=NOW.timestamp() - 900, seen=SEEN),
        deferred("task_2", dag_id=SECRET_DAG),
        Row(
            task_id="ask",
            operator="ManusTaskOperator",
            state="awaiting_input" if airflow_is_at_least("3.3") else "deferred",
            next_method="resume_with_reply",
            rendered={"manus_conn_id": "m", "prompt": "a secret prompt"},
            xcoms={"remote_task_id": "task_3", "remote_task_url": "https://manus.im/app/task_3"},
            question=QUESTION,
        ),
        Row(task_id="poke", state="up_for_reschedule", rendered={"manus_conn_id": "m"}, reschedules=[9]),
    ]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("dags")
    with ApiServer(ROWS, folder, path="/air/flow") as running:
        yield running


@pytest.mark.skipif(IS_SHOWN, reason="Airflow below 3.1 has no place for the page")
def test_page_is_absent_below_3_1() -> None:
    assert RemoteTasksPagePlugin.fastapi_apps == []
    assert getattr(RemoteTasksPagePlugin, "external_views", []) == []


@pytest.mark.airflow_db
@pytest.mark.skipif(not IS_SHOWN, reason="needs Airflow 3.1 or newer")
class TestPage:
    @pytest.mark.parametrize("token", [None, "not-a-token"])
    def test_data_needs_a_login(self, airflow: Any, token: str | None) -> None:
        answer = airflow.get(f"{PAGE}waits", token=token)

        assert answer.status_code in ((401,) if token is None else (401, 403))
        assert "task_1" not in answer.text

    def test_user_gets_the_waits_of_every_dag_that_they_may_read(self, airflow: Any) -> None:
        token = airflow.token("admin")
        found = airflow.get(f"{PAGE}waits", cookie=token).json()
        waits = {wait["task_id"] + wait["dag_id"]: wait for wait in found["waits"]}

        assert sorted(waits) == ["askreports", "pokereports", "waitpayroll", "waitreports"]
        assert (waits["waitreports"]["state"], waits["waitreports"]["credits"]) == ("running", 12)
        asked = waits["askreports"]
        assert (asked["question"], asked["service"], asked["conn_id"]) == (QUESTION, "Manus", "m")
        assert (asked["remote_ids"], asked["url"]) == (["task_3"], "https://manus.im/app/task_3")
        assert {one["conn_id"]: one["waits"] for one in found["connections"]} == {"manus_default": 2, "m": 2}
        assert found["total"] == found["matching"] == 4

    @pytest.mark.parametrize("query", [{}, {"dag_id": "reports"}, {"text": "task_2"}])
    def test_user_sees_nothing_of_a_dag_that_they_may_not_read(self, airflow: Any, query: Any) -> None:
        answer = airflow.get(f"{PAGE}waits", token=airflow.token(LIMITED), **query)

        assert answer.status_code == 200
        assert SECRET_DAG not in answer.text
        assert "task_2" not in answer.text
        assert answer.json()["total"] == 3

    def test_answer_has_neither_prompts_nor_arguments_of_triggers(self, airflow: Any) -> None:
        answer = airflow.get(f"{PAGE}waits", token=airflow.token("admin"))

        assert "a secret prompt" not in answer.text
        assert "poll_interval" not in answer.text
        assert answer.headers["cache-control"] == "no-store"

    def test_part_of_a_list_is_cut_out_in_order(self, airflow: Any) -> None:
        token = airflow.token("admin")
        parts = [
            airflow.get(f"{PAGE}waits", token=token, order="dag", limit=2, offset=offset).json()
            for offset in (0, 2, 4)
        ]

        names = [[wait["dag_id"] for wait in part["waits"]] for part in parts]
        assert names == [["payroll", "reports"], ["reports", "reports"], []]

    @pytest.mark.parametrize(
        "query", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"order": "nothing"}, {"text": "x" * 300}]
    )
    def test_query_that_asks_for_what_is_not_there_is_refused(self, airflow: Any, query: Any) -> None:
        assert airflow.get(f"{PAGE}waits", token=airflow.token("admin"), **query).status_code == 422

    @pytest.mark.parametrize(
        "name", ["", "page.js", "page.css", "theme.js", "icon-light.svg", "icon-dark.svg"]
    )
    def test_static_files_load_nothing_from_elsewhere(self, airflow: Any, name: str) -> None:
        answer = airflow.get(PAGE + name)

        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "//" not in answer.text.replace("http://www.w3.org/2000/svg", "") or name.endswith(".js")

    def test_ui_has_the_page_in_its_menu(self, airflow: Any) -> None:
        token = airflow.token("admin")
        views = [
            view
            for plugin in airflow.get("/api/v2/plugins", token=token).json()["plugins"]
            for view in plugin["external_views"]
            if view["url_route"] == "remote-tasks"
        ]

        assert [(view["name"], view["href"]) for view in views] == [("Remote Tasks", "remote-tasks-page/")]
        assert airflow.get(f"/{views[0]['icon']}").status_code == 200

    def test_data_can_only_be_read(self, airflow: Any) -> None:
        assert airflow._http.post(f"{airflow.url}{PAGE}waits").status_code == 405
