"""Upstash Workflow: runs that are triggered, read in the logs, cancelled, notified, resumed and restarted."""

from __future__ import annotations

import pytest

URL = "https://example.com/workflow"
TAKEN = "a workflow already exists, can not initialize a new one with same id"


def trigger(qstash, run_id=None, url=URL, body=b"{}", **headers):
    sent = {"Upstash-Workflow-RunId": run_id} if run_id else {}
    sent |= {f"Upstash-{name.replace('_', '-')}": value for name, value in headers.items()}
    return qstash.call("POST", f"/v2/trigger/{url}", data=body, headers=sent)


def begin_by_message(qstash, how, run_id, **headers):
    """Begin a run as the vendor's clients do: by a message, or an element of a batch; or trigger it."""
    headers |= {"Upstash-Workflow-Init": "true", "Upstash-Workflow-RunId": run_id}
    if how == "batch":
        (found,) = qstash.call("POST", "/v2/batch", json=[{"destination": URL, "headers": headers}]).json()
        return found
    return qstash.call("POST", f"/v2/{how}/{URL}", headers=headers).json()


def logs(qstash, **params):
    answer = qstash.get("/v2/workflows/logs", groupBy="workflowRunId", **params)
    assert answer.status_code == 200, answer.text
    return answer.json()["runs"]


def states(qstash, **params):
    return {run["workflowRunId"]: run["workflowState"] for run in logs(qstash, **params)}


class TestTrigger:
    def test_run_has_the_id_that_was_asked_for_and_succeeds(self, sandbox, qstash):
        sandbox.qstash.workflows.plan(response='{"rows": 3}')
        answer = trigger(qstash, "wfr_mine", Label="a,b")
        assert answer.status_code == 200
        assert answer.json()["workflowRunId"] == "wfr_mine"
        assert states(qstash) == {"wfr_mine": "RUN_STARTED"}
        sandbox.clock.advance(3)
        (run,) = logs(qstash)
        assert (run["workflowState"], run["workflowRunResponse"]) == ("RUN_SUCCESS", '{"rows": 3}')
        assert (run["label"], run["labels"]) == ("a", ["a", "b"])
        assert run["workflowRunCreatedAt"] == answer.json()["workflowCreatedAt"]
        assert run["workflowRunCompletedAt"] > run["workflowRunCreatedAt"]

    def test_id_is_random_by_default(self, qstash):
        ids = {trigger(qstash).json()["workflowRunId"] for _ in range(2)}
        assert len(ids) == 2
        assert all(one.startswith("wfr_") for one in ids)

    def test_id_of_a_run_at_work_is_refused_and_that_of_one_that_has_ended_is_free(self, sandbox, qstash):
        trigger(qstash, "wfr_1")
        second = trigger(qstash, "wfr_1")
        assert (second.status_code, second.json()) == (400, {"error": TAKEN})
        sandbox.clock.advance(3)
        assert trigger(qstash, "wfr_1").status_code == 200
        assert [run["workflowState"] for run in logs(qstash, workflowRunId="wfr_1")] == [
            "RUN_STARTED",
            "RUN_SUCCESS",
        ]

    def test_message_that_begins_a_run_does(self, sandbox, qstash):
        headers = {
            "Upstash-Workflow-Init": "true",
            "Upstash-Workflow-RunId": "wfr_2",
            "Upstash-Workflow-Url": URL,
        }
        assert qstash.call("POST", f"/v2/publish/{URL}", headers=headers).status_code == 200
        assert states(qstash) == {"wfr_2": "RUN_STARTED"}

    @pytest.mark.parametrize("how", ["publish", "batch"])
    def test_message_that_begins_a_run_at_work_is_a_duplicate(self, sandbox, qstash, how):
        first, second = (begin_by_message(qstash, how, "wfr_2") for _ in range(2))
        assert "deduplicated" not in first
        assert second == {"messageId": first["messageId"], "deduplicated": True}
        assert (len(logs(qstash)), len(sandbox.qstash.messages)) == (1, 1)
        sandbox.clock.advance(3)
        assert "deduplicated" not in begin_by_message(qstash, how, "wfr_2")
        assert len(logs(qstash)) == 2

    def test_message_that_is_a_duplicate_begins_no_run(self, qstash):
        once = {"Upstash-Deduplication-Id": "once"}
        assert "deduplicated" not in begin_by_message(qstash, "publish", "wfr_1", **once)
        assert begin_by_message(qstash, "publish", "wfr_2", **once)["deduplicated"]
        assert states(qstash) == {"wfr_1": "RUN_STARTED"}

    @pytest.mark.parametrize("how", ["trigger", "publish", "batch"])
    def test_options_count_however_a_run_is_begun(self, sandbox, qstash, how):
        at = int(sandbox.clock.now()) + 3600
        flow = {"Upstash-Flow-Control-Key": "k", "Upstash-Flow-Control-Value": "rate=1"}
        options = {"Upstash-Not-Before": str(at), "Upstash-Label": "a, b", **flow}
        begin_by_message(qstash, how, "wfr_1", **options)
        (run,) = logs(qstash, flowControlKey="k", label="b")
        assert (run["label"], run["flowControlKey"]) == ("a", "k")
        sandbox.clock.advance(3599)
        assert states(qstash) == {"wfr_1": "RUN_STARTED"}
        sandbox.clock.advance(5)
        assert states(qstash) == {"wfr_1": "RUN_SUCCESS"}

    def test_delay_counts_before_the_run_works(self, sandbox, qstash):
        trigger(qstash, "wfr_1", Delay="1h")
        sandbox.clock.advance(3600)
        assert states(qstash) == {"wfr_1": "RUN_STARTED"}
        sandbox.clock.advance(3)
        assert states(qstash) == {"wfr_1": "RUN_SUCCESS"}

    @pytest.mark.parametrize("url", ["example.com", "ftp://example.com"])
    def test_address_without_a_usable_scheme_is_refused(self, qstash, url):
        assert trigger(qstash, url=url).status_code == 400


class TestLogs:
    def test_page_has_ten_runs_and_leads_on(self, sandbox, qstash):
        ids = [sandbox.qstash.workflows.add(f"wfr_{number}") for number in range(25)]
        found, cursor = [], ""
        while True:
            answer = qstash.get("/v2/workflows/logs", **({"cursor": cursor} if cursor else {})).json()
            assert len(answer["runs"]) <= 10
            found += [run["workflowRunId"] for run in answer["runs"]]
            cursor = answer.get("cursor")
            if not cursor:
                break
        assert found == ids[::-1]

    def test_filters_must_all_fit_and_their_values_are_alternatives(self, sandbox, qstash):
        runs = sandbox.qstash.workflows
        runs.add("wfr_1", [("RUN_FAILED", None)], labels=["a", "b"])
        runs.add("wfr_2", [("RUN_STARTED", None)], labels=["a"], url="https://example.com/other")
        assert states(qstash, label="a").keys() == {"wfr_1", "wfr_2"}
        assert states(qstash, label="b").keys() == {"wfr_1"}
        assert states(qstash, label="a", workflowUrl="https://example.com/other").keys() == {"wfr_2"}
        assert states(qstash, state="RUN_FAILED").keys() == {"wfr_1"}
        assert states(qstash, host="example.com", path="/other").keys() == {"wfr_2"}
        assert states(qstash, messageId=runs.find("wfr_1").message_id).keys() == {"wfr_1"}
        assert states(qstash, workflowRunId="wfr_1,wfr_2").keys() == {"wfr_1", "wfr_2"}
        assert states(qstash, fromDate=int((sandbox.clock.now() + 60) * 1000)) == {}

    def test_runs_can_be_asked_for_by_id_and_time(self, sandbox, qstash):
        runs = [
            sandbox.qstash.workflows.find(sandbox.qstash.workflows.add(f"wfr_{number}"))
            for number in range(3)
        ]
        pairs = ",".join(f"{run.id}@{run.created_ms}" for run in runs[:2])
        assert states(qstash, workflowRuns=pairs).keys() == {"wfr_0", "wfr_1"}
        assert states(qstash, workflowRuns="wfr_0@1") == {}

    @pytest.mark.parametrize("params", [{"status": "x"}, {"state": "DONE"}, {"count": 11}, {"cursor": "x"}])
    def test_unknown_parameter_is_refused(self, qstash, params):
        assert qstash.get("/v2/workflows/logs", **params).status_code == 400

    def test_events_are_not_emulated(self, qstash):
        assert qstash.get("/v2/workflows/logs", groupBy="none").status_code == 501

    def test_logs_lag_and_forget(self, sandbox, qstash):
        sandbox.settings.update({"qstash_log_lag": 10.0})
        trigger(qstash, "wfr_1")
        assert logs(qstash) == []
        sandbox.clock.advance(13)
        assert states(qstash) == {"wfr_1": "RUN_SUCCESS"}
        sandbox.clock.advance(4 * 86400)
        assert logs(qstash) == []

    def test_run_that_failed_says_what_the_endpoint_answered(self, sandbox, qstash):
        sandbox.qstash.workflows.add(
            "wfr_1", [("RUN_FAILED", None)], response_status=503, response_body="busy"
        )
        (run,) = logs(qstash)
        assert run["dlqId"]
        (error,) = run["steps"][-1]["steps"][0]["errors"]
        assert error == {
            "error": "503 Service Unavailable",
            "status": 503,
            "body": "busy",
            "headers": {},
            "time": run["workflowRunCompletedAt"],
        }

    def test_first_step_has_what_the_run_was_triggered_with(self, qstash):
        trigger(qstash, body=b"input", Forward_X="x", Retries="1")
        (run,) = logs(qstash)
        (step,) = run["steps"][0]["steps"]
        assert (step["out"], step["headers"], step["retries"]) == ("input", {"X": ["x"]}, 1)
        assert step["messageId"].startswith("msg_")

    def test_body_that_is_redacted_is_not_shown(self, qstash):
        trigger(qstash, body=b"input", Redact_Fields="body")
        assert "input" not in str(logs(qstash))

    def test_faults_hide_runs(self, sandbox, qstash):
        sandbox.qstash.workflows.add("wfr_1", [("RUN_STARTED", None)])
        sandbox.faults.add("hide", task_id="wfr_1")
        assert logs(qstash) == []
        assert qstash.call("DELETE", "/v2/workflows/runs/wfr_1").status_code == 404


class TestCancel:
    def test_run_is_cancelled_once(self, qstash):
        trigger(qstash, "wfr_1")
        answer = qstash.call("DELETE", "/v2/workflows/runs/wfr_1")
        assert (answer.status_code, answer.text) == (200, "OK")
        assert states(qstash) == {"wfr_1": "RUN_CANCELED"}
        assert qstash.call("DELETE", "/v2/workflows/runs/wfr_1").status_code == 404

    def test_ids_set_other_filters_aside(self, qstash):
        for number in range(3):
            trigger(qstash, f"wfr_{number}")
        answer = qstash.call(
            "DELETE", "/v2/workflows/runs?workflowRunIds=wfr_0&workflowRunIds=nobody&label=x"
        )
        assert answer.json() == {"cancelled": 1}
        assert qstash.call(
            "DELETE", "/v2/workflows/runs", json={"workflowRunIds": ["wfr_0", "wfr_1"]}
        ).json() == {"cancelled": 1}

    def test_address_is_a_prefix_unless_it_is_to_be_exact(self, qstash):
        trigger(qstash, "wfr_1", url=URL + "/one")
        trigger(qstash, "wfr_2", url=URL)
        exact = {"workflowUrl": URL, "workflowUrlExactMatch": "true"}
        assert qstash.call("DELETE", "/v2/workflows/runs", params=exact).json() == {"cancelled": 1}
        assert states(qstash, state="RUN_CANCELED").keys() == {"wfr_2"}
        assert qstash.call("DELETE", "/v2/workflows/runs", params={"workflowUrl": URL}).json() == {
            "cancelled": 1
        }

    def test_host_and_path_are_filters(self, qstash):
        trigger(qstash, "wfr_1", url=URL + "/one")
        trigger(qstash, "wfr_2", url="https://other.example/workflow")
        for params in ({"host": "other.example"}, {"path": "/workflow/one"}):
            assert qstash.call("DELETE", "/v2/workflows/runs", params=params).json() == {"cancelled": 1}

    def test_count_bounds_and_an_unknown_filter_is_refused(self, qstash):
        for number in range(3):
            trigger(qstash, f"wfr_{number}")
        assert qstash.call("DELETE", "/v2/workflows/runs?count=2").json() == {"cancelled": 2}
        assert qstash.call("DELETE", "/v2/workflows/runs?url=x").status_code == 400
        assert qstash.call("DELETE", "/v2/workflows/runs", json=["wfr_1"]).status_code == 400


class TestEvents:
    def test_waiting_run_goes_on_when_it_is_notified(self, sandbox, qstash):
        sandbox.qstash.workflows.plan(
            script=[("RUN_STARTED", 1), ("WAIT approved", None), ("RUN_SUCCESS", None)]
        )
        trigger(qstash, "wfr_1")
        assert qstash.get("/v2/waiters/approved").json() == []
        sandbox.clock.advance(2)
        assert [one["url"] for one in qstash.get("/v2/waiters/approved").json()] == [URL]
        assert logs(qstash)[0]["steps"][-1]["steps"][0]["waitEventId"] == "approved"
        sandbox.clock.advance(86400)
        answer = qstash.call("POST", "/v2/notify/approved", data=b"yes")
        assert (answer.status_code, [one["workflowRunId"] for one in answer.json()]) == (201, ["wfr_1"])
        assert states(qstash) == {"wfr_1": "RUN_SUCCESS"}
        assert sandbox.qstash.workflows.find("wfr_1").events == [("approved", "yes")]

    def test_notify_tells_that_nobody_waits(self, qstash):
        assert qstash.call("POST", "/v2/notify/approved").json() == []

    def test_notify_of_a_run_needs_it_to_wait(self, sandbox, qstash):
        for run_id in ("wfr_1", "wfr_2"):
            sandbox.qstash.workflows.add(run_id, [("WAIT go", None)])
        sandbox.qstash.workflows.add("wfr_3", [("RUN_STARTED", None)])
        assert "waiter" in qstash.call("POST", "/v2/notify/wfr_1/go").json()
        assert qstash.call("POST", "/v2/notify/wfr_3/go").json() == {"workflowRunId": "wfr_3"}
        assert states(qstash) == {"wfr_1": "RUN_SUCCESS", "wfr_2": "RUN_STARTED", "wfr_3": "RUN_STARTED"}

    def test_event_id_with_a_colon_is_refused(self, qstash):
        assert qstash.call("POST", "/v2/notify/a:b").status_code == 400


class TestDeadLetters:
    @pytest.fixture
    def dlq_id(self, sandbox, qstash):
        sandbox.qstash.workflows.plan(script=[("RUN_FAILED", None)], response_body="no")
        trigger(qstash, "wfr_1", body=b"input", Label="a")
        sandbox.qstash.workflows.plan(script=[("RUN_STARTED", 1), ("RUN_SUCCESS", None)])
        (message,) = qstash.get("/v2/workflows/dlq").json()["messages"]
        assert (message["workflowRunId"], message["responseBody"]) == ("wfr_1", "no")
        return message["dlqId"]

    @pytest.mark.parametrize("how", ["resume", "restart"])
    def test_failed_run_becomes_a_new_run_and_leaves_the_queue(self, sandbox, qstash, dlq_id, how):
        found = qstash.call("POST", f"/v2/workflows/dlq/{how}/{dlq_id}").json()["workflowRunId"]
        assert found != "wfr_1"
        assert sandbox.qstash.workflows.find(found).body == b"input"
        assert states(qstash, label="a") == {"wfr_1": "RUN_FAILED", found: "RUN_STARTED"}
        assert qstash.get("/v2/workflows/dlq").json()["messages"] == []
        assert qstash.call("POST", f"/v2/workflows/dlq/{how}/{dlq_id}").status_code == 404

    @pytest.mark.parametrize("how", ["resume", "restart"])
    def test_second_run_may_follow_a_script_of_its_own(self, sandbox, qstash, how):
        sandbox.qstash.workflows.plan(script=[("RUN_FAILED", None)], resumed=[("RUN_SUCCESS", None)])
        trigger(qstash, "wfr_1", Label="a")
        (message,) = qstash.get("/v2/workflows/dlq").json()["messages"]

        found = qstash.call("POST", f"/v2/workflows/dlq/{how}/{message['dlqId']}").json()["workflowRunId"]
        assert states(qstash, label="a") == {"wfr_1": "RUN_FAILED", found: "RUN_SUCCESS"}

    def test_headers_override(self, qstash, dlq_id):
        headers = {"Upstash-Workflow-RunId": "wfr_new", "Upstash-Label": "b"}
        answer = qstash.call("POST", f"/v2/workflows/dlq/resume/{dlq_id}", headers=headers)
        assert answer.json()["workflowRunId"] == "wfr_new"
        assert states(qstash, label="b").keys() == {"wfr_new"}

    def test_many_are_resumed_by_their_ids(self, qstash, dlq_id):
        assert qstash.call("POST", f"/v2/workflows/dlq/resume?dlqIds={dlq_id}&dlqIds=1-1").status_code == 404
        answer = qstash.call("POST", f"/v2/workflows/dlq/resume?dlqIds={dlq_id}").json()
        assert (answer["cursor"], len(answer["workflowRuns"])) == ("", 1)

    def test_count_bounds_a_bulk_restart(self, sandbox, qstash, dlq_id):
        sandbox.qstash.workflows.add("wfr_2", [("RUN_FAILED", None)])
        answer = qstash.call("POST", "/v2/workflows/dlq/restart?count=1").json()
        assert answer["cursor"]
        assert len(answer["workflowRuns"]) == 1

    def test_count_beyond_the_most_is_the_most(self, sandbox, qstash):
        for number in range(60):
            sandbox.qstash.workflows.add(f"wfr_{number}", [("RUN_FAILED", None)])
        # The vendor's clients ask for 100.
        answer = qstash.call("POST", "/v2/workflows/dlq/resume?count=100")
        assert (answer.status_code, len(answer.json()["workflowRuns"])) == (200, 50)
        answer = qstash.call("POST", f"/v2/workflows/dlq/resume?count=100&cursor={answer.json()['cursor']}")
        assert (answer.json()["cursor"], len(answer.json()["workflowRuns"])) == ("", 10)

    def test_count_bounds_a_bulk_deletion(self, sandbox, qstash, dlq_id):
        sandbox.qstash.workflows.add("wfr_2", [("RUN_FAILED", None)])
        answers = [qstash.call("DELETE", "/v2/workflows/dlq?count=1").json() for _ in range(3)]
        assert [one["deleted"] for one in answers] == [1, 1, 0]
        assert [bool(one["cursor"]) for one in answers] == [True, False, False]

    def test_ids_set_other_filters_aside(self, qstash, dlq_id):
        answer = qstash.call("DELETE", f"/v2/workflows/dlq?dlqIds={dlq_id}&label=other")
        assert answer.json()["deleted"] == 1

    def test_second_life_has_the_options_of_the_first(self, sandbox, qstash):
        sandbox.qstash.workflows.plan(script=[("RUN_FAILED", None)])
        flow = {"Flow_Control_Key": "k", "Flow_Control_Value": "rate=1"}
        trigger(qstash, "wfr_1", body=b"input", Forward_X="x", Label="a,b", Delay="1s", Retries="1", **flow)
        sandbox.clock.advance(2)
        answer = qstash.call("POST", "/v2/workflows/dlq/resume", headers={"Upstash-Label": "c"}).json()
        run = sandbox.qstash.workflows.find(answer["workflowRuns"][0]["workflowRunId"])
        assert (run.body, run.labels, run.options.flow.key) == (b"input", ("c",), "k")
        assert (run.options.headers["x"], run.options.max_retries, run.options.delay) == ("x", 1, 0)

    def test_failed_runs_are_in_the_queue_of_messages_when_they_are_asked_for(self, sandbox, qstash, dlq_id):
        sandbox.qstash.add_message("m", ["FAILED"])
        listed = qstash.get("/v2/dlq", source="workflow").json()["messages"]
        assert [one["dlqId"] for one in listed] == [dlq_id]
        assert listed == qstash.get("/v2/workflows/dlq").json()["messages"]
        assert qstash.get("/v2/dlq", source="workflow", workflowRunId="wfr_2").json()["messages"] == []
        both = {"url": URL, "responseStatus": 500}
        assert qstash.get("/v2/dlq", source="workflow", **both).json()["messages"] == listed
        assert qstash.get("/v2/dlq", source="workflow", lable="x").status_code == 400
        called = {"failureFunctionState": "CALLBACK_FAIL"}
        assert qstash.get("/v2/dlq", source="workflow", **called).json()["messages"] == []
        assert [one["messageId"] for one in qstash.get("/v2/dlq").json()["messages"]] == ["m"]

    def test_failed_run_has_what_it_was_triggered_with(self, sandbox, qstash):
        sandbox.qstash.workflows.plan(script=[("RUN_FAILED", None)], response_body="no")
        trigger(
            qstash, body=b"input", Forward_X="x", Label="a,b", Failure_Callback="https://example.com/failed"
        )
        (found,) = qstash.get("/v2/workflows/dlq").json()["messages"]
        assert (found["header"], found["body"]) == ({"X": ["x"]}, "input")
        assert (found["label"], found["labels"]) == ("a", ["a", "b"])
        assert found["failureCallback"] == "https://example.com/failed"
        assert (found["responseBody"], found["responseHeader"]) == ("no", {})
        assert found["createdAt"] == found["notBefore"] == found["workflowCreatedAt"]
        assert found["messageId"].startswith("msg_")

    def test_dead_letter_is_read_and_deleted(self, qstash, dlq_id):
        assert qstash.get(f"/v2/workflows/dlq/{dlq_id}").json()["workflowRunId"] == "wfr_1"
        assert qstash.call("DELETE", f"/v2/workflows/dlq/{dlq_id}").status_code == 200
        assert qstash.get(f"/v2/workflows/dlq/{dlq_id}").status_code == 404
        assert qstash.call("DELETE", "/v2/workflows/dlq?workflowRunId=wfr_1").json()["deleted"] == 0


class TestControl:
    def test_runs_are_added_changed_and_planned(self, anyone, qstash):
        base = "/_sandbox/qstash"
        added = anyone.call("POST", f"{base}/workflow-runs", json={"run_id": "wfr_1"})
        assert added.json() == {"ids": ["wfr_1"]}
        anyone.call("PATCH", f"{base}/workflow-runs/wfr_1", json={"state": "RUN_FAILED"})
        assert states(qstash) == {"wfr_1": "RUN_FAILED"}
        assert (
            anyone.call("PATCH", f"{base}/workflow-runs/nobody", json={"state": "RUN_FAILED"}).status_code
            == 404
        )
        assert anyone.call("PATCH", f"{base}/workflow-runs/wfr_1", json={}).status_code == 400
        anyone.call("POST", f"{base}/workflow-plans", json={"pattern": "*", "script": ["RUN_CANCELED"]})
        assert len(anyone.get(f"{base}/workflow-plans").json()["plans"]) == 1
        trigger(qstash, "wfr_2")
        shown = {
            run["id"]: run["state"] for run in anyone.get(f"{base}/workflow-runs").json()["workflow-runs"]
        }
        assert shown == {"wfr_1": "RUN_FAILED", "wfr_2": "RUN_CANCELED"}
        assert len(anyone.get("/_sandbox/state").json()["workflow_runs"]) == 2

    def test_run_needs_an_id_and_can_be_forgotten(self, sandbox, qstash):
        with pytest.raises(ValueError, match="empty"):
            sandbox.qstash.workflows.add("")
        sandbox.qstash.workflows.add("wfr_1")
        sandbox.qstash.workflows.remove("wfr_1")
        assert logs(qstash) == []
