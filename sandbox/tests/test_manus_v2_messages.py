"""What happens to a task, as Manus v2's events tell it, and how a client answers one that waits."""

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


def send(manus_v2, task_id, content="Go on", **body):
    return manus_v2.write("task.sendMessage", task_id=task_id, message={"content": content}, **body)


def confirm(manus_v2, task_id, given=None, event_id="evt_1"):
    fields = {"task_id": task_id, "event_id": event_id}
    return manus_v2.write("task.confirmAction", **fields if given is None else {**fields, "input": given})


def last_status(manus_v2, task_id):
    updates = [one["status_update"] for one in manus_v2.events(task_id) if one["type"] == "status_update"]
    return updates[-1]


class TestEvents:
    def test_events_tell_a_task_from_prompt_to_answer(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(prompt="2 + 2?", answer="4", script=[("running", 5.5), "stopped"])
        sandbox.clock.advance(6)
        events = manus_v2.events(task_id)
        assert [event["type"] for event in events] == [
            "user_message",
            "status_update",
            "assistant_message",
            "status_update",
        ]
        assert events[0]["user_message"] == {"content": "2 + 2?", "message_type": "text", "attachments": []}
        assert events[2]["assistant_message"] == {"content": "4", "attachments": []}
        assert events[3]["status_update"]["agent_status"] == "stopped"
        assert len({event["id"] for event in events}) == 4

    def test_events_are_stamped_in_milliseconds(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=[("running", 5.5), "stopped"])
        sandbox.clock.advance(6)
        stamps = [event["timestamp"] for event in manus_v2.events(task_id)]
        assert stamps == [START * 1000, START * 1000, START * 1000 + 5500, START * 1000 + 5500]

    def test_events_come_newest_first_unless_asked_otherwise(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=["stopped"])
        newest_first = manus_v2.read("task.listMessages", task_id=task_id).json()
        assert newest_first["messages"] == manus_v2.events(task_id)[::-1]
        assert (newest_first["task_id"], newest_first["has_more"]) == (task_id, False)

    @pytest.mark.parametrize("order", ["asc", "desc"])
    def test_events_come_in_pages(self, sandbox, manus_v2, order):
        task_id = sandbox.manus.add_task(progress=[f"Step {number}" for number in range(9)])
        seen, cursor = [], None
        while True:
            page = manus_v2.read(
                "task.listMessages", task_id=task_id, limit=4, cursor=cursor, order=order
            ).json()
            seen += page["messages"]
            if not page["has_more"]:
                break
            cursor = page["next_cursor"]
        assert seen == manus_v2.read("task.listMessages", task_id=task_id, order=order).json()["messages"]
        assert len(seen) == 11

    def test_events_that_come_meanwhile_do_not_disturb_the_pages(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(progress=["a", "b", "c"])
        first = manus_v2.read("task.listMessages", task_id=task_id, limit=2).json()
        sandbox.clock.advance(5)
        rest = manus_v2.read("task.listMessages", task_id=task_id, cursor=first["next_cursor"]).json()
        said = [one["assistant_message"]["content"] for one in first["messages"]]
        assert said == ["c", "b"]
        assert rest["messages"][0]["assistant_message"]["content"] == "a"
        assert len(rest["messages"]) == 3

    def test_events_come_fifty_a_page(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(progress=["x"] * 60)
        assert len(manus_v2.read("task.listMessages", task_id=task_id).json()["messages"]) == 50
        assert len(manus_v2.read("task.listMessages", task_id=task_id, limit=200).json()["messages"]) == 62

    def test_verbose_adds_plan_and_tool_events(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task()
        assert manus_v2.types(task_id, verbose="true") == [
            "user_message",
            "status_update",
            "plan_update",
            "tool_used",
        ]
        assert manus_v2.types(task_id, verbose="false") == ["user_message", "status_update"]

    def test_error_stands_in_an_event_and_not_in_the_task(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=["failed"], error="No login")
        events = manus_v2.events(task_id)
        assert events[1]["error_message"] == {"error_type": "agent_error", "content": "No login"}
        assert events[2]["status_update"]["agent_status"] == "error"
        assert "No login" not in str(manus_v2.task(task_id))

    def test_progress_and_result_are_told_apart_where_a_test_sets_progress(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(progress=["Looking"], script=[("running", 1), "stopped"])
        sandbox.clock.advance(1)
        said = [one["assistant_message"] for one in manus_v2.events(task_id) if "assistant_message" in one]
        assert [(one["content"], one["delivery_kind"]) for one in said] == [
            ("Looking", "progress"),
            ("Done.", "result"),
        ]

    def test_files_have_signed_addresses_that_work_without_a_key(self, sandbox, manus_v2):
        files = [{"name": "a b.csv", "content": "x,y\n"}, "plot.png", {"name": "big.bin", "size": 100_000}]
        task_id = sandbox.manus.add_task(script=["stopped"], files=files)
        found = manus_v2.events(task_id)[1]["assistant_message"]["attachments"]
        assert [(one["type"], one["filename"], one["content_type"]) for one in found] == [
            ("file", "a b.csv", "text/csv"),
            ("image", "plot.png", "image/png"),
            ("file", "big.bin", "application/octet-stream"),
        ]
        assert requests.get(found[0]["url"], timeout=10).text == "x,y\n"
        assert len(requests.get(found[2]["url"], timeout=10).content) == 100_000

    def test_address_that_has_expired_is_signed_again(self, sandbox, manus, manus_v2):
        task_id = sandbox.manus.add_task(script=["stopped"], files=["a.csv"])

        def addresses():
            v1 = manus.get(f"/v1/tasks/{task_id}").json()["output"][-1]["content"][1]["fileUrl"]
            v2 = manus_v2.events(task_id)[1]["assistant_message"]["attachments"][0]["url"]
            return [v1, v2]

        first = addresses()
        for seconds, codes in ((1799, [200, 200]), (1802, [403, 403])):
            sandbox.clock.advance(seconds)
            assert [requests.get(url, timeout=10).status_code for url in first] == codes
        assert [requests.get(url, timeout=10).status_code for url in addresses()] == [200, 200]

    def test_events_of_unknown_kinds_can_be_added(self, sandbox, manus_v2):
        raw = [{"type": "hologram", "hologram": {"size": 3}}, {"id": "mine", "type": None, "timestamp": "x"}]
        task_id = sandbox.manus.add_task(extra_events=raw)
        hologram, odd = manus_v2.events(task_id)[1:3]
        assert (hologram["hologram"], hologram["timestamp"]) == ({"size": 3}, START * 1000)
        assert odd == {"id": "mine", "type": None, "timestamp": "x"}

    @pytest.mark.parametrize(
        "params",
        [{"limit": 0}, {"limit": 201}, {"order": "up"}, {"slides_format": "pdf"}, {"verbose": "maybe"}],
        ids=str,
    )
    def test_bad_parameters_are_invalid_arguments(self, sandbox, manus_v2, params):
        task_id = sandbox.manus.add_task()
        answer = manus_v2.read("task.listMessages", task_id=task_id, **params)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_argument")

    def test_unknown_task_has_no_events(self, manus_v2):
        assert manus_v2.read("task.listMessages", task_id="nobody").status_code == 404

    def test_faults_repeat_the_cursor_and_delay_the_output(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=[("running", 1), "stopped"])
        sandbox.clock.advance(1)
        sandbox.faults.add("lag", times=1)
        assert manus_v2.types(task_id) == ["user_message", "status_update"]
        sandbox.faults.add("repeat_cursor")
        first = manus_v2.read("task.listMessages", task_id=task_id, limit=1).json()
        again = manus_v2.read(
            "task.listMessages", task_id=task_id, limit=1, cursor=first["next_cursor"]
        ).json()
        assert (again["messages"], again["next_cursor"]) == (first["messages"], first["next_cursor"])


class TestQuestion:
    def test_question_is_said_by_the_agent_and_named_in_the_status(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=["waiting"], question="Which day?")
        assert manus_v2.task(task_id)["status"] == "waiting"
        assert manus_v2.events(task_id)[1]["assistant_message"]["content"] == "Which day?"
        detail = last_status(manus_v2, task_id)["status_detail"]
        event_id = detail.pop("waiting_for_event_id")
        assert event_id.startswith("evt_")
        assert detail == {
            "waiting_for_event_type": "messageAskUser",
            "waiting_description": "Which day?",
        }

    def test_question_is_answered_with_a_message(self, sandbox, manus_v2):
        steps = [("waiting", None), ("running", 7), ("stopped", None)]
        task_id = sandbox.manus.add_task(script=steps, question="Which day?", answer="Booked.")
        assert send(manus_v2, task_id, "Monday").json()["task_id"] == task_id
        assert manus_v2.task(task_id)["status"] == "running"
        sandbox.clock.advance(7)
        said = [one.get("user_message", one.get("assistant_message")) for one in manus_v2.events(task_id)]
        assert [one["content"] for one in said if one][1:] == ["Which day?", "Monday", "Booked."]

    def test_answer_is_kept(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=["waiting"])
        send(manus_v2, task_id, "Monday")
        (received,) = sandbox.manus.answers(task_id)
        assert (received.kind, received.version, received.text) == ("message", "v2", "Monday")
        assert received.body == {"task_id": task_id, "message": {"content": "Monday"}}

    def test_question_cannot_be_confirmed(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(waiting={"event_id": "evt_1"}, script=["waiting"])
        answer = confirm(manus_v2, task_id, {"accept": True})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_argument")
        assert manus_v2.task(task_id)["status"] == "waiting"
        assert sandbox.manus.answers(task_id) == []

    def test_question_may_come_with_options(self, sandbox, manus_v2):
        ask = {"description": "Which?", "options": ["a", "b"], "multiple": True}
        task_id = sandbox.manus.add_task(waiting=ask, script=["waiting"])
        assert manus_v2.events(task_id)[1]["assistant_message"]["question_expectation"] == {
            "response_method": "send_message",
            "selection_mode": "multiple",
            "options": ["a", "b"],
        }

    def test_questions_are_asked_one_after_another(self, sandbox, manus_v2):
        script = [("waiting", None), ("running", 1), ("waiting", None), ("stopped", None)]
        task_id = sandbox.manus.add_task(
            script=script, waiting=[{"description": "First?"}, {"type": "gmailSendAction", "event_id": "e2"}]
        )
        first = last_status(manus_v2, task_id)["status_detail"]
        send(manus_v2, task_id)
        sandbox.clock.advance(1)
        second = last_status(manus_v2, task_id)["status_detail"]
        assert (first["waiting_description"], second["waiting_for_event_id"]) == ("First?", "e2")
        assert confirm(manus_v2, task_id, {"accept": True}, "e2").json()["confirmed"] is True
        assert manus_v2.task(task_id)["status"] == "stopped"


class TestMessage:
    def test_message_wakes_a_finished_task(self, sandbox, manus_v2):
        for word in ("stopped", "error"):
            task_id = sandbox.manus.add_task(script=[word])
            send(manus_v2, task_id)
            assert manus_v2.task(task_id)["status"] == "running"
            sandbox.clock.advance(2)
            assert manus_v2.task(task_id)["status"] == "stopped"

    def test_message_changes_nothing_while_the_agent_works(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=[("running", 5), "stopped"])
        send(manus_v2, task_id)
        sandbox.clock.advance(4)
        assert manus_v2.task(task_id)["status"] == "running"
        sandbox.clock.advance(1)
        assert manus_v2.task(task_id)["status"] == "stopped"

    def test_message_does_not_stand_in_for_a_confirmation(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(waiting="gmailSendAction", script=["waiting"])
        assert send(manus_v2, task_id, "Yes").status_code == 200
        assert manus_v2.task(task_id)["status"] == "waiting"
        assert len(sandbox.manus.answers(task_id)) == 1

    def test_message_may_change_the_profile(self, manus_v2):
        task_id = manus_v2.create()
        send(manus_v2, task_id, agent_profile="manus-1.6-lite")
        assert manus_v2.task(task_id)["agent_profile"] == "manus-1.6-lite"

    def test_connectors_are_not_cleared_and_named_at_once(self, manus_v2):
        task_id = manus_v2.create()
        message = {"content": "x", "connectors": ["7d1c2f5e-3a4b-4c6d-8e9f-0a1b2c3d4e5f"]}
        answer = manus_v2.write("task.sendMessage", task_id=task_id, message=message, clear_connectors=True)
        assert answer.status_code == 400

    def test_message_is_checked_like_a_prompt(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task()
        for content in ("", "x" * 20_001):
            assert send(manus_v2, task_id, content).status_code == 400
        assert send(manus_v2, task_id, structured_output_schema={"type": "array"}).status_code == 400
        assert send(manus_v2, "nobody").status_code == 404
        assert sandbox.manus.answers(task_id) == []


class TestConfirmation:
    @pytest.fixture
    def waiting(self, sandbox):
        def add(kind, **ask):
            ask = {"type": kind, "event_id": "evt_1", **ask}
            return sandbox.manus.add_task(waiting=ask, script=[("waiting", None), ("running", 3), "stopped"])

        return add

    def test_action_shows_in_the_status_alone(self, waiting, manus_v2):
        task_id = waiting("gmailSendAction", description="Send mail to Ada")
        assert manus_v2.types(task_id) == ["user_message", "status_update"]
        detail = last_status(manus_v2, task_id)["status_detail"]
        assert detail["waiting_for_event_id"] == "evt_1"
        assert detail["waiting_for_event_type"] == "gmailSendAction"
        assert detail["waiting_description"] == "Send mail to Ada"
        assert detail["confirm_input_schema"]["properties"]["save_draft"] == {"type": "boolean"}

    @pytest.mark.parametrize(
        ("kind", "given"),
        [
            ("needConnectMyBrowser", {"action": "skip"}),
            ("needConnectMyBrowser", {"action": "select", "client_id": "browser_sandbox"}),
            ("gmailSendAction", {"accept": True, "save_draft": True}),
            ("outlookSendMailsAction", {"accept": True, "indices": [0]}),
            ("deployAction", {"accept": True, "global_allow": True}),
            ("terminalExecute", {"accept": True, "always_allow": True}),
            ("videoGenerate", {"choice": "premium"}),
            ("apiHighCreditNotice", {"action": "accept"}),
            ("googleCalendarCreate", {"accept": True}),
            ("metaMarketingAction", {"accept": True, "selectedAccountIds": ["1"]}),
            ("webdevRunAction", {"accept": True, "mode": "speed"}),
            ("webdevRequestSecrets", {"accept": True, "secrets": [{"key": "a", "value": "b"}]}),
            ("webdevRequestSecrets", {"accept": False}),
            ("mapreduceAction", {"accept": True}),
            ("somethingNew", {"accept": True}),
        ],
        ids=str,
    )
    def test_confirmation_lets_the_task_go_on(self, sandbox, waiting, manus_v2, kind, given):
        task_id = waiting(kind)
        assert confirm(manus_v2, task_id, given).json()["confirmed"] is True
        assert manus_v2.task(task_id)["status"] == "running"
        (received,) = sandbox.manus.answers(task_id)
        assert (received.event_id, received.input, received.confirmed) == ("evt_1", given, True)

    @pytest.mark.parametrize("given", [{"accept": False}, {}, None], ids=str)
    def test_confirmation_without_consent_leaves_the_task_waiting(self, waiting, manus_v2, given):
        task_id = waiting("gmailSendAction")
        assert confirm(manus_v2, task_id, given).json()["confirmed"] is False
        assert manus_v2.task(task_id)["status"] == "waiting"
        assert confirm(manus_v2, task_id, {"accept": True}).json()["confirmed"] is True

    @pytest.mark.parametrize(
        ("kind", "given"),
        [
            ("gmailSendAction", {"accept": "yes"}),
            ("gmailSendAction", {"action": "accept"}),
            ("needConnectMyBrowser", {"action": "select"}),
            ("needConnectMyBrowser", {"action": "dance"}),
            ("videoGenerate", {"choice": "cheap"}),
            ("webdevRequestSecrets", {"accept": True, "secrets": ["a"]}),
        ],
        ids=str,
    )
    def test_input_that_does_not_fit_is_an_invalid_argument(self, sandbox, waiting, manus_v2, kind, given):
        task_id = waiting(kind)
        answer = confirm(manus_v2, task_id, given)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_argument")
        assert sandbox.manus.answers(task_id) == []

    def test_schema_of_the_test_decides(self, waiting, manus_v2):
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        task_id = waiting("pickNumber", schema=schema)
        assert last_status(manus_v2, task_id)["status_detail"]["confirm_input_schema"] == schema
        assert confirm(manus_v2, task_id, {"accept": True}).status_code == 400
        assert confirm(manus_v2, task_id, {"n": 3}).json()["confirmed"] is True

    def test_confirmation_may_not_be_used_though_it_fits(self, waiting, manus_v2):
        task_id = waiting("gmailSendAction", unconfirmed=1)
        answers = [confirm(manus_v2, task_id, {"accept": True}).json()["confirmed"] for _ in range(2)]
        assert answers == [False, True]

    def test_refused_credit_notice_ends_the_task(self, waiting, manus_v2):
        task_id = waiting("apiHighCreditNotice")
        assert confirm(manus_v2, task_id, {"action": "reject"}).json()["confirmed"] is True
        assert manus_v2.task(task_id)["status"] == "stopped"
        assert "assistant_message" not in manus_v2.types(task_id)

    def test_event_that_does_not_wait_is_refused(self, waiting, manus_v2):
        task_id = waiting("gmailSendAction")
        assert confirm(manus_v2, task_id, {"accept": True}, "evt_other").status_code == 400
        confirm(manus_v2, task_id, {"accept": True})
        assert confirm(manus_v2, task_id, {"accept": True}).status_code == 400

    def test_lost_answer_has_had_its_effect(self, sandbox, waiting, manus_v2):
        task_id = waiting("gmailSendAction")
        sandbox.faults.add("drop_after", path="/manus/v2/task.confirmAction", task_id=task_id)
        with pytest.raises(requests.exceptions.ConnectionError):
            confirm(manus_v2, task_id, {"accept": True})
        assert manus_v2.task(task_id)["status"] == "running"


class TestStructuredOutput:
    def results(self, manus_v2, task_id):
        kind = "structured_output_result"
        return [one[kind] for one in manus_v2.events(task_id) if one["type"] == kind]

    def test_value_that_fits_the_schema_comes_after_the_end(self, sandbox, manus_v2):
        task_id = manus_v2.create(structured_output_schema=SCHEMA)
        assert self.results(manus_v2, task_id) == []
        sandbox.clock.advance(5)
        assert self.results(manus_v2, task_id) == [
            {"success": True, "value": {"city": "sandbox city"}, "error": None}
        ]
        assert manus_v2.types(task_id)[-2:] == ["status_update", "structured_output_result"]

    def test_value_can_be_set_by_a_test(self, sandbox, manus_v2):
        sandbox.manus.plan(structured={"value": {"city": "Paris"}})
        task_id = manus_v2.create(structured_output_schema=SCHEMA)
        sandbox.clock.advance(5)
        assert self.results(manus_v2, task_id)[0]["value"] == {"city": "Paris"}

    def test_failure_comes_with_a_stand_in_that_fits(self, sandbox, manus_v2):
        sandbox.manus.plan(structured={"success": False})
        task_id = manus_v2.create(structured_output_schema=SCHEMA)
        sandbox.clock.advance(5)
        assert self.results(manus_v2, task_id) == [
            {"success": False, "value": {"city": ""}, "error": "Failed to extract structured output"}
        ]

    def test_value_set_by_a_test_comes_once_without_any_schema(self, sandbox, manus_v2):
        task_id = sandbox.manus.add_task(script=["stopped"], structured={"value": {"n": 1}})
        send(manus_v2, task_id)
        sandbox.clock.advance(2)
        assert self.results(manus_v2, task_id) == [{"success": True, "value": {"n": 1}, "error": None}]

    def test_structured_output_stays_armed_over_a_question_and_fires_once(self, sandbox, manus_v2):
        sandbox.manus.plan(script=[("waiting", None), ("running", 1), "stopped"])
        task_id = manus_v2.create(structured_output_schema=SCHEMA)
        assert self.results(manus_v2, task_id) == []
        send(manus_v2, task_id)
        sandbox.clock.advance(1)
        assert len(self.results(manus_v2, task_id)) == 1
        send(manus_v2, task_id)
        sandbox.clock.advance(2)
        assert len(self.results(manus_v2, task_id)) == 1
        send(manus_v2, task_id, structured_output_schema=SCHEMA)
        sandbox.clock.advance(2)
        assert len(self.results(manus_v2, task_id)) == 2
