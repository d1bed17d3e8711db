"""Whatever a service writes can be stored in PostgreSQL, the strictest of Airflow's databases."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dev.airflow.connections import sandbox_connections
from dev.airflow.standalone import StandaloneAirflow
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_sandbox import SandboxServer
from tests.contract.good_answers import ANSWERS
from tests.contract.test_odd_answers import changed
from tests.system.postgresql import PostgreSQL, server_folder
from tests.system.test_hitl import User

DAGS = Path(__file__).parent / "dags"
DAG_ID = "odd_text"
FOLDER = server_folder()

pytestmark = pytest.mark.skipif(
    FOLDER is None, reason="PostgreSQL is not installed; install it, for example: apt-get install postgresql"
)

#: What PostgreSQL stores in no text, or not in JSON.
REFUSED = [
    *(
        rb'"a\u0000b"',
        rb'"a\ud800b"',
        b'"a\xffb"',
        b'"a\x00b"',
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"9" * 200_000,
    ),
    rb'{"\u0000": {"\udfff": ["\u0000", NaN, 1e999]}}',
    b"[" * 20_000 + b"]" * 20_000,
]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    assert FOLDER is not None
    with PostgreSQL(FOLDER) as running:
        yield running


@pytest.fixture(scope="module")
def store(server: PostgreSQL) -> Iterator[Any]:
    """A function that stores a value as Airflow does: as JSON, and its texts as text."""
    connection = server.connect()
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE kept (value JSONB, text TEXT)")

    def keep(value: Any) -> Any:
        joined = "\n".join(texts(value))
        cursor.execute(
            "INSERT INTO kept VALUES (%s, %s) RETURNING value, text",
            (json.dumps(value, allow_nan=True), joined),
        )
        found, text = cursor.fetchone()
        assert text == joined
        return found

    yield keep
    cursor.close()
    connection.close()


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for one in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from texts(one)


def store_every_answer(store: Any, name: str, odds: Sequence[bytes]) -> None:
    """Store what the provider makes of an answer with each odd value in each place."""
    answer = ANSWERS[name]
    for place in answer.places():
        for odd in odds:
            try:
                value = answer.read(changed(answer, place, odd))
            except RemoteTaskError as error:
                store([error.to_json(), str(error)])
                continue
            for one in [value] if answer.body is None else value:
                outputs = answer.outputs(one)
                assert store(outputs) == json.loads(json.dumps(outputs)), (place, odd[:50])


@pytest.mark.parametrize("value", ["a\0b", "a\ud800b", float("nan"), float("inf")], ids=ascii)
def test_postgresql_refuses_what_is_replaced(store: Any, value: Any) -> None:
    import psycopg2

    with pytest.raises((psycopg2.DataError, ValueError)):
        store(value)


@pytest.mark.parametrize("name", ANSWERS)
def test_events_xcoms_forms_and_errors_are_stored(store: Any, name: str) -> None:
    store_every_answer(store, name, REFUSED)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500])
def test_error_texts_are_stored(store: Any, status: int) -> None:
    answer = ANSWERS["manus v1 task"]
    for odd in [*REFUSED, b"\x00\xff", b'{"message": "\\u0000']:
        for body in (odd, b'{"message": %s, "code": %s, "request_id": %s}' % (odd, odd, odd)):
            with pytest.raises(RemoteTaskError) as caught:
                answer.read(body, status)
            store([caught.value.to_json(), str(caught.value)])


@pytest.fixture(scope="module")
def run(server: PostgreSQL) -> Iterator[dict[str, Any]]:
    """One run of ``dags/odd_text_dag.py``, as far as it gets before a person answers."""
    with SandboxServer() as sandbox:
        manus = sandbox.sandbox.manus
        manus.add_task(
            "breaks", [("running", 25.0), ("failed", None)], "A \0 title", error="It \0 broke", answer="No \0"
        )
        manus.plan(
            title="A \0 title",
            answer="The \0 answer",
            files=[{"name": "a\0b.txt", "content": "x"}],
            script=[("running", 3), ("waiting", None), ("running", 2), ("completed", None)],
            waiting=[{"type": "messageAskUser", "description": "Where \0 to?", "options": ["To \0 Thun"]}],
        )
        with StandaloneAirflow(
            DAGS, connections=sandbox_connections(sandbox), database_url=server.url
        ) as airflow:
            client = airflow.client
            client.wait_for_dag(DAG_ID)
            run_id = client.trigger(DAG_ID)
            client.wait_for_task(DAG_ID, run_id, "asks", ["awaiting_input"], within=240)
            user = User(client, run_id, DAG_ID, "asks")
            question = user.question()
            user.answer(question["asked"]["code"], "To \ufffd Thun", answer="by boat")
            client.wait_for_run(DAG_ID, run_id, within=240)
            names = ("fails_softly", "fails", "no_worker", "reads", "asks")
            yield {
                "states": {one.task_id: one.state for one in client.task_instances(DAG_ID, run_id)},
                "question": question,
                "xcoms": {name: client.xcom(DAG_ID, run_id, name) for name in names},
                "logs": {name: client.log(DAG_ID, run_id, name) for name in names},
                "exited": airflow.exited_components(),
                "triggerer": airflow.last_output(100),
            }


def test_triggerer_lives_on(run: dict[str, Any]) -> None:
    assert run["exited"] == []
    assert "Traceback" not in run["triggerer"]


def test_failed_task_is_a_record_and_an_error(run: dict[str, Any]) -> None:
    assert {name: run["states"][name] for name in ("fails_softly", "fails", "no_worker", "reads")} == {
        "fails_softly": "success",
        "fails": "failed",
        "no_worker": "success",
        "reads": "success",
    }, run["logs"]
    for name in ("fails_softly", "no_worker"):
        record = run["xcoms"][name]
        assert (record["title"], record["error"]) == ("A \ufffd title", "It \ufffd broke")
    assert "It \ufffd broke" in run["logs"]["fails"]


def test_form_and_result_of_a_task_are_stored(run: dict[str, Any]) -> None:
    assert run["states"]["asks"] == "success", run["logs"]["asks"]
    assert "Where \ufffd to" in run["question"]["form"]["body"]
    assert run["question"]["form"]["options"][0] == "To \ufffd Thun"
    result = run["xcoms"]["asks"]
    assert result["text"] == "The \ufffd answer"
    assert result["files"][0]["name"] == "a\ufffdb.txt"
