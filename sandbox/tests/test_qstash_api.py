from __future__ import annotations

import pytest

START_MS = 1_763_501_439_000


class TestToken:
    @pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer other"}, {"API_KEY": "sandbox-token"}])
    def test_missing_or_wrong_token_is_refused(self, anyone, header):
        answer = anyone.call("GET", "/qstash/v2/logs", headers=header)
        assert answer.status_code == 401
        assert answer.json() == {"error": "unable to authenticate: invalid token"}

    def test_token_in_the_query_is_accepted_and_kept_out_of_the_journal(self, sandbox, anyone):
        assert anyone.get("/qstash/v2/logs", qstash_token="sandbox-token").status_code == 200
        assert sandbox.requests[-1].query == [("qstash_token", "***")]

    def test_wrong_region_knows_no_token(self, sandbox, qstash):
        task_id = sandbox.qstash.add_task()
        sandbox.settings.wrong_region = True
        for path in (f"/v1/tasks/{task_id}", "/v1/messages/msg_1/tasks", "/v2/logs"):
            answer = qstash.get(path)
            assert answer.status_code == 404
            assert answer.json() == {"error": "user not found in this region (eu-central-1)"}


class TestRoutes:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/tasks"),
            ("GET", "/v1/tasks/"),
            ("GET", "/v3/x"),
            ("POST", "/v2/logs"),
            ("DELETE", "/v1/tasks/x"),
        ],
    )
    def test_unknown_route_answers_405_in_plain_text(self, qstash, method, path):
        answer = qstash.call(method, path)
        assert (answer.status_code, answer.text) == (405, "Method Not Allowed")
        assert answer.headers["content-type"].startswith("text/plain")

    def test_operations_that_are_not_emulated_answer_501_with_their_name(self, qstash):
        answer = qstash.get("/v2/workflows/steps")
        assert (answer.status_code, answer.json()) == (501, {"error": "GET /v2/workflows is not emulated"})

    def test_unknown_ids_answer_404_with_a_reason(self, qstash):
        for path in ("/v1/tasks/tsk_x", "/v1/messages/msg_x/tasks"):
            answer = qstash.get(path)
            assert answer.status_code == 404
            assert answer.json()["error"].endswith("not found")

    def test_logs_are_empty_and_check_their_count(self, qstash):
        assert qstash.get("/v2/logs", count=1).json() == {"events": []}
        assert qstash.get("/v2/logs", count=101).status_code == 400
        assert qstash.get("/v2/logs", count="x").status_code == 400


class TestSingleTask:
    def test_task_sends_counts_as_strings(self, sandbox, qstash):
        task_id = sandbox.qstash.add_task(message_id="msg_9", max_retry=5, deadline=START_MS + 1)
        assert qstash.get(f"/v1/tasks/{task_id}").json() == {
            "taskId": task_id,
            "messageId": "msg_9",
            "state": "active",
            "url": "https://example.com/hook",
            "maxRetry": "5",
            "retried": "0",
            "lastErrorAt": "0",
            "deadline": START_MS + 1,
        }

    def test_string_fields_can_be_chosen(self, sandbox, qstash):
        task_id = sandbox.qstash.add_task()
        sandbox.settings.qstash_string_fields = ("maxRetry",)
        body = qstash.get(f"/v1/tasks/{task_id}").json()
        assert (body["maxRetry"], body["retried"], body["lastErrorAt"]) == ("3", 0, 0)

    def test_retries_leave_their_marks_on_a_delivered_task(self, sandbox, qstash):
        script = [("active", 1), ("error", 1), ("retrying", 1), ("active", 1), ("delivered", None)]
        task_id = sandbox.qstash.add_task(script=script, error="HTTP status 502")
        sandbox.clock.advance(1)
        waiting = qstash.get(f"/v1/tasks/{task_id}").json()
        assert (waiting["state"], waiting["nextProcessAt"]) == ("error", START_MS + 2000)
        assert "completedAt" not in waiting
        sandbox.clock.advance(9)
        done = qstash.get(f"/v1/tasks/{task_id}").json()
        assert (done["state"], done["retried"], done["error"]) == ("delivered", "1", "HTTP status 502")
        assert (done["lastErrorAt"], done["completedAt"]) == (str(START_MS + 2000), START_MS + 4000)

    def test_task_can_contradict_itself_like_the_documented_sample(self, sandbox, qstash):
        task_id = sandbox.qstash.add_task(
            script=["processing"], completed_at=1678901123456, retried=2, next_process_at=1678902000000
        )
        body = qstash.get(f"/v1/tasks/{task_id}").json()
        assert (body["state"], body["completedAt"], body["nextProcessAt"]) == (
            "processing",
            1678901123456,
            1678902000000,
        )

    def test_fields_can_be_laid_over(self, sandbox, qstash):
        task_id = sandbox.qstash.add_task(extra={"lastErrorAt": None, "completedAt": ""})
        body = qstash.get(f"/v1/tasks/{task_id}").json()
        assert (body["lastErrorAt"], body["completedAt"]) == (None, "")

    def test_task_follows_reads_and_commands(self, sandbox, qstash):
        task_id = sandbox.qstash.add_task(script=["created", "active"], advance_after_reads=1)
        seen = [qstash.get(f"/v1/tasks/{task_id}").json()["state"] for _ in range(2)]
        sandbox.qstash.set_status(task_id, "CANCELLED")
        assert [*seen, qstash.get(f"/v1/tasks/{task_id}").json()["state"]] == [
            "created",
            "active",
            "CANCELLED",
        ]


class TestMessageTasks:
    def test_list_sends_counts_as_integers_and_an_empty_error(self, sandbox, qstash):
        sandbox.qstash.add_task("tsk_1")
        body = qstash.get("/v1/messages/msg_1/tasks").json()
        assert body == {
            "tasks": [
                {
                    "taskId": "tsk_1",
                    "messageId": "msg_1",
                    "state": "active",
                    "url": "https://example.com/hook",
                    "maxRetry": 3,
                    "retried": 0,
                    "lastErrorAt": 0,
                    "error": "",
                }
            ]
        }

    def test_list_shows_the_tasks_of_that_message_newest_first(self, sandbox, qstash):
        for number in range(3):
            sandbox.qstash.add_task(f"tsk_{number}")
        sandbox.qstash.add_task("tsk_other", "msg_2")
        body = qstash.get("/v1/messages/msg_1/tasks").json()
        assert [task["taskId"] for task in body["tasks"]] == ["tsk_2", "tsk_1", "tsk_0"]

    @pytest.mark.parametrize("count", [100, 101, 250])
    def test_pages_of_100_show_each_task_once(self, sandbox, qstash, count):
        ids = [
            sandbox.qstash.add_task(created_at=START_MS if number % 2 else None) for number in range(count)
        ]
        seen, cursor = [], None
        while True:
            body = qstash.get("/v1/messages/msg_1/tasks", cursor=cursor).json()
            seen += [task["taskId"] for task in body["tasks"]]
            cursor = body.get("cursor")
            if not cursor:
                break
            assert len(body["tasks"]) == 100
        assert len(seen) == count
        assert set(seen) == set(ids)

    @pytest.mark.parametrize("end", [None, 0, "0", ""], ids=repr)
    def test_end_can_be_spelled_in_every_form(self, sandbox, qstash, end):
        sandbox.qstash.add_task()
        sandbox.settings.update({"cursor_end": end})
        body = qstash.get("/v1/messages/msg_1/tasks").json()
        assert "cursor" in body
        assert body["cursor"] == end
        assert type(body["cursor"]) is type(end)

    @pytest.mark.parametrize("cursor", ["0", ""])
    def test_cursor_that_meant_the_end_starts_over(self, sandbox, qstash, cursor):
        sandbox.qstash.add_task()
        assert len(qstash.get("/v1/messages/msg_1/tasks", cursor=cursor).json()["tasks"]) == 1

    def test_cursor_that_is_no_number_is_refused(self, sandbox, qstash):
        sandbox.qstash.add_task()
        assert qstash.get("/v1/messages/msg_1/tasks", cursor="x").status_code == 400

    def test_message_outlives_its_tasks(self, sandbox, qstash):
        sandbox.qstash.delete_task(sandbox.qstash.add_task())
        assert qstash.get("/v1/messages/msg_1/tasks").json() == {"tasks": []}


class TestRateLimit:
    def test_rate_limit_says_when_the_burst_window_ends(self, sandbox, qstash):
        sandbox.settings.rate_limits = {"qstash.logs": 1}
        qstash.get("/v2/logs")
        answer = qstash.get("/v2/logs")
        assert answer.status_code == 429
        assert answer.json() == {"error": "rate limit exceeded"}
        assert answer.headers["Burst-RateLimit-Limit"] == "1"
        assert answer.headers["Burst-RateLimit-Remaining"] == "0"
        assert answer.headers["Burst-RateLimit-Reset"] == str(START_MS // 1000 + 60)
