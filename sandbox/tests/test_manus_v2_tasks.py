"""Manus v2's tasks: creating, showing, listing, changing, stopping and removing them."""

from __future__ import annotations

import pytest
import requests

START = 1_763_501_439
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def code_of(answer):
    """Return status and error code, having checked that the envelope is that of a failure."""
    body = answer.json()
    assert set(body) == {"ok", "request_id", "error"}
    assert body["ok"] is False
    assert set(body["error"]) == {"code", "message"}
    return answer.status_code, body["error"]["code"]


class TestKey:
    def test_key_comes_in_its_own_header(self, anyone, manus_v2):
        assert manus_v2.read("task.list").status_code == 200
        assert code_of(anyone.get("/manus/v2/task.list")) == (401, "unauthenticated")
        answer = anyone.call("GET", "/manus/v2/task.list", headers={"API_KEY": "sk-sandbox"})
        assert code_of(answer) == (401, "unauthenticated")

    def test_key_must_be_the_right_one(self, manus_v2):
        answer = manus_v2.call("GET", "/v2/task.list", headers={"x-manus-api-key": "sk-other"})
        assert code_of(answer) == (401, "unauthenticated")

    def test_oauth_token_is_taken_instead(self, anyone):
        answer = anyone.call("GET", "/manus/v2/task.list", headers={"Authorization": "Bearer oauth-sandbox"})
        assert answer.json()["ok"] is True

    def test_key_and_token_at_once_are_refused(self, manus_v2):
        answer = manus_v2.call("GET", "/v2/task.list", headers={"Authorization": "Bearer oauth-sandbox"})
        assert answer.status_code == 401

    @pytest.mark.parametrize("value", ["Bearer sk-sandbox", "Basic oauth-sandbox", "oauth-sandbox"])
    def test_oauth_failures_come_without_the_envelope(self, anyone, value):
        answer = anyone.call("GET", "/manus/v2/task.list", headers={"Authorization": value})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert set(answer.json()) == {"code", "message"}

    def test_token_needs_the_scope(self, sandbox, anyone):
        sandbox.settings.update({"manus_oauth_scopes": ["create_project"]})
        headers = {"Authorization": "Bearer oauth-sandbox"}
        answer = anyone.call("GET", "/manus/v2/task.list", headers=headers)
        assert answer.status_code == 403
        assert answer.json() == {
            "code": "permission_denied",
            "message": "insufficient_scope: required one of [create_task, manage_all_tasks]",
        }
        assert anyone.call("GET", "/manus/v2/user.me", headers=headers).status_code == 200

    def test_credits_are_for_keys_only(self, anyone):
        headers = {"Authorization": "Bearer oauth-sandbox"}
        answer = anyone.call("GET", "/manus/v2/usage.availableCredits", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")

    def test_task_names_the_key_that_created_it(self, anyone, manus_v2):
        by_key = manus_v2.create()
        answer = anyone.call(
            "POST",
            "/manus/v2/task.create",
            json={"message": {"content": "Count"}},
            headers={"Authorization": "Bearer oauth-sandbox"},
        )
        assert manus_v2.task(by_key)["created_by_api_key"] == {"id": "key_sandbox", "name": "sandbox"}
        assert manus_v2.task(answer.json()["task_id"])["created_by_api_key"] is None


class TestEnvelope:
    def test_answers_have_request_ids_of_their_own(self, manus_v2):
        ids = {manus_v2.read("task.list").json()["request_id"] for _ in range(3)}
        assert len(ids) == 3

    def test_unknown_operation_answers_not_found(self, manus_v2):
        assert code_of(manus_v2.read("task.dream")) == (404, "not_found")
        assert code_of(manus_v2.call("GET", "/v2/task.list/x")) == (404, "not_found")

    @pytest.mark.parametrize(
        "text", [[], [{"type": "text", "text": ""}], [{"type": "text", "text": " \n "}]], ids=str
    )
    @pytest.mark.parametrize("kind", ["file", "voice"])
    def test_task_without_text_is_created_from_its_files(self, manus_v2, kind, text):
        part = {"type": kind, "file_url": "https://example.com/a.pdf", "filename": "a.pdf"}
        task_id = manus_v2.create([part, *text])
        assert manus_v2.task(task_id)["title"] == "New task"
        (said,) = [event["user_message"] for event in manus_v2.events(task_id) if "user_message" in event]
        assert (said["content"].strip(), len(said["attachments"])) == ("", 1)

    def test_operations_that_are_not_emulated_answer_501_with_their_name(self, manus_v2):
        answer = manus_v2.read("agent.list")
        error = {"code": "unimplemented", "message": "agent.list is not emulated"}
        assert (answer.status_code, answer.json()["error"]) == (501, error)

    def test_wrong_method_is_refused(self, manus_v2):
        assert manus_v2.read("task.create").status_code == 405
        assert manus_v2.write("task.list").status_code == 405

    def test_faults_answer_in_the_envelope(self, sandbox, manus_v2):
        sandbox.faults.add("status", times=1, status=429)
        assert code_of(manus_v2.read("task.list")) == (429, "rate_limited")

    def test_body_that_is_no_object_is_an_invalid_argument(self, manus_v2):
        for raw in (b"", b"{", b"[]"):
            answer = manus_v2.call("POST", "/v2/task.create", data=raw)
            assert code_of(answer) == (400, "invalid_argument")


class TestCreate:
    def test_create_answers_with_what_finds_the_task_again(self, server, manus_v2):
        body = manus_v2.write("task.create", message={"content": "Count to ten\nslowly"}).json()
        task_id = body["task_id"]
        assert len(task_id) == 22
        assert body.pop("request_id")
        assert body == {
            "ok": True,
            "task_id": task_id,
            "task_title": "Count to ten",
            "task_url": f"{server.url}/manus/app/{task_id}",
            "share_visibility": "private",
        }

    def test_create_is_kept_with_its_request(self, sandbox, manus_v2):
        task_id = manus_v2.create("Count", title="t", interactive_mode=True)
        (created,) = sandbox.manus.created
        assert (created.id, created.version) == (task_id, "v2")
        assert created.body == {"message": {"content": "Count"}, "title": "t", "interactive_mode": True}

    def test_create_takes_parts_of_text_and_files(self, manus_v2):
        uploaded = manus_v2.write("file.upload", filename="a.csv").json()
        requests.put(uploaded["upload_url"], data=b"x", timeout=10)
        task_id = manus_v2.create(
            [
                {"type": "text", "text": "Read"},
                {"type": "text", "text": "these."},
                {"type": "file", "file_id": uploaded["file"]["id"]},
                {"type": "file", "file_url": "https://example.com/b.png", "mime_type": "image/png"},
                {"type": "file", "file_data": "data:text/plain;base64,YQ==", "filename": "c.txt"},
            ]
        )
        said = manus_v2.events(task_id)[0]["user_message"]
        assert said["content"] == "Read\nthese."
        assert [(one["type"], one["filename"]) for one in said["attachments"]] == [
            ("file", "a.csv"),
            ("image", "b.png"),
            ("file", "c.txt"),
        ]

    def test_options_show_in_the_task(self, sandbox, manus_v2):
        project_id = sandbox.manus.add_project("Reports")
        task_id = manus_v2.create(
            title="Mine", project_id=project_id, agent_profile="max", share_visibility="team"
        )
        task = manus_v2.task(task_id)
        assert (task["title"], task["task_type"]) == ("Mine", "project")
        assert (task["agent_profile"], task["share_visibility"]) == ("manus-1.6-max", "team")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"message": {}},
            {"message": "Count"},
            {"message": {"content": ""}},
            {"message": {"content": [{"type": "text", "text": " "}]}},
            {"message": {"content": []}},
            {"message": {"content": 5}},
            {"message": {"content": ["Count"]}},
            {"message": {"content": [{"type": "poem", "text": "x"}]}},
            {"message": {"content": [{"type": "text"}]}},
            {"message": {"content": [{"type": "file"}]}},
            {"message": {"content": [{"type": "file", "file_data": "YQ==", "filename": "a"}]}},
            {"message": {"content": [{"type": "file", "file_data": "data:text/plain;base64,YQ=="}]}},
            {"message": {"content": "x" * 20_001}},
            {"message": {"content": "x", "task_references": ["t"] * 21}},
            {"message": {"content": "x", "connectors": ["gmail"]}},
            {"message": {"content": "x", "surprise": 1}},
            {"message": {"content": "x"}, "agent_profile": "manus-9"},
            {"message": {"content": "x"}, "share_visibility": "world"},
            {"message": {"content": "x"}, "interactive_mode": "yes"},
            {"message": {"content": "x"}, "structured_output_schema": {"type": "string"}},
            {"message": {"content": "x"}, "surprise": 1},
        ],
        ids=lambda body: str(body)[:60],
    )
    def test_body_that_is_not_as_documented_is_an_invalid_argument(self, sandbox, manus_v2, body):
        assert code_of(manus_v2.write("task.create", **body)) == (400, "invalid_argument")
        assert len(sandbox.manus) == 0

    def test_refusal_of_a_schema_names_the_place(self, manus_v2):
        schema = {
            **SCHEMA,
            "properties": {"price": {"type": "number", "minimum": 0}},
            "required": ["price"],
        }
        answer = manus_v2.write("task.create", message={"content": "Count"}, structured_output_schema=schema)
        assert answer.json()["error"] == {
            "code": "invalid_argument",
            "message": 'structured_output_schema: .price: unsupported keyword "minimum"',
        }

    def test_files_and_projects_must_be_there(self, manus_v2):
        part = {"type": "file", "file_id": "nobody"}
        assert code_of(manus_v2.write("task.create", message={"content": [part]})) == (404, "not_found")
        answer = manus_v2.write("task.create", message={"content": "x"}, project_id="nobody")
        assert code_of(answer) == (404, "not_found")

    def test_lost_answer_leaves_the_task_behind(self, sandbox, manus_v2):
        sandbox.faults.add("drop_after", path="/manus/v2/task.create", times=1)
        with pytest.raises(requests.exceptions.ConnectionError):
            manus_v2.create()
        assert len(sandbox.manus.created) == 1


class TestDetail:
    def test_detail_has_the_documented_fields(self, server, sandbox, manus_v2):
        sandbox.manus.add_task("one", title="Count")
        assert manus_v2.task("one") == {
            "id": "one",
            "status": "running",
            "created_at": START,
            "updated_at": START,
            "task_type": "standard",
            "share_visibility": "private",
            "title": "Count",
            "task_url": f"{server.url}/manus/app/one",
            "created_by_api_key": None,
            "agent_profile": "manus-1.6",
        }

    def test_unknown_task_answers_not_found(self, manus_v2):
        assert code_of(manus_v2.read("task.detail", task_id="nobody")) == (404, "not_found")
        assert code_of(manus_v2.read("task.detail")) == (400, "invalid_argument")

    def test_fields_can_be_laid_over(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(extra={"created_at": "1763501439", "surprise": True})
        task = manus_v2.task(task_id)
        assert (task["created_at"], task["surprise"]) == ("1763501439", True)

    def test_detail_counts_as_a_read(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=["running", "stopped"], advance_after_reads=1)
        assert [manus_v2.task(task_id)["status"] for _ in range(2)] == ["running", "stopped"]


class TestProto3:
    def test_integers_can_be_strings_and_what_says_nothing_left_out(self, sandbox, manus_v2):
        sandbox.settings.manus_v2_as_proto3 = True
        assert set(manus_v2.read("task.list").json()) == {"ok", "request_id"}
        sandbox.manus.plan(script=["stopped"], background_jobs=0, structured={"success": False})
        task_id = manus_v2.create(structured_output_schema=SCHEMA)
        task = manus_v2.task(task_id)
        assert (task["created_at"], task["updated_at"]) == (str(START), str(START))
        assert not {"has_running_background_jobs", "credit_usage"} & set(task)
        result = manus_v2.events(task_id)[-1]
        assert result["timestamp"] == f"{START}000"
        assert result["structured_output_result"] == {
            "value": {"city": ""},
            "error": "Failed to extract structured output",
        }


class TestList:
    def test_empty_account_has_an_empty_page(self, manus_v2):
        body = manus_v2.read("task.list").json()
        assert (body["data"], body["has_more"]) == ([], False)
        assert "next_cursor" not in body

    def test_list_comes_newest_first_in_pages_of_twenty(self, sandbox, manus_v2):
        for number in range(21):
            sandbox.manus.add_task(f"t{number}", created_at=START - number)
        body = manus_v2.read("task.list").json()
        assert [task["id"] for task in body["data"]] == [f"t{number}" for number in range(20)]
        assert body["data"][0] == manus_v2.task("t0")

    @pytest.mark.parametrize("order", ["asc", "desc"])
    def test_pages_show_each_task_once_though_one_is_deleted_meanwhile(self, sandbox, manus_v2, order):
        ids = [sandbox.manus.add_task(created_at=START - number // 4) for number in range(25)]
        seen, cursor = [], None
        while True:
            page = manus_v2.read("task.list", limit=7, cursor=cursor, order=order).json()
            seen += [task["id"] for task in page["data"]]
            if not page["has_more"]:
                break
            cursor = page["next_cursor"]
            sandbox.manus.delete_task(seen[-1])
        assert len(seen) == 25
        assert set(seen) == set(ids)

    def test_scopes_and_projects(self, sandbox, manus_v2):
        sandbox.manus.add_task("in", project_id="p1")
        sandbox.manus.add_task("out")

        def ids(**params):
            return {task["id"] for task in manus_v2.read("task.list", **params).json()["data"]}

        assert ids() == ids(scope="all") == {"in", "out"}
        assert ids(scope="standard") == {"out"}
        assert ids(scope="project", project_id="p1") == ids(project_id="p1") == {"in"}
        assert ids(scope="agent_subtask", agent_id="agent-default") == set()

    @pytest.mark.parametrize(
        "params",
        [
            {"limit": 0},
            {"limit": 101},
            {"limit": "ten"},
            {"order": "up"},
            {"scope": "mine"},
            {"scope": "project"},
            {"scope": "agent_subtask"},
            {"cursor": "nonsense"},
            {"cursor": "WzFd"},
        ],
        ids=str,
    )
    def test_bad_parameters_are_invalid_arguments(self, manus_v2, params):
        assert code_of(manus_v2.read("task.list", **params)) == (400, "invalid_argument")

    def test_fault_repeats_the_cursor(self, sandbox, manus_v2):
        for _ in range(3):
            sandbox.manus.add_task()
        sandbox.faults.add("repeat_cursor")
        first = manus_v2.read("task.list", limit=2).json()
        again = manus_v2.read("task.list", limit=2, cursor=first["next_cursor"]).json()
        assert [one["id"] for one in again["data"]] == [one["id"] for one in first["data"]]
        assert (again["has_more"], again["next_cursor"]) == (True, first["next_cursor"])

    def test_task_can_be_left_out(self, sandbox, manus_v2):
        sandbox.manus.add_task("one")
        sandbox.faults.add("omit", task_id="one")
        assert manus_v2.read("task.list").json()["data"] == []
        assert manus_v2.task("one")["id"] == "one"


class TestUpdate:
    def test_update_changes_title_and_visibility(self, manus_v2):
        task_id = manus_v2.create()
        body = manus_v2.write("task.update", task_id=task_id, title="New", share_visibility="public").json()
        assert (body["task_title"], body["share_visibility"]) == ("New", "public")
        assert "share_url" in body
        assert manus_v2.task(task_id)["title"] == "New"

    def test_update_needs_a_task(self, manus_v2):
        assert code_of(manus_v2.write("task.update", title="x")) == (400, "invalid_argument")
        assert code_of(manus_v2.write("task.update", task_id="nobody")) == (404, "not_found")


class TestStop:
    def test_stop_ends_a_task_at_once_and_without_an_answer(self, sandbox, manus_v2):
        task_id = manus_v2.create(structured_output_schema=SCHEMA)
        body = manus_v2.write("task.stop", task_id=task_id).json()
        assert set(body) == {"ok", "request_id"}
        sandbox.clock.advance(60)
        assert manus_v2.task(task_id)["status"] == "stopped"
        assert manus_v2.types(task_id) == ["user_message", "status_update", "status_update"]

    def test_stop_leaves_the_event_of_a_user_only_by_setting(self, sandbox, manus_v2):
        sandbox.settings.manus_user_stop_on_stop = True
        task_id = manus_v2.create()
        manus_v2.write("task.stop", task_id=task_id)
        assert "user_stop" in manus_v2.types(task_id)

    @pytest.mark.parametrize("word", ["completed", "failed"])
    def test_stop_does_no_harm_to_a_finished_task(self, sandbox, manus_v2, word):
        task_id = sandbox.manus.add_task(script=[word])
        before = manus_v2.events(task_id)
        assert manus_v2.write("task.stop", task_id=task_id).status_code == 200
        assert manus_v2.events(task_id) == before

    def test_stopped_task_is_woken_by_a_message(self, sandbox, manus_v2):
        task_id = manus_v2.create(structured_output_schema=SCHEMA)
        manus_v2.write("task.stop", task_id=task_id)
        manus_v2.write("task.sendMessage", task_id=task_id, message={"content": "Go on"})
        sandbox.clock.advance(2)
        # The structured result was asked for, and the stop did not use that up.
        assert manus_v2.types(task_id)[-3:] == [
            "assistant_message",
            "status_update",
            "structured_output_result",
        ]

    def test_owner_of_a_task_can_stop_it_too(self, sandbox, manus_v2):
        task_id = manus_v2.create()
        sandbox.clock.advance(1)
        sandbox.manus.stop_as_user(task_id)
        assert manus_v2.types(task_id) == ["user_message", "status_update", "user_stop", "status_update"]
        assert "user_stop" not in manus_v2.events(task_id)[2]


class TestDelete:
    def test_delete_removes_a_finished_task(self, sandbox, manus_v2):
        task_id = manus_v2.create()
        manus_v2.write("task.stop", task_id=task_id)
        body = manus_v2.write("task.delete", task_id=task_id).json()
        assert (body["id"], body["deleted"]) == (task_id, True)
        assert manus_v2.read("task.detail", task_id=task_id).status_code == 404
        assert len(sandbox.manus.created) == 1

    def test_delete_refuses_a_running_task(self, manus_v2):
        task_id = manus_v2.create()
        assert code_of(manus_v2.write("task.delete", task_id=task_id)) == (400, "invalid_argument")


class TestRateLimits:
    def test_documented_rate_limits_can_be_switched_on(self, sandbox, manus_v2):
        sandbox.settings.update({"rate_limits": "documented"})
        codes = [manus_v2.write("task.create", message={"content": "x"}).status_code for _ in range(11)]
        assert codes == [200] * 10 + [429]
        answer = manus_v2.write("task.create", message={"content": "x"})
        assert answer.json()["error"] == {
            "code": "rate_limited",
            "message": "Rate limit exceeded. Please retry after a short backoff.",
        }
        assert manus_v2.read("task.list").status_code == 200
        sandbox.clock.advance(60)
        assert manus_v2.create()

    def test_refused_create_creates_nothing(self, sandbox, manus_v2):
        sandbox.settings.update({"rate_limits": {"manus.task.create": 0}, "rate_limit_retry_after": True})
        answer = manus_v2.write("task.create", message={"content": "x"})
        assert answer.headers["Retry-After"] == "60"
        assert sandbox.manus.created == []
