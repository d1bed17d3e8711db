"""The agent asks twice, a user answers twice in Airflow, the agent finishes: ``example_a_person_answers``.

This needs a real Airflow, because ``dag.test()`` has no form to answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from dev.airflow.client import AirflowClient, eventually
from dev.airflow.connections import sandbox_connections
from dev.airflow.standalone import StandaloneAirflow
from remote_tasks_provider.bases.compat import FORMS_ARE_REPLACED
from remote_tasks_sandbox import SandboxServer
from tests.examples.running import copy_quick

DAG_ID = "example_a_person_answers"
#: Seconds before an answer. Airflow can lose a task that is answered within a second or two of its question.
ANSWER_DELAY = 6.0


class User:
    """Reads the required actions of one task, and answers them as the UI does."""

    def __init__(
        self, client: AirflowClient, run_id: str, dag_id: str = DAG_ID, task_id: str = "plan"
    ) -> None:
        self._client = client
        self._task = (dag_id, run_id, task_id)
        self._path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self._seen: set[str] = set()

    def question(self) -> dict[str, Any]:
        """Wait for a new question; return its form and its XCom."""

        def new_question() -> dict[str, Any] | None:
            instance = self._client.task_instance(*self._task)
            if instance.state != "awaiting_input":
                return None
            form = self._client._request("GET", self._path).json()
            question = self._client.xcom(*self._task, key="remote_task_question")
            new = not form["response_received"] and question["code"] not in self._seen
            return {"form": form, "asked": question} if new else None

        found = eventually(new_question, within=240, what="the agent's question is a required action")
        self._seen.add(found["asked"]["code"])
        return found

    def answer(self, code: str, option: str, **fields: Any) -> None:
        time.sleep(ANSWER_DELAY)
        body = {"chosen_options": [option], "params_input": {**fields, "question_code": code}}
        self._client._request("PATCH", self._path, json=body)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    dags = tmp_path_factory.mktemp("dags")
    copy_quick(DAG_ID, dags, interval=5)
    with SandboxServer() as server:
        server.sandbox.manus.plan(
            # The agent waits until its question is answered. Airflow can lose a deferral that ends within
            # seconds: its scheduler takes the end of the first process for that of the task.
            script=[
                ("running", 14),
                ("waiting", None),
                ("running", 14),
                ("waiting", None),
                ("running", 14),
                ("completed", None),
            ],
            waiting=[
                {"type": "messageAskUser", "description": "Where to?", "options": ["Thun", "Spiez"]},
                {
                    "type": "gmailSendAction",
                    "description": "May I send the plan by mail?",
                    "schema": {"type": "object", "properties": {"accept": {"type": "boolean"}}},
                },
            ],
        )
        with StandaloneAirflow(dags, connections=sandbox_connections(server)) as airflow:
            client = airflow.client
            run_id = client.trigger(DAG_ID)
            user = User(client, run_id)
            first = user.question()
            user.answer(first["asked"]["code"], "Thun", answer="and back by boat")
            second = user.question()
            user.answer(second["asked"]["code"], "Send", answer='{"accept": true}')
            state = client.wait_for_run(DAG_ID, run_id, within=120)
            (created,) = server.sandbox.manus.created
            yield {
                "first": first,
                "second": second,
                "state": state,
                "log": client.log(DAG_ID, run_id, "plan"),
                "answers": server.sandbox.manus.answers(created.id),
            }


def test_run_succeeds(run: dict[str, Any]) -> None:
    assert run["state"] == "success", run["log"]


def test_form_shows_the_agents_text_and_options(run: dict[str, Any]) -> None:
    form = run["first"]["form"]

    assert "Where to" in form["body"]
    assert form["options"][:2] == ["Thun", "Spiez"]


def test_answer_in_words_is_sent_to_the_agent(run: dict[str, Any]) -> None:
    assert run["answers"][0].text == "Thun\n\nand back by boat", run["log"]


def test_later_question_is_in_xcom_and_log_while_airflow_shows_the_first(run: dict[str, Any]) -> None:
    assert "May I send the plan by mail?" in run["second"]["asked"]["text"]
    assert "May I send the plan by mail?" in run["log"]


def test_form_of_the_second_question_is_its_own_where_airflow_replaces_it(run: dict[str, Any]) -> None:
    form = run["second"]["form"]

    assert ("May I send the plan by mail" in form["body"]) is FORMS_ARE_REPLACED
    assert ("accept" in form["params"]) is FORMS_ARE_REPLACED
    assert form["subject"].startswith("May I send" if FORMS_ARE_REPLACED else "Where to?")


def test_action_is_confirmed_with_the_users_input(run: dict[str, Any]) -> None:
    last = run["answers"][-1]

    assert (last.input, last.confirmed) == ({"accept": True}, True), run["log"]
    assert len(run["answers"]) == 2
