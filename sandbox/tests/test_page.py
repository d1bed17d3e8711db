"""The page of the sandbox: a file that never changes, and the JSON that it draws."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import remote_tasks_sandbox
from remote_tasks_sandbox.page import connection_strings

STATIC = Path(remote_tasks_sandbox.__file__).parent / "static"


def page(client, path="/"):
    """Return the JSON of a page, its tables and other titled blocks by their titles."""
    shown = client.get("/_sandbox/page", path=path).json()
    return shown | {block["title"]: block for block in shown["blocks"] if "title" in block}


def texts(value):
    """Return every text in a JSON value."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [text for one in inner for text in texts(one)]
    return [str(value)]


class TestFiles:
    @pytest.mark.parametrize("path", ["/", "/manus/app/one"])
    def test_page_is_the_same_file_everywhere(self, sandbox, anyone, path):
        sandbox.manus.add_task("one")
        answer = anyone.get(path)
        assert answer.status_code == 200
        assert answer.content == (STATIC / "page.html").read_bytes()

    def test_page_needs_nothing_from_elsewhere(self, anyone):
        answer = anyone.get("/")
        addresses = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
        assert all(address.startswith(("/", "data:")) for address in addresses)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        for address in addresses:
            if address.startswith("/"):
                assert anyone.get(address).status_code == 200

    def test_script_writes_text_and_never_html(self):
        script = (STATIC / "page.js").read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval", script)

    @pytest.mark.parametrize("name", ["nothing.js", "../page.py", "%2e%2e/page.py", ""])
    def test_unlisted_files_are_not_served(self, anyone, name):
        assert anyone.get(f"/_sandbox/static/{name}").status_code == 404

    @pytest.mark.parametrize("path", ["/manus/app/nobody", "/qstash/app/x", "/nothing", "/manus"])
    def test_unknown_page_answers_404(self, anyone, path):
        assert anyone.get(path).status_code == 404
        assert anyone.get("/_sandbox/page", path=path).status_code == 404


class TestOverview:
    def test_empty_sandbox_says_how_to_fill_it(self, anyone):
        shown = page(anyone)
        assert "POST /_sandbox/manus/tasks" in shown["Manus tasks"]["empty"]
        assert shown["refresh"] is True

    def test_overview_shows_tasks_faults_and_requests(self, sandbox, anyone, manus):
        sandbox.manus.add_task("one", title="Count", script=[("running", 14), ("completed", None)])
        sandbox.manus.add_task("two", script=["running", "completed"], advance_after_reads=2)
        sandbox.qstash.add_task("tsk_1", "msg_7", script=["active"])
        sandbox.faults.add("status", path="/qstash/*", times=3, status=503)
        manus.get("/v1/tasks/one")
        sandbox.clock.advance(4)
        shown = page(anyone)
        (two, one) = shown["Manus tasks"]["rows"]
        assert one[0] == {"text": "running", "tone": "busy"}
        assert one[1] == {"text": "Count", "href": "/manus/app/one", "notes": ["one"]}
        assert one[2:] == ["4 s", {"text": "completed in 10 s", "percent": 29}, "4 s ago", "1"]
        assert two[3]["text"] == "completed after 2 reads"
        assert {"of msg_7", "stays"} <= set(texts(shown["QStash v1 tasks"]))
        assert "0 of 3" in texts(shown["Faults"])
        assert "GET /manus/v1/tasks/one" in texts(shown["Requests"])

    def test_overview_names_the_connections_without_a_key(self, server, sandbox, anyone):
        sandbox.settings.update({"manus_key": "sk-mine"})
        lines = page(anyone)["Connect Airflow"]["lines"]
        assert f'"host":"{server.manus_url}","password":"..."' in lines[0]
        secrets = sandbox.settings.secrets()
        assert not [one for one in secrets if one in anyone.get("/_sandbox/page", path="/").text]
        assert '"password":"sk-mine"' in connection_strings(sandbox)[0]

    def test_table_stays_short_with_many_tasks(self, sandbox, anyone):
        for number in range(150):
            sandbox.manus.add_task(f"task-{number:03}")
        table = page(anyone)["Manus tasks"]
        assert (len(table["rows"]), table["total"]) == (100, 150)
        assert table["rows"][0][1]["notes"] == ["task-149"]

    def test_page_does_not_count_as_a_read(self, sandbox, anyone):
        task_id = sandbox.manus.add_task(script=["running", "completed"], advance_after_reads=1)
        page(anyone)
        page(anyone, f"/manus/app/{task_id}")
        assert sandbox.manus.get(task_id).reads == 0

    def test_task_created_through_the_api_says_so_and_what_it_asks(self, sandbox, anyone, manus_v2):
        sandbox.manus.add_task("by-hand")
        sandbox.manus.plan(script=["waiting"], waiting="gmailSendAction")
        manus_v2.create()
        found = texts(page(anyone)["Manus tasks"])
        assert found.count("created through v2") == 1
        assert "asks: gmailSendAction" in found

    def test_error_is_the_end_to_manus_and_an_attempt_to_qstash(self, sandbox, anyone):
        sandbox.manus.add_task(script=["error"])
        sandbox.qstash.add_task(script=["error"])
        shown = page(anyone)
        assert shown["Manus tasks"]["rows"][0][0] == {"text": "error", "tone": "bad"}
        assert shown["QStash v1 tasks"]["rows"][0][0] == {"text": "error", "tone": "wait"}

    def test_message_says_where_it_comes_from(self, sandbox, anyone):
        sandbox.qstash.plan_delivery("*", [500])
        headers = {
            "Upstash-Retries": "0",
            "Upstash-Label": "mine",
            "Upstash-Failure-Callback": "https://cb.example/",
        }
        hook = "https://example.com/hook"
        (message_id,) = sandbox.qstash.publish(hook, headers=headers, queue="my-queue")
        found = texts(page(anyone)["QStash messages"])
        (dlq_message, *_) = sandbox.qstash.dlq_messages
        assert {"FAILED", "bad", f"POST {hook}", message_id, "in queue my-queue", "labels mine"} <= set(found)
        assert {f"dead letter {dlq_message.id}", f"calls back for {message_id}"} <= set(found)


class TestTaskPage:
    def test_page_is_where_the_task_url_leads(self, sandbox, anyone, manus):
        sandbox.manus.add_task("a/b", prompt="2 + 2?", answer="4", script=["completed"], files=["note.md"])
        url = manus.get("/v1/tasks/a%2Fb").json()["metadata"]["task_url"]
        assert anyone.session.get(url, timeout=10).status_code == 200
        shown = page(anyone, "/manus/app/a/b")
        (talk,) = [block["messages"] for block in shown["blocks"] if "messages" in block]
        assert [one["role"] for one in talk] == ["user", "assistant"]
        assert (talk[0]["parts"], talk[1]["parts"][0]) == (["2 + 2?"], "4")
        assert talk[1]["parts"][1]["text"] == "note.md"
        assert shown["refresh"] is False

    def test_page_says_why_a_task_failed(self, sandbox, anyone):
        task_id = sandbox.manus.add_task(script=["failed"], error="No login")
        assert {"failure": "No login"} in page(anyone, f"/manus/app/{task_id}")["blocks"]

    def test_page_says_how_to_answer_a_question(self, sandbox, anyone):
        task_id = sandbox.manus.add_task(script=["waiting"], question="Which day?")
        shown = page(anyone, f"/manus/app/{task_id}")
        assert "Which day?" in texts(shown)
        (request,) = shown["Waits for messageAskUser"]["lines"]
        assert "/manus/v2/task.sendMessage" in request
        assert task_id in request
        assert shown["refresh"] is True

    def test_page_says_how_to_confirm_an_action_and_what_was_received(self, sandbox, anyone, manus_v2):
        question = {"type": "videoGenerate", "event_id": "evt_9", "unconfirmed": 1}
        task_id = sandbox.manus.add_task(script=["waiting"], waiting=question)
        body = {"task_id": task_id, "event_id": "evt_9", "input": {"choice": "premium"}}
        manus_v2.write("task.confirmAction", **body)
        manus_v2.write("task.sendMessage", task_id=task_id, message={"content": "Hurry"})
        shown = page(anyone, f"/manus/app/{task_id}")
        schema, request = shown["Waits for videoGenerate"]["lines"]
        assert "premium" in schema
        assert "/manus/v2/task.confirmAction" in request
        assert "evt_9" in request
        first, second = shown["Received through the API"]["rows"]
        assert first[:2] == ["confirmation not used", '{"choice": "premium"}']
        assert second[:2] == ["message", "Hurry"]
