"""Waits of several services at once, files and XComs in S3, and questions that people answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from dev.airflow.client import AirflowApiError
from tests.production.deployment import FILES, XCOMS, Account, Deployment
from tests.production.test_killed_components import assert_all_succeed, start, until_waiting
from tests.system.test_hitl import User

Figure = Callable[..., None]
RESULTS = "results"
#: Nobody listens there.
AWAY = "http://127.0.0.1:1"


def lead(deployment: Deployment, conn_id: str, url: str) -> None:
    """Let a connection to S3 lead somewhere; a bucket that is missing would be made by whoever writes."""
    extra = {"endpoint_url": url, "region_name": "us-east-1"}
    deployment.aws.set_connection(conn_id, {"conn_type": "aws", "extra": extra})


def test_waits_of_several_services_and_versions_end_together(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    for number in range(10):
        account.manus.add_task(f"mixed-{number}", [("running", 60), ("completed", None)])
        account.qstash.add_message(
            message_id=f"msg_mixed_{number}", script=[("ACTIVE", 60), ("DELIVERED", None)]
        )
    names = ("conn_id", "v1_conn_id", "qstash_conn_id", "agent_conn_id")
    run = deployment.run("mixed", name=account.name, **{name: getattr(account, name) for name in names})
    assert run.until_over() == "success"
    assert run.states("a2a") == {"success": 10}
    assert sorted(account.asked.values()) == [f"work 60; say {account.name} {number}" for number in range(10)]
    requests = len(account.sandbox.requests)
    lines = deployment.statsd.own()
    # The one triggerer sends tags, the other one names.
    assert any("remote_tasks.waits" in line and "service=manus" in line for line in lines) or any(
        "remote_tasks.waits.manus" in line for line in lines
    )
    assert any(run.run_id.encode() in spans for spans in deployment.traces.received)
    figure(waits=40, requests=requests, seconds=run.seconds)


def test_files_and_results_are_in_s3_and_a_store_that_is_away_costs_nothing(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    deployment.aws.put(FILES, "brief.txt", b"Be brief.")
    account.manus.plan(
        default=True, answer="x" * 5000, files=["a.csv"], script=[("running", 5), ("completed", None)]
    )
    # Nothing is submitted for a result that could not be kept.
    lead(deployment, "aws_results", AWAY)
    run = deployment.run("paid_files", conn_id=account.conn_id, name=account.name, count=2)
    # A run that is not over yet may fail after its tasks are cleared.
    assert run.until_over() == "failed"
    assert run.states() == {"failed": 2}
    assert account.created == []
    deployment.aws.make_bucket(RESULTS)
    lead(deployment, "aws_results", deployment.aws.url)
    run.clear()
    assert run.until_over() == "success", run.states()
    kept = [json.loads(deployment.aws.get(RESULTS, key)) for key in deployment.aws.keys(RESULTS)]
    assert [result["text"] for result in kept] == ["x" * 5000] * 2
    assert [upload.content for upload in account.manus.uploads.newest()] == [b"Be brief."] * 2
    assert any("paid_files" in key for key in deployment.aws.keys(XCOMS))
    assert (deployment.home / "lineage.json").stat().st_size > 0
    figure(objects=len(deployment.aws.keys(XCOMS)), seconds=run.seconds)


def test_xcom_store_that_is_away_when_a_task_ends_costs_no_second_task(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    run = start(deployment, account, 2)
    until_waiting(deployment, run, 2)
    lead(deployment, "aws_default", AWAY)
    account.finish()

    def tried() -> bool | None:
        return any(one.try_number > 1 for one in run.instances()) or None

    deployment.until(tried, "an attempt could not write its XCom")
    lead(deployment, "aws_default", deployment.aws.url)
    deployment.until(lambda: run.over() or None, "the run is over")
    if run.states() != {"success": 2}:
        run.clear()
    assert_all_succeed(run, account, 2)
    figure(attempts=[one.try_number for one in run.instances()], seconds=run.seconds)


def test_questions_are_answered_by_two_users_at_once_and_after_a_restart_of_everything(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    account.manus.plan(
        script=[
            ("running", 5),
            ("waiting", None),
            ("running", 5),
            ("waiting", None),
            ("running", 5),
            ("completed", None),
        ],
        waiting=[
            {"type": "messageAskUser", "description": "Where to?", "options": ["Thun", "Spiez"]},
            {"type": "messageAskUser", "description": "By boat?", "options": ["Yes", "No"]},
        ],
    )
    run = deployment.run("asks", conn_id=account.conn_id, name=account.name)
    user = User(deployment.client, run.run_id, run.dag_id, "ask")
    first = user.question()
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(user.answer, first["asked"]["code"], option) for option in ("Thun", "Spiez")]
    errors = [error for answer in answers if (error := answer.exception()) is not None]
    assert all(isinstance(error, AirflowApiError) for error in errors)
    second = user.question()
    deployment.kill_all()
    deployment.until(lambda: deployment.client.health() or None, "the API server is back")
    # Below Airflow 3.4 the form keeps the options of the first question.
    answer = {"option": "Send", "answer": "Yes"}
    deployment.until(lambda: user.answer(second["asked"]["code"], **answer) or True, "the answer is taken")
    assert run.until_over() == "success"
    told = [one.text for one in account.manus.answers(account.created[0])]
    assert len(told) == 2
    assert told[1] == "Yes"
    figure(answers=told, refused=len(errors), seconds=run.seconds)
