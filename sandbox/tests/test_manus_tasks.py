"""What an emulated Manus task does, whichever version of the API looks at it."""

from __future__ import annotations

import pytest

START = 1_763_501_439
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


class TestTwoViews:
    @pytest.mark.parametrize(
        ("word", "v1", "v2"),
        [
            ("running", "running", "running"),
            ("pending", "pending", "waiting"),
            ("waiting", "pending", "waiting"),
            ("completed", "completed", "stopped"),
            ("stopped", "completed", "stopped"),
            ("failed", "failed", "error"),
            ("error", "error", "error"),
            ("dreaming", "dreaming", "dreaming"),
        ],
    )
    def test_version_has_its_own_status_words(self, sandbox, manus, manus_v2, word, v1, v2):
        task_id = sandbox.manus.add_task(script=[word])
        assert manus.get(f"/v1/tasks/{task_id}").json()["status"] == v1
        assert manus_v2.task(task_id)["status"] == v2

    def test_filter_of_v1_knows_tasks_by_its_own_words(self, sandbox, manus):
        sandbox.manus.add_task("one", script=["waiting"])
        sandbox.manus.add_task("two", script=["stopped"])
        assert [one["id"] for one in manus.get("/v1/tasks", status="pending").json()["data"]] == ["one"]
        assert [one["id"] for one in manus.get("/v1/tasks", status="completed").json()["data"]] == ["two"]

    def test_task_made_in_one_version_is_there_in_the_other(self, manus, manus_v2):
        new = manus_v2.create()
        old = manus.call("POST", "/v1/tasks", json={"prompt": "Count", "agentProfile": "manus-1.6"}).json()
        assert manus.get(f"/v1/tasks/{new}").json()["metadata"]["task_title"] == "Count"
        assert manus_v2.task(old["task_id"])["title"] == "Count"
        assert len(manus_v2.read("task.list").json()["data"]) == 2

    def test_message_to_one_version_shows_in_the_other(self, sandbox, manus, manus_v2):
        task_id = sandbox.manus.add_task(script=["waiting"])
        body = {"prompt": "Monday", "agentProfile": "manus-1.6", "taskId": task_id}
        manus.call("POST", "/v1/tasks", json=body)
        assert manus_v2.events(task_id)[3]["user_message"]["content"] == "Monday"

    def test_confirmation_is_no_message_of_the_user(self, sandbox, manus, manus_v2):
        ask = {"type": "gmailSendAction", "event_id": "evt_1"}
        task_id = sandbox.manus.add_task(script=["waiting"], waiting=ask)
        manus_v2.write("task.confirmAction", task_id=task_id, event_id="evt_1", input={"accept": True})
        output = manus.get(f"/v1/tasks/{task_id}").json()["output"]
        assert [message["role"] for message in output] == ["user", "assistant"]


class TestLag:
    def test_answer_files_and_result_come_after_the_end(self, sandbox, manus, manus_v2):
        task_id = sandbox.manus.add_task(
            script=[("running", 5), "stopped"],
            files=["a.csv"],
            structured={"value": {"city": "Paris"}},
            output_lag=10,
        )
        sandbox.clock.advance(14)
        assert manus_v2.task(task_id)["status"] == "stopped"
        assert manus_v2.types(task_id) == ["user_message", "status_update", "status_update"]
        assert len(manus.get(f"/v1/tasks/{task_id}").json()["output"]) == 1
        sandbox.clock.advance(1)
        assert manus_v2.types(task_id)[3:] == ["assistant_message", "structured_output_result"]
        assert manus_v2.events(task_id)[3]["timestamp"] == (START + 15) * 1000
        assert len(manus.get(f"/v1/tasks/{task_id}").json()["output"][1]["content"]) == 2


class TestBackgroundJobs:
    def test_background_jobs_are_not_mentioned_unless_a_test_sets_them(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=["stopped"])
        assert "has_running_background_jobs" not in manus_v2.task(task_id)

    def test_background_jobs_run_on_for_some_seconds_after_the_end(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=[("running", 5), "stopped"], background_jobs=10)
        seen = []
        for seconds in (0, 5, 9, 1):
            sandbox.clock.advance(seconds)
            task = manus_v2.task(task_id)
            seen.append((task["status"], task["has_running_background_jobs"]))
        assert seen == [("running", False), ("stopped", True), ("stopped", True), ("stopped", False)]


class TestCredits:
    def test_credits_are_not_mentioned_until_some_were_used(self, sandbox, manus, manus_v2):
        task_id = sandbox.manus.add_task(credits_per_second=2, script=[("running", 5), "stopped"])
        assert "credit_usage" not in manus_v2.task(task_id)
        sandbox.clock.advance(3)
        assert manus_v2.task(task_id)["credit_usage"] == 6
        assert manus.get(f"/v1/tasks/{task_id}").json()["credit_usage"] == 6
        sandbox.clock.advance(60)
        assert manus_v2.task(task_id)["credit_usage"] == 10

    def test_credits_are_used_by_running_alone(self, sandbox, manus_v2):
        script = [("running", 5), ("waiting", None), ("running", 5), "stopped"]
        task_id = sandbox.manus.add_task(credits_per_second=1, credit_usage=100, script=script)
        sandbox.clock.advance(60)
        manus_v2.write("task.sendMessage", task_id=task_id, message={"content": "Go on"})
        sandbox.clock.advance(60)
        assert manus_v2.task(task_id)["credit_usage"] == 110


class TestStoppedByUser:
    def test_stop_by_user_leaves_an_event_and_no_answer(self, sandbox, manus, manus_v2):
        task_id = sandbox.manus.add_task(script=[("running", 5), "stopped"], stopped_by_user=True)
        sandbox.clock.advance(5)
        assert manus_v2.types(task_id) == ["user_message", "status_update", "user_stop", "status_update"]
        assert len(manus.get(f"/v1/tasks/{task_id}").json()["output"]) == 1

    def test_stop_by_user_says_nothing_of_the_turns_after_it(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=[("running", 5), "stopped"], stopped_by_user=True)
        sandbox.clock.advance(5)
        manus_v2.write("task.sendMessage", task_id=task_id, message={"content": "Go on"})
        sandbox.clock.advance(2)
        assert manus_v2.types(task_id)[4:] == [
            "user_message",
            "status_update",
            "assistant_message",
            "status_update",
        ]


class TestHidden:
    def test_fresh_task_is_unknown_for_a_while(self, sandbox, manus, manus_v2):
        sandbox.manus.plan(hidden_for=10)
        task_id = manus_v2.create()

        def codes():
            return [
                manus.get(f"/v1/tasks/{task_id}").status_code,
                manus_v2.read("task.detail", task_id=task_id).status_code,
                manus_v2.read("task.listMessages", task_id=task_id).status_code,
                manus_v2.write("task.stop", task_id=task_id).status_code,
            ]

        assert codes() == [404] * 4
        assert manus.get("/v1/tasks").json() == {"object": "list"}
        assert manus_v2.read("task.list").json()["data"] == []
        sandbox.clock.advance(10)
        assert codes() == [200] * 4
        assert len(manus_v2.read("task.list").json()["data"]) == 1


class TestPlans:
    @pytest.mark.parametrize("options", [{"progress": "Working"}, {"files": "a.csv"}], ids=str)
    @pytest.mark.parametrize("way", ["plan", "add"])
    def test_text_where_a_list_is_taken_is_one_item(self, sandbox, manus_v2, options, way):
        if way == "plan":
            sandbox.manus.plan(**options)
            task_id = manus_v2.create()
        else:
            task_id = sandbox.manus.add_task(**options)
        task = sandbox.manus.get(task_id)
        assert len(task.progress or task.files) == 1

    def test_plans_are_followed_one_after_another_and_then_the_default(self, sandbox, manus_v2):
        sandbox.manus.plan(script=["failed"])
        sandbox.manus.plan(script=["waiting"])
        assert [manus_v2.task(manus_v2.create())["status"] for _ in range(3)] == [
            "error",
            "waiting",
            "running",
        ]

    def test_default_can_be_changed(self, sandbox, manus_v2):
        sandbox.manus.plan(default=True, script=["failed"])
        sandbox.manus.plan(script=["stopped"])
        assert [manus_v2.task(manus_v2.create())["status"] for _ in range(3)] == [
            "stopped",
            "error",
            "error",
        ]

    def test_plan_with_a_pattern_is_for_all_tasks_whose_prompt_fits(self, sandbox, manus_v2):
        sandbox.manus.plan(default=True, script=["waiting"])
        sandbox.manus.plan(pattern="*museum*", script=["failed"])
        sandbox.manus.plan(pattern="*Museum of Art*", script=["stopped"])

        words = [
            sandbox.manus.get(manus_v2.create(prompt)).timeline.word(sandbox.clock.now())
            for prompt in ("The MUSEUMS of Bern", "The museum of art", "The museum of art", "The weather")
        ]
        assert words == ["failed", "stopped", "stopped", "waiting"]

    def test_plan_for_the_next_task_comes_before_a_pattern(self, sandbox, manus_v2):
        sandbox.manus.plan(pattern="*", script=["failed"])
        sandbox.manus.plan(script=["stopped"])

        words = [sandbox.manus.get(manus_v2.create("x")).timeline.word(sandbox.clock.now()) for _ in range(2)]
        assert words == ["stopped", "failed"]

    def test_plans_are_for_both_versions(self, sandbox, manus):
        sandbox.manus.plan(task_id="mine", script=["failed"], error="No")
        body = manus.call("POST", "/v1/tasks", json={"prompt": "Count", "agentProfile": "manus-1.6"}).json()
        assert manus.get(f"/v1/tasks/{body['task_id']}").json()["error"] == "No"
        assert body["task_id"] == "mine"

    def test_refused_request_uses_up_none(self, sandbox, manus_v2):
        sandbox.manus.plan(script=["failed"])
        assert manus_v2.write("task.create", message={"content": ""}).status_code == 400
        assert manus_v2.task(manus_v2.create())["status"] == "error"

    def test_plan_with_waiting_alone_asks_and_then_completes(self, sandbox, manus_v2):
        sandbox.manus.plan(waiting={"description": "Which day?"})
        task_id = manus_v2.create()
        sandbox.clock.advance(2)
        assert manus_v2.task(task_id)["status"] == "waiting"
        sandbox.clock.advance(3600)
        assert manus_v2.task(task_id)["status"] == "waiting"
        manus_v2.write("task.sendMessage", task_id=task_id, message={"content": "Monday"})
        sandbox.clock.advance(2)
        assert manus_v2.task(task_id)["status"] == "stopped"

    @pytest.mark.parametrize(
        "options",
        [
            {"colour": "red"},
            {"prompt": "x"},
            {"script": []},
            {"script": [("running", None), ("stopped", None)]},
            {"waiting": 5},
            {"waiting": [5]},
            {"waiting": {"colour": "red"}},
            {"waiting": {"type": ""}},
            {"files": [{"content": "x"}]},
            {"files": [{"name": "x", "colour": "red"}]},
            {"output_lag": -1},
            {"hidden_for": "long"},
        ],
        ids=str,
    )
    def test_plan_that_makes_no_sense_is_refused_at_once(self, sandbox, options):
        with pytest.raises(ValueError, match=r"."):
            sandbox.manus.plan(**options)

    def test_reset_forgets_them(self, sandbox, manus_v2):
        sandbox.manus.plan(script=["failed"])
        sandbox.manus.plan(default=True, script=["failed"])
        manus_v2.create()
        sandbox.manus.add_project("Reports")
        sandbox.reset()
        assert sandbox.manus.created == []
        assert manus_v2.task(manus_v2.create())["status"] == "running"
        assert manus_v2.read("project.list").json()["data"] == []


class TestSteering:
    def words(self, sandbox, manus_v2, task_id, *, until=60):
        seen = []
        for _ in range(until):
            word = manus_v2.task(task_id)["status"]
            if seen[-1:] != [word]:
                seen.append(word)
            sandbox.clock.advance(1)
        return seen

    def test_title_is_made_of_the_other_lines(self, manus_v2):
        task_id = manus_v2.create("sandbox: seconds 3\nCount to ten")
        assert manus_v2.task(task_id)["title"] == "Count to ten"

    def test_prompt_without_directives_is_left_alone(self, sandbox, manus_v2):
        task_id = manus_v2.create("Tell me of a sandbox: where children play")
        assert self.words(sandbox, manus_v2, task_id) == ["running", "stopped"]

    def test_seconds_say_how_long_it_runs(self, sandbox, manus_v2):
        task_id = manus_v2.create("Count\n  Sandbox: SECONDS 3  ")
        sandbox.clock.advance(2)
        assert manus_v2.task(task_id)["status"] == "running"
        sandbox.clock.advance(1)
        assert manus_v2.task(task_id)["status"] == "stopped"

    def test_questions_and_actions_are_asked_in_turn(self, sandbox, manus_v2):
        task_id = manus_v2.create(
            "Count\nsandbox: ask Which day?\nsandbox: action gmailSendAction Mail it\nsandbox: seconds 3"
        )
        sandbox.clock.advance(1)
        event = manus_v2.events(task_id)[-1]["status_update"]["status_detail"]
        assert event["waiting_description"] == "Which day?"
        manus_v2.write("task.sendMessage", task_id=task_id, message={"content": "Monday"})
        sandbox.clock.advance(1)
        event = manus_v2.events(task_id)[-1]["status_update"]["status_detail"]
        assert (event["waiting_for_event_type"], event["waiting_description"]) == (
            "gmailSendAction",
            "Mail it",
        )
        manus_v2.write(
            "task.confirmAction",
            task_id=task_id,
            event_id=event["waiting_for_event_id"],
            input={"accept": True},
        )
        assert self.words(sandbox, manus_v2, task_id) == ["running", "stopped"]

    def test_failure_has_its_text(self, sandbox, manus, manus_v2):
        task_id = manus_v2.create("Count\nsandbox: fail No login")
        assert self.words(sandbox, manus_v2, task_id) == ["running", "error"]
        assert manus.get(f"/v1/tasks/{task_id}").json()["error"] == "No login"

    def test_stop_is_that_of_the_user(self, sandbox, manus_v2):
        task_id = manus_v2.create("Count\nsandbox: stop")
        sandbox.clock.advance(5)
        assert "user_stop" in manus_v2.types(task_id)

    def test_files_answer_and_credits(self, sandbox, manus_v2):
        task_id = manus_v2.create(
            "Count\nsandbox: files a.csv, b.md\nsandbox: answer Ten.\nsandbox: credits 50"
        )
        sandbox.clock.advance(5)
        said = manus_v2.events(task_id)[2]["assistant_message"]
        assert said["content"] == "Ten."
        assert [one["filename"] for one in said["attachments"]] == ["a.csv", "b.md"]
        assert manus_v2.task(task_id)["credit_usage"] == 50

    @pytest.mark.parametrize(
        ("order", "option", "value"),
        [
            ("burn 2", "credits_per_second", 2.0),
            ("lag 3", "output_lag", 3.0),
            ("background 4", "background_jobs", 4.0),
            ("hide 5", "hidden_for", 5.0),
        ],
    )
    def test_numbers_set_an_option(self, sandbox, manus_v2, order, option, value):
        task_id = manus_v2.create(f"Count\nsandbox: {order}")
        assert getattr(sandbox.manus.get(task_id), option) == value

    @pytest.mark.parametrize("order", ["dance", "seconds", "seconds soon", "credits -1", "action"])
    def test_mistake_in_a_directive_fails_the_task_and_names_the_line(self, sandbox, manus, manus_v2, order):
        task_id = manus_v2.create(f"Count\nsandbox: {order}")
        assert self.words(sandbox, manus_v2, task_id) == ["running", "error"]
        assert f"sandbox: {order}" in manus.get(f"/v1/tasks/{task_id}").json()["error"]

    def test_directives_change_what_was_planned(self, sandbox, manus_v2):
        sandbox.manus.plan(answer="Planned", files=["a.csv"])
        task_id = manus_v2.create("Count\nsandbox: answer Steered")
        task = sandbox.manus.get(task_id)
        assert (task.answer, len(task.files)) == ("Steered", 1)
