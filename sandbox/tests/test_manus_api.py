from __future__ import annotations

import pytest
import requests

START = 1_763_501_439


class TestKey:
    def test_call_without_any_key_is_refused(self, anyone):
        answer = anyone.get("/manus/v1/tasks")
        assert answer.status_code == 401
        assert answer.json()["code"] == 16
        assert answer.json()["details"] == []

    def test_wrong_key_is_refused(self, manus):
        answer = manus.call("GET", "/v1/tasks", headers={"API_KEY": "sk-other"})
        assert (answer.status_code, answer.json()["code"]) == (401, 16)

    def test_key_sent_as_bearer_token_is_read_as_a_broken_jwt(self, anyone):
        answer = anyone.call("GET", "/manus/v1/tasks", headers={"Authorization": "Bearer sk-sandbox"})
        assert answer.status_code == 401
        assert answer.json()["message"] == (
            "invalid token: token is malformed: token contains an invalid number of segments"
        )

    def test_header_of_the_next_version_is_not_accepted(self, anyone):
        answer = anyone.call("GET", "/manus/v1/tasks", headers={"x-manus-api-key": "sk-sandbox"})
        assert answer.status_code == 401

    def test_key_can_be_changed(self, sandbox, manus):
        sandbox.settings.manus_key = "sk-other"
        assert manus.get("/v1/tasks").status_code == 401
        assert manus.call("GET", "/v1/tasks", headers={"API_KEY": "sk-other"}).status_code == 200


class TestSingleTask:
    def test_task_has_the_documented_fields_with_64_bit_integers_as_strings(self, server, sandbox, manus):
        task_id = sandbox.manus.add_task(title="Count", credit_usage=22)
        body = manus.get(f"/v1/tasks/{task_id}").json()
        assert body.pop("output")[0]["role"] == "user"
        assert body == {
            "id": task_id,
            "object": "task",
            "created_at": str(START),
            "updated_at": str(START),
            "status": "running",
            "model": "manus-1.6-agent",
            "metadata": {"task_title": "Count", "task_url": f"{server.url}/manus/app/{task_id}"},
            "credit_usage": 22,
        }

    def test_ids_made_up_by_the_sandbox_have_22_letters_and_digits(self, sandbox):
        task_id = sandbox.manus.add_task()
        assert len(task_id) == 22
        assert task_id.isalnum()

    def test_id_may_hold_any_character(self, sandbox, manus):
        sandbox.manus.add_task("a/b ?#%ü")
        assert manus.get("/v1/tasks/a%2Fb%20%3F%23%25%C3%BC").json()["id"] == "a/b ?#%ü"

    def test_unknown_id_answers_404_with_code_5(self, manus):
        answer = manus.get("/v1/tasks/nobody")
        assert answer.status_code == 404
        assert answer.json() == {"code": 5, "message": "task not found", "details": []}

    def test_empty_id_is_no_route(self, manus):
        assert manus.get("/v1/tasks/").status_code == 404

    def test_convert_must_be_a_boolean(self, sandbox, manus):
        task_id = sandbox.manus.add_task()
        assert manus.get(f"/v1/tasks/{task_id}", convert="true").status_code == 200
        answer = manus.get(f"/v1/tasks/{task_id}", convert="maybe")
        assert (answer.status_code, answer.json()["code"]) == (400, 3)

    def test_error_shows_only_after_the_failure(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=[("running", 5), ("failed", None)], error="No luck")
        assert "error" not in manus.get(f"/v1/tasks/{task_id}").json()
        sandbox.clock.advance(5)
        body = manus.get(f"/v1/tasks/{task_id}").json()
        assert (body["status"], body["error"], body["updated_at"]) == ("failed", "No luck", str(START + 5))

    def test_fields_can_be_laid_over(self, sandbox, manus):
        task_id = sandbox.manus.add_task(extra={"created_at": 1.5, "surprise": True})
        body = manus.get(f"/v1/tasks/{task_id}").json()
        assert (body["created_at"], body["surprise"]) == (1.5, True)

    def test_deleted_task_is_gone(self, sandbox, manus):
        task_id = sandbox.manus.add_task()
        sandbox.manus.delete_task(task_id)
        assert manus.get(f"/v1/tasks/{task_id}").status_code == 404
        assert manus.get("/v1/tasks").json() == {"object": "list"}

    def test_id_in_use_is_refused(self, sandbox):
        sandbox.manus.add_task("one")
        with pytest.raises(ValueError, match="in use"):
            sandbox.manus.add_task("one")

    def test_operations_beyond_the_documented_are_refused(self, manus):
        assert manus.get("/v1/nothing").status_code == 404
        answer = manus.call("POST", "/v1/responses")
        assert (answer.status_code, answer.json()["message"]) == (501, "POST /v1/responses is not emulated")
        answer = manus.call("PATCH", "/v1/tasks/one")
        assert (answer.status_code, answer.json()["code"]) == (501, 12)


class TestProgress:
    def test_task_follows_the_script_by_the_clock(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=[("running", 5), ("pending", 5), ("NEW_STATE", None)])
        seen = []
        for _ in range(3):
            seen.append(manus.get(f"/v1/tasks/{task_id}").json()["status"])
            sandbox.clock.advance(5)
        assert seen == ["running", "pending", "NEW_STATE"]

    def test_task_follows_the_reads_when_asked_to(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=["running", "pending", "completed"], advance_after_reads=2)
        seen = [manus.get(f"/v1/tasks/{task_id}").json()["status"] for _ in range(6)]
        assert seen == ["running", "running", "pending", "pending", "completed", "completed"]

    def test_task_shown_in_a_list_counts_as_read(self, sandbox, manus):
        sandbox.manus.add_task(script=["running", "completed"], advance_after_reads=1)
        seen = [manus.get("/v1/tasks").json()["data"][0]["status"] for _ in range(2)]
        assert seen == ["running", "completed"]

    def test_task_changes_on_command(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=[("running", 5), ("completed", None)])
        sandbox.manus.set_status(task_id, "failed", error="Stopped by hand")
        sandbox.clock.advance(60)
        body = manus.get(f"/v1/tasks/{task_id}").json()
        assert (body["status"], body["error"]) == ("failed", "Stopped by hand")

    def test_task_takes_a_new_script_when_a_question_was_answered(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=[("pending", None)])
        sandbox.manus.set_script(task_id, [("running", 5), ("completed", None)])
        sandbox.clock.advance(5)
        body = manus.get(f"/v1/tasks/{task_id}").json()
        assert body["status"] == "completed"
        assert [message["role"] for message in body["output"]] == ["user", "assistant", "user", "assistant"]


class TestOutput:
    def test_output_is_the_whole_conversation_in_list_and_detail(self, sandbox, manus):
        task_id = sandbox.manus.add_task(prompt="2 + 2?", answer="4", script=[("completed", None)])
        detail = manus.get(f"/v1/tasks/{task_id}").json()
        assert manus.get("/v1/tasks").json()["data"] == [detail]
        assert [message["content"][0]["text"] for message in detail["output"]] == ["2 + 2?", "4"]

    def test_pending_shows_the_question(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=[("pending", None)], question="Which day?")
        output = manus.get(f"/v1/tasks/{task_id}").json()["output"]
        assert output[-1]["role"] == "assistant"
        assert output[-1]["content"] == [{"type": "output_text", "text": "Which day?"}]

    def test_files_have_signed_addresses_that_work_without_a_key(self, sandbox, manus):
        files = [{"name": "a b.csv", "content": "x,y\n"}, "note.md"]
        task_id = sandbox.manus.add_task(script=[("completed", None)], files=files)
        parts = manus.get(f"/v1/tasks/{task_id}").json()["output"][-1]["content"][1:]
        assert [(part["fileName"], part["mimeType"]) for part in parts] == [
            ("a b.csv", "text/csv"),
            ("note.md", "text/markdown"),
        ]
        assert requests.get(parts[0]["fileUrl"], timeout=10).text == "x,y\n"
        assert not any(sandbox.requests[-1].auth.values())

    def test_file_addresses_expire_and_cannot_be_made_up(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=[("completed", None)], files=["note.md"])
        url = manus.get(f"/v1/tasks/{task_id}").json()["output"][-1]["content"][1]["fileUrl"]
        assert requests.get(url.replace("Signature=", "Signature=x"), timeout=10).status_code == 403
        sandbox.clock.advance(3601)
        assert requests.get(url, timeout=10).status_code == 403


class TestList:
    def test_empty_account_answers_without_data(self, manus):
        assert manus.get("/v1/tasks").json() == {"object": "list"}

    def test_last_page_does_not_mention_more(self, sandbox, manus):
        sandbox.manus.add_task("one")
        body = manus.get("/v1/tasks").json()
        assert (body["first_id"], body["last_id"]) == ("one", "one")
        assert "has_more" not in body

    def test_list_comes_newest_first_in_pages_of_100(self, sandbox, manus):
        for number in range(101):
            sandbox.manus.add_task(f"t{number}", created_at=START - number)
        body = manus.get("/v1/tasks").json()
        assert [task["id"] for task in body["data"]] == [f"t{number}" for number in range(100)]
        assert body["has_more"] is True

    @pytest.mark.parametrize("order", ["asc", "desc"])
    @pytest.mark.parametrize("order_by", ["created_at", "updated_at"])
    def test_pages_through_after_show_each_task_once(self, sandbox, manus, order, order_by):
        # Many share a second, as real ones do.
        ids = [sandbox.manus.add_task(created_at=START - number // 4) for number in range(25)]
        seen, after = [], None
        while True:
            page = manus.get("/v1/tasks", limit=7, after=after, order=order, orderBy=order_by).json()
            seen += [task["id"] for task in page["data"]]
            if not page.get("has_more"):
                break
            after = page["last_id"]
        assert len(seen) == 25
        assert set(seen) == set(ids)

    def test_list_by_update_has_the_last_changed_first(self, sandbox, manus):
        for task_id in ("a", "b", "c"):
            sandbox.manus.add_task(task_id, script=[("running", None)])
        sandbox.clock.advance(10)
        sandbox.manus.set_status("a", "completed")
        assert manus.get("/v1/tasks", orderBy="updated_at").json()["first_id"] == "a"
        assert manus.get("/v1/tasks", orderBy="updated_at", order="asc").json()["last_id"] == "a"

    def test_status_may_be_repeated(self, sandbox, manus):
        for word in ("running", "pending", "completed", "failed"):
            sandbox.manus.add_task(word, script=[(word, None)])
        body = manus.get("/v1/tasks", status=["completed", "failed"]).json()
        assert {task["id"] for task in body["data"]} == {"completed", "failed"}

    def test_time_bounds_are_exclusive(self, sandbox, manus):
        for number in range(5):
            sandbox.manus.add_task(f"t{number}", created_at=START + number)
        for names in (("createdAfter", "createdBefore"), ("created_after", "created_before")):
            bounds = dict(zip(names, (START, START + 3), strict=True))
            for order_by in ("created_at", "updated_at"):
                body = manus.get("/v1/tasks", orderBy=order_by, **bounds).json()
                assert {task["id"] for task in body["data"]} == {"t1", "t2"}

    def test_query_looks_into_title_and_body(self, sandbox, manus):
        sandbox.manus.add_task("title", title="Quarterly REPORT")
        sandbox.manus.add_task("body", prompt="write a report")
        sandbox.manus.add_task("other", title="Lunch")
        body = manus.get("/v1/tasks", query="report").json()
        assert {task["id"] for task in body["data"]} == {"title", "body"}

    def test_project_id_filters(self, sandbox, manus):
        sandbox.manus.add_task("in", project_id="p1")
        sandbox.manus.add_task("out")
        assert [task["id"] for task in manus.get("/v1/tasks", project_id="p1").json()["data"]] == ["in"]

    @pytest.mark.parametrize(
        "params",
        [
            {"limit": 0},
            {"limit": 1001},
            {"limit": "ten"},
            {"limit": "1.5"},
            {"limit": [1, 2]},
            {"order": "up"},
            {"orderBy": "title"},
            {"status": "waiting"},
            {"status": "completed,failed"},
            {"createdAfter": "2025-01-01"},
            {"createdBefore": "1.5"},
            {"after": "nobody"},
        ],
        ids=str,
    )
    def test_bad_parameters_answer_400_with_code_3(self, manus, params):
        answer = manus.get("/v1/tasks", **params)
        assert (answer.status_code, answer.json()["code"]) == (400, 3)

    def test_unknown_parameters_are_ignored(self, manus):
        assert manus.get("/v1/tasks", cursor="x").status_code == 200


class TestRateLimit:
    def test_rate_limit_is_off_by_default(self, manus):
        assert {manus.get("/v1/tasks").status_code for _ in range(120)} == {200}

    def test_rate_limit_counts_each_endpoint_by_itself_and_opens_again_after_a_minute(self, sandbox, manus):
        task_id = sandbox.manus.add_task()
        sandbox.settings.rate_limits = {"manus.list": 2}
        assert [manus.get("/v1/tasks").status_code for _ in range(3)] == [200, 200, 429]
        assert manus.get(f"/v1/tasks/{task_id}").status_code == 200
        answer = manus.get("/v1/tasks")
        assert answer.json()["code"] == 8
        assert "Retry-After" not in answer.headers
        sandbox.clock.advance(60)
        assert manus.get("/v1/tasks").status_code == 200

    def test_rate_limit_can_say_when_to_come_again(self, sandbox, manus):
        sandbox.settings.update({"rate_limits": {"manus.list": 1}, "rate_limit_retry_after": True})
        manus.get("/v1/tasks")
        sandbox.clock.advance(20)
        assert manus.get("/v1/tasks").headers["Retry-After"] == "40"
