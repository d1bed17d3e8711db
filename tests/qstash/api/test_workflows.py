"""What is sent to Upstash Workflow, and how its answers are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_provider.core.errors import InvalidArgumentError, InvalidRequestError, InvalidResponseError
from remote_tasks_provider.core.http.connection import ConnectionFields
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Response
from remote_tasks_provider.core.http.response import read_response
from remote_tasks_provider.qstash.api import workflows
from remote_tasks_provider.qstash.api.filters import RUN_FILTERS, filters_of
from remote_tasks_provider.qstash.api.workflow_options import WorkflowOptions
from remote_tasks_provider.qstash.service import QSTASH, QSTASH_WORKFLOW

URL = "https://example.com/workflow"
CONFIG = QSTASH.config(ConnectionFields("my_conn", password="some-token"))


def read(operation: Operation[Any], body: Any, status: int = 200) -> Any:
    answer = Response(status, {"content-type": "application/json"}, json.dumps(body).encode())
    return read_response(operation, answer, CONFIG, QSTASH.explain)


class TestTrigger:
    def test_url_stands_in_the_path_as_it_is(self) -> None:
        operation = workflows.trigger(WorkflowOptions(f"{URL}?a=b", {"n": 1}), "wfr_1", ["x"])

        assert operation.request.path == f"/v2/trigger/{URL}?a=b"
        assert dict(operation.request.headers) == {
            "Content-Type": "application/json",
            "Upstash-Workflow-RunId": "wfr_1",
            "Upstash-Label": "x",
        }
        assert operation.request.content == b'{"n":1}'
        assert operation.idempotency is Idempotency.NOT_IDEMPOTENT

    def test_answer_names_the_run(self) -> None:
        operation = workflows.trigger(WorkflowOptions(URL), "wfr_1")
        found = read(operation, {"workflowRunId": "wfr_wfr_1", "workflowCreatedAt": 1_763_501_439_000})

        assert (found.workflow_run_id, found.deduplicated) == ("wfr_wfr_1", False)
        assert found.created_at.timestamp() == 1_763_501_439

    def test_run_that_was_there_has_the_id_that_was_asked_for(self) -> None:
        found = read(
            workflows.trigger(WorkflowOptions(URL), "wfr_1"), {"workflowRunId": "", "deduplicated": True}
        )

        assert (found.workflow_run_id, found.deduplicated) == ("wfr_1", True)

    @pytest.mark.parametrize("body", [{}, {"messageId": "msg_1"}, {"workflowRunId": ""}, []], ids=str)
    def test_answer_without_an_id_leaves_open_what_has_begun(self, body: Any) -> None:
        with pytest.raises(InvalidResponseError):
            read(workflows.trigger(WorkflowOptions(URL), "wfr_1"), body)

    @pytest.mark.parametrize(
        ("status", "message", "expected"),
        [
            (400, "a workflow already exists, can not initialize a new one with same id", True),
            (400, "invalid destination url", False),
            (409, "it already exists", False),
        ],
    )
    def test_refusal_because_of_a_run_at_work_is_recognised(
        self, status: int, message: str, expected: bool
    ) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            read(workflows.trigger(WorkflowOptions(URL), "wfr_1"), {"error": message}, status)

        assert workflows.exists_already(caught.value) is expected


class TestFingerprint:
    @pytest.mark.parametrize(
        "other",
        [
            {"workflow_url": f"{URL}/2"},
            {"body": {"n": 2}},
            {"body": '{"n":1}'},
            {"headers": {"a": "c"}},
            {"headers": None},
        ],
        ids=str,
    )
    def test_fingerprint_is_that_of_the_inputs(self, other: dict[str, Any]) -> None:
        given: dict[str, Any] = {"workflow_url": URL, "body": {"n": 1}, "headers": {"a": "b"}}

        assert WorkflowOptions(**given).fingerprint != WorkflowOptions(**{**given, **other}).fingerprint

    @pytest.mark.parametrize(
        "other", [{"labels": "a"}, {"delay": 5}, {"retries": 1}, {"plan": "fixed"}], ids=str
    )
    def test_fingerprint_leaves_out_what_the_workflow_does_not_see(self, other: dict[str, Any]) -> None:
        assert WorkflowOptions(URL, **other).fingerprint == WorkflowOptions(URL).fingerprint


class TestCancel:
    def test_run_and_many_runs_have_operations_of_their_own(self) -> None:
        one = QSTASH_WORKFLOW.cancel(CONFIG.extras, ["a/b"])
        many = QSTASH_WORKFLOW.cancel(CONFIG.extras, ["a", "b"])

        assert one is not None
        assert many is not None
        assert one.request.path == "/v2/workflows/runs/a%2Fb"
        assert many.request.query == (("workflowRunIds", "a"), ("workflowRunIds", "b"), ("count", "100"))
        assert read(many, {"cancelled": "2"}) == 2

    def test_url_is_exact(self) -> None:
        operation = workflows.cancel_runs((("workflowUrl", URL),))

        assert ("workflowUrlExactMatch", "true") in operation.request.query

    @pytest.mark.parametrize("run_id", ["", " ", "None", "..", None])
    def test_id_that_would_mean_all_runs_is_refused(self, run_id: Any) -> None:
        with pytest.raises(InvalidArgumentError):
            workflows.cancel_run(run_id)


class TestLogs:
    def test_state_is_spelled_as_upstash_does(self) -> None:
        assert filters_of({"state": ["run_cancelled", "RUN_FAILED"]}, RUN_FILTERS) == (
            ("state", "RUN_CANCELED"),
            ("state", "RUN_FAILED"),
        )

    def test_error_is_that_of_the_last_failed_attempt(self) -> None:
        steps = [
            {"type": "sequential", "steps": [{"errors": [{"status": 500, "body": "first"}]}]},
            {"type": "next", "steps": [{"errors": [{"status": 502, "error": "second"}, {"status": 503}]}]},
        ]
        run = {"workflowRunId": "wfr_1", "workflowState": "RUN_STARTED", "steps": steps}
        found = read(workflows.get_run("wfr_1"), {"runs": [run]})

        assert (found.error, found.response_status) == ("HTTP 503", 503)
        done = read(workflows.get_run("wfr_1"), {"runs": [{**run, "workflowState": "RUN_SUCCESS"}]})
        assert (done.error, done.response_status) == (None, None)

    def test_failure_function_says_why_where_no_step_does(self) -> None:
        run = {
            "workflowRunId": "wfr_1",
            "workflowState": "RUN_FAILED",
            "failureFunction": {"failStatus": 489, "failResponse": "stopped"},
        }
        assert read(workflows.get_run("wfr_1"), {"runs": [run]}).error == "HTTP 489: stopped"

    @pytest.mark.parametrize("body", [{}, {"runs": None}, {"events": []}, []], ids=str)
    def test_answer_without_runs_has_another_shape(self, body: Any) -> None:
        for operation in (workflows.list_runs(()), workflows.get_run("wfr_1"), workflows.read_runs([])):
            with pytest.raises(InvalidResponseError):
                read(operation, body)

    @pytest.mark.parametrize(
        ("sent", "label"),
        [
            ({"label": "a", "labels": ["a", "b"]}, "a,b"),
            ({"label": "a,b"}, "a,b"),
            ({"label": "a", "labels": []}, "a"),
            ({"label": "a", "labels": "a,b"}, "a"),
            ({"label": "a", "labels": [7]}, "a"),
            ({}, None),
        ],
        ids=str,
    )
    def test_label_has_all_labels(self, sent: dict[str, Any], label: str | None) -> None:
        run = read(workflows.get_run("wfr_1"), {"runs": [{"workflowRunId": "wfr_1", **sent}]})
        letter = read(workflows.get_dlq_message("1-1"), {"dlqId": "1-1", **sent})

        assert (run.label, letter.label) == (label, label)

    def test_dead_letters_without_a_list_have_another_shape(self) -> None:
        with pytest.raises(InvalidResponseError):
            read(workflows.list_dlq(()), {})

    @pytest.mark.parametrize(
        ("response", "result"), [('{"a": 1}', {"a": 1}), ("NaN x", None), ("[" * 100_000, None), (None, None)]
    )
    def test_result_is_the_value_of_the_response(self, response: Any, result: Any) -> None:
        run = {"workflowRunId": "wfr_1", "workflowRunResponse": response}

        assert read(workflows.get_run("wfr_1"), {"runs": [run]}).result == result


class TestNotify:
    def test_event_of_one_run_has_a_path_of_its_own(self) -> None:
        operation = workflows.notify("approved", {"by": "Ada"}, "wfr_1")

        assert operation.request.path == "/v2/notify/wfr_1/approved"
        assert operation.request.content == b'{"by":"Ada"}'
        assert operation.idempotency is Idempotency.NOT_IDEMPOTENT

    def test_answer_is_a_list_or_one(self) -> None:
        told = {"workflowRunId": "wfr_1", "messageId": "msg_1"}
        operation = workflows.notify("approved")

        assert read(operation, [told, {"error": "no"}]) == [
            workflows.NotifiedRun("wfr_1", "msg_1"),
            workflows.NotifiedRun(None, None, "no"),
        ]
        assert read(operation, told) == [workflows.NotifiedRun("wfr_1", "msg_1")]
        assert read(operation, {"workflowRunId": "wfr_1"}) == []

    def test_waiters_are_runs(self) -> None:
        waiter = {"url": URL, "headers": {"upstash-WORKFLOW-runid": ["wfr_1"], "X": []}}

        assert read(workflows.list_waiters("a"), [waiter, {"headers": None}, {}]) == ["wfr_1"]
