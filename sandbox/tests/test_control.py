from __future__ import annotations

import pytest

START = 1_763_501_439


def post(client, path, body):
    return client.call("POST", f"/_sandbox{path}", json=body)


class TestWhoMayComeIn:
    @pytest.mark.parametrize("path", ["/_sandbox/state", "/", "/manus/app/x"])
    @pytest.mark.parametrize("host", ["evil.example", "evil.example:8099", "10.0.0.1", ""])
    def test_host_name_of_elsewhere_is_refused(self, anyone, path, host):
        assert anyone.call("GET", path, headers={"Host": host}).status_code == 403

    @pytest.mark.parametrize("host", ["localhost:8099", "127.0.0.1", "[::1]:8099", "127.9.9.9"])
    def test_name_of_this_machine_is_let_in(self, anyone, host):
        assert anyone.call("GET", "/_sandbox/state", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize("origin", ["https://evil.example", "null"])
    def test_form_on_a_foreign_page_is_refused(self, sandbox, anyone, origin):
        sandbox.manus.add_task()
        assert anyone.call("POST", "/_sandbox/reset", headers={"Origin": origin}).status_code == 403
        assert len(sandbox.manus) == 1

    def test_page_of_this_machine_is_let_in(self, anyone):
        answer = anyone.call("POST", "/_sandbox/reset", headers={"Origin": "http://localhost:8080"})
        assert answer.status_code == 200


class TestState:
    def test_state_shows_tasks_faults_and_settings(self, sandbox, anyone):
        sandbox.manus.add_task("one", title="Count", script=[("running", 5), ("completed", None)])
        sandbox.qstash.add_task("tsk", script=["active", "delivered"], advance_after_reads=3)
        sandbox.faults.add("status", status=503, times=2)
        state = anyone.get("/_sandbox/state").json()
        assert state["now"] == START
        assert state["manus"] == [
            {
                "id": "one",
                "status": "running",
                "since": START,
                "changes_at": START + 5,
                "changes_after_reads": None,
                "reads": 0,
                "last_read_at": None,
                "created_at": START,
                "title": "Count",
                "asks": None,
            }
        ]
        assert (state["qstash"][0]["message_id"], state["qstash"][0]["changes_after_reads"]) == ("msg_1", 3)
        assert (state["faults"][0]["kind"], state["faults"][0]["times"]) == ("status", 2)
        assert state["settings"]["cursor_end"] == "absent"

    def test_reset_empties_it(self, sandbox, anyone):
        sandbox.manus.add_task()
        sandbox.qstash.add_task()
        sandbox.faults.add("status")
        sandbox.settings.update({"wrong_region": True, "rate_limits": {"manus.list": 1}})
        sandbox.clock.advance(60)
        assert post(anyone, "/reset", {}).json() == {"reset": True}
        state = anyone.get("/_sandbox/state").json()
        assert (state["manus"], state["qstash"], state["faults"], state["requests"]) == ([], [], [], 0)
        assert (state["now"], state["settings"]["wrong_region"], state["settings"]["rate_limits"]) == (
            START,
            False,
            {},
        )

    def test_reset_can_bring_the_demo_tasks(self, anyone):
        post(anyone, "/reset", {"seed_demo": True, "seed_seconds": 4})
        state = anyone.get("/_sandbox/state").json()
        assert {task["id"]: task["changes_at"] for task in state["manus"]} == {
            "demo-completes": START + 4,
            "demo-fails": START + 4,
            "demo-asks": START + 2,
            "demo-long": None,
        }
        assert {task["id"] for task in state["qstash"]} == {
            "tsk_demo_delivered",
            "tsk_demo_retrying",
            "tsk_demo_failed",
        }


class TestTasks:
    @pytest.mark.parametrize("vendor", ["manus", "qstash"])
    def test_tasks_can_be_added_one_by_one_or_many_at_once(self, sandbox, anyone, vendor):
        one = post(anyone, f"/{vendor}/tasks", {"task_id": "a/b", "script": [["running", 1], "completed"]})
        many = post(anyone, f"/{vendor}/tasks", [{"task_id": str(number)} for number in range(3)])
        assert (one.status_code, one.json()) == (201, {"ids": ["a/b"]})
        assert many.json() == {"ids": ["0", "1", "2"]}
        assert len(getattr(sandbox, vendor)) == 4

    @pytest.mark.parametrize("vendor", ["manus", "qstash"])
    @pytest.mark.parametrize("method", ["PATCH", "POST"])
    def test_status_can_be_set(self, sandbox, anyone, vendor, method):
        getattr(sandbox, vendor).add_task("a/b")
        answer = anyone.call(
            method, f"/_sandbox/{vendor}/tasks/a/b", json={"status": "failed", "error": "No"}
        )
        assert (answer.status_code, answer.json()["status"]) == (200, "failed")
        assert getattr(sandbox, vendor).get("a/b").error == "No"

    def test_script_can_be_set(self, sandbox, anyone):
        sandbox.manus.add_task("one")
        script = {"script": [{"status": "running", "seconds": 7}, {"status": "completed"}]}
        assert post(anyone, "/manus/tasks/one", script).json()["changes_at"] == START + 7

    @pytest.mark.parametrize("vendor", ["manus", "qstash"])
    def test_task_can_be_removed(self, sandbox, anyone, vendor):
        getattr(sandbox, vendor).add_task("one")
        assert anyone.call("DELETE", f"/_sandbox/{vendor}/tasks/one").status_code == 200
        assert anyone.get(f"/_sandbox/{vendor}/tasks/one").status_code == 404
        assert anyone.call("DELETE", f"/_sandbox/{vendor}/tasks/one").status_code == 404

    @pytest.mark.parametrize(
        "body",
        [
            {"colour": "red"},
            {"script": []},
            {"script": "running"},
            {"script": [["running", None], ["completed", None]]},
            {"script": [["running", -1], ["completed", None]]},
            {"task_id": ""},
            {"advance_after_reads": 0},
            "text",
            [1],
        ],
        ids=str,
    )
    def test_task_that_makes_no_sense_is_refused(self, sandbox, anyone, body):
        answer = post(anyone, "/manus/tasks", body)
        assert answer.status_code == 400
        assert answer.json()["error"]
        assert len(sandbox.manus) == 0

    @pytest.mark.parametrize(
        "body", [{}, {"status": ""}, {"status": "a", "script": ["b"]}, {"title": "x"}], ids=str
    )
    def test_change_that_makes_no_sense_is_refused(self, sandbox, anyone, body):
        sandbox.manus.add_task("one")
        assert post(anyone, "/manus/tasks/one", body).status_code == 400

    def test_body_that_is_not_json_is_refused(self, anyone):
        assert anyone.call("POST", "/_sandbox/manus/tasks", data="{").status_code == 400


class TestFaults:
    def test_faults_come_and_go(self, anyone, manus):
        ids = post(
            anyone, "/faults", [{"kind": "status", "status": 503}, {"kind": "hang", "seconds": 0}]
        ).json()["ids"]
        assert manus.get("/v1/tasks").status_code == 503
        assert [fault["applied"] for fault in anyone.get("/_sandbox/faults").json()["faults"]] == [1, 1]
        assert anyone.call("DELETE", f"/_sandbox/faults/{ids[0]}").status_code == 200
        assert manus.get("/v1/tasks").status_code == 200
        assert anyone.call("DELETE", "/_sandbox/faults").json() == {"faults": []}
        assert anyone.call("DELETE", "/_sandbox/faults/none").status_code == 404

    @pytest.mark.parametrize("body", [{}, {"kind": "explode"}, {"kind": "hang", "status": 1}], ids=str)
    def test_value_that_makes_no_sense_is_refused(self, anyone, body):
        assert post(anyone, "/faults", body).status_code == 400


class TestClockAndSettings:
    def test_clock_can_be_advanced(self, sandbox, anyone):
        assert post(anyone, "/clock", {"advance": 90}).json() == {"now": START + 90}
        assert anyone.get("/_sandbox/clock").json() == {"now": START + 90}

    @pytest.mark.parametrize("body", [{}, {"advance": -1}, {"advance": "1"}, {"advance": True}], ids=str)
    def test_clock_does_not_go_back(self, anyone, body):
        assert post(anyone, "/clock", body).status_code == 400

    def test_settings_change_all_or_none(self, sandbox, anyone):
        changes = {"cursor_end": None, "rate_limits": {"manus.list": 5}, "qstash_token": "t"}
        assert post(anyone, "/settings", changes).json()["cursor_end"] is None
        answer = post(anyone, "/settings", {"wrong_region": True, "cursor_end": "later"})
        assert answer.status_code == 400
        assert sandbox.settings.wrong_region is False

    @pytest.mark.parametrize(
        "changes",
        [
            {"colour": "red"},
            {"manus_key": ""},
            {"wrong_region": 1},
            {"cursor_end": False},
            {"rate_limits": {"everything": 1}},
            {"rate_limits": {"manus.list": -1}},
            {"qstash_string_fields": ["url"]},
            {"file_url_seconds": 0},
            {"manus_oauth_scopes": ["everything"]},
            {"manus_credits": -1},
            {"manus_user_stop_on_stop": "yes"},
        ],
        ids=str,
    )
    def test_settings_that_make_no_sense_are_refused(self, anyone, changes):
        assert post(anyone, "/settings", changes).status_code == 400


class TestManusAccount:
    def test_plan_says_what_created_tasks_do(self, anyone, manus_v2):
        answer = post(
            anyone, "/manus/plans", [{"script": ["failed"]}, {"default": True, "script": ["waiting"]}]
        )
        assert (answer.status_code, answer.json()) == (201, {"planned": 2})
        assert [manus_v2.task(manus_v2.create())["status"] for _ in range(3)] == [
            "error",
            "waiting",
            "waiting",
        ]

    @pytest.mark.parametrize("body", [{"colour": "red"}, {"script": []}, {"waiting": 5}], ids=str)
    def test_plan_that_makes_no_sense_is_refused(self, anyone, body):
        assert post(anyone, "/manus/plans", body).status_code == 400

    def test_created_tasks_and_answers_are_listed(self, sandbox, anyone, manus_v2):
        sandbox.manus.plan(task_id="a/b", script=["waiting"])
        manus_v2.create("Count")
        manus_v2.write("task.sendMessage", task_id="a/b", message={"content": "Monday"})
        (created,) = anyone.get("/_sandbox/manus/created").json()["created"]
        assert created == {
            "id": "a/b",
            "version": "v2",
            "body": {"message": {"content": "Count"}},
            "at": START,
        }
        (answer,) = anyone.get("/_sandbox/manus/answers/a/b").json()["answers"]
        assert (answer["kind"], answer["text"]) == ("message", "Monday")
        assert anyone.get("/_sandbox/manus/answers/nobody").status_code == 404

    def test_task_can_be_stopped_as_by_its_owner(self, sandbox, anyone, manus_v2):
        sandbox.manus.add_task("a/b")
        assert post(anyone, "/manus/stop/a/b", {}).json() == {"stopped": "a/b"}
        assert "user_stop" in manus_v2.types("a/b")
        assert post(anyone, "/manus/stop/nobody", {}).status_code == 404


class TestRequests:
    def test_requests_are_kept_without_secrets(self, sandbox, anyone, manus, qstash):
        manus.get("/v1/tasks", query="sk-sandbox", limit=5)
        qstash.call("GET", "/v1/tasks/sandbox-token", headers={"X-Note": "see sandbox-token"})
        first, second = anyone.get("/_sandbox/requests").json()["requests"]
        assert (first["method"], first["path"], first["status"], first["at"]) == (
            "GET",
            "/manus/v1/tasks",
            200,
            START,
        )
        assert first["query"] == [["query", "***"], ["limit", "5"]]
        assert first["headers"]["api_key"] == "***"
        assert first["auth"] == {"api_key": True, "authorization": False, "x-manus-api-key": False}
        assert (second["path"], second["status"]) == ("/qstash/v1/tasks/***", 404)
        assert second["headers"]["authorization"] == "Bearer ***"
        assert second["headers"]["x-note"] == "see ***"

    def test_oauth_token_is_a_secret_too(self, sandbox, anyone):
        headers = {"Authorization": "Bearer oauth-sandbox", "X-Note": "see oauth-sandbox"}
        anyone.call("GET", "/manus/v2/task.list?note=oauth-sandbox", headers=headers)
        assert sandbox.requests[-1].status == 200
        assert "oauth-sandbox" not in str(sandbox.requests)

    def test_wrong_key_is_a_secret_too(self, sandbox, manus):
        manus.call("GET", "/v1/tasks", headers={"API_KEY": "sk-real", "Authorization": "sk-real"})
        assert "sk-real" not in str(sandbox.requests)

    def test_requests_can_be_forgotten(self, anyone, manus):
        manus.get("/v1/tasks")
        assert anyone.call("DELETE", "/_sandbox/requests").json() == {"requests": []}

    def test_control_plane_itself_is_not_kept(self, sandbox, anyone):
        anyone.get("/_sandbox/state")
        anyone.get("/")
        assert sandbox.requests == []
