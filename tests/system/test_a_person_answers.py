"""The agent asks twice, a person answers twice in Airflow, the agent finishes: ``example_a_person_answers``.

A real Airflow, because ``dag.test()`` has nobody who could answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from dev.airflow.client import AirflowClient, eventually
from dev.airflow.connections import sandbox_connections
from dev.airflow.standalone import StandaloneAirflow
from dev.environments import ROOT
from remote_tasks_sandbox import SandboxServer

DAG_ID = "example_a_person_answers"
#: Airflow can lose a task that is answered within a second or two of its question; no person is that fast.
A_PERSONS_PACE = 6.0


class Person:
    """Sees the required actions of one task, and answers them as the UI does."""

    def __init__(self, client: AirflowClient, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._path = f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/plan/-1/hitlDetails"
        self._seen: set[str] = set()

    def question(self) -> dict[str, Any]:
        """Wait until something new is asked; return the form, and what is asked by the XCom."""

        def asked() -> dict[str, Any] | None:
            instance = self._client.task_instance(DAG_ID, self._run_id, "plan")
            if instance.state != "awaiting_input":
                return None
            form = self._client._request("GET", self._path).json()
            told = self._client.xcom(DAG_ID, self._run_id, "plan", key="remote_task_question")
            new = not form["response_received"] and told["code"] not in self._seen
            return {"form": form, "asked": told} if new else None

        found = eventually(asked, within=90, what="the agent's question is a required action")
        self._seen.add(found["asked"]["code"])
        return found

    def answer(self, code: str, option: str, **fields: Any) -> None:
        time.sleep(A_PERSONS_PACE)
        body = {"chosen_options": [option], "params_input": {**fields, "question_code": code}}
        self._client._request("PATCH", self._path, json=body)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    dags = tmp_path_factory.mktemp("dags")
    (dags / f"{DAG_ID}.py").symlink_to(ROOT / "example_dags" / f"{DAG_ID}.py")
    with SandboxServer() as server:
        server.sandbox.manus.plan(
            # The agent waits for as long as nobody answers.
            script=[
                ("running", 2),
                ("waiting", None),
                ("running", 3),
                ("waiting", None),
                ("running", 2),
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
            person = Person(client, run_id)
            first = person.question()
            person.answer(first["asked"]["code"], "Thun", answer="and back by boat")
            second = person.question()
            person.answer(second["asked"]["code"], "Send", answer='{"accept": true}')
            state = client.wait_for_run(DAG_ID, run_id, within=120)
            (created,) = server.sandbox.manus.created
            yield {
                "first": first,
                "second": second,
                "state": state,
                "log": client.log(DAG_ID, run_id, "plan"),
                "answers": server.sandbox.manus.answers(created.id),
            }


def test_the_run_ends_well(story: dict[str, Any]) -> None:
    assert story["state"] == "success", story["log"]


def test_the_agents_text_and_options_are_shown(story: dict[str, Any]) -> None:
    form = story["first"]["form"]

    assert "Where to" in form["body"]
    assert form["options"][:2] == ["Thun", "Spiez"]


def test_the_answer_in_words_is_said_to_the_agent(story: dict[str, Any]) -> None:
    assert story["answers"][0].text == "Thun\n\nand back by boat", story["log"]


def test_a_later_question_is_told_where_airflow_shows_the_first(story: dict[str, Any]) -> None:
    assert "May I send the plan by mail?" in story["second"]["asked"]["text"]
    assert "May I send the plan by mail?" in story["log"]


def test_an_action_is_confirmed_by_what_the_person_entered(story: dict[str, Any]) -> None:
    last = story["answers"][-1]

    assert (last.input, last.confirmed) == ({"accept": True}, True), story["log"]
    assert len(story["answers"]) == 2
