"""The page of the sandbox: a file that never changes, and the JSON that it draws."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import remote_tasks_sandbox
from remote_tasks_sandbox.control import connection_strings

STATIC = Path(remote_tasks_sandbox.__file__).parent / "static"


def page(client, path="/"):
    """Return the JSON of a page."""
    return client.get("/_sandbox/page", path=path).json()


def rows(client, name, path="/"):
    """Return the rows of a table of a page."""
    return page(client, path)["tables"][name]["rows"]


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
    def test_empty_sandbox_has_empty_tables(self, anyone):
        shown = page(anyone)
        assert shown["refresh"] is True
        assert {name: table["rows"] for name, table in shown["tables"].items()} == {
            **{"manus": [], "qstash": [], "qstash_messages": [], "dead_letters": [], "faults": []},
            "manus_webhooks": [],
            "workflow_runs": [],
            "requests": [],
        }

    def test_overview_shows_tasks_faults_and_requests(self, sandbox, anyone, manus):
        sandbox.manus.add_task("one", title="Count", script=[("running", 14), ("completed", None)])
        sandbox.qstash.add_task("tsk_1", "msg_7", script=["active"])
        sandbox.faults.add("status", path="/qstash/*", times=3, status=503)
        manus.get("/v1/tasks/one")
        sandbox.clock.advance(4)
        (task,) = rows(anyone, "manus")
        assert (task["title"], task["status"], task["reads"]) == ("Count", "running", 1)
        assert task["changes_at"] - page(anyone)["now"] == 10
        assert rows(anyone, "qstash")[0]["message_id"] == "msg_7"
        assert rows(anyone, "faults")[0]["kind"] == "status"
        assert rows(anyone, "requests")[0]["path"] == "/manus/v1/tasks/one"

    def test_overview_names_the_connections_without_a_key(self, server, sandbox, anyone):
        sandbox.settings.update({"manus_key": "sk-mine"})
        assert f'"host":"{server.manus_url}","password":"..."' in page(anyone)["connections"][0]
        secrets = sandbox.settings.secrets()
        assert not [one for one in secrets if one in anyone.get("/_sandbox/page", path="/").text]
        assert '"password":"sk-mine"' in connection_strings(sandbox)[0]

    @pytest.mark.parametrize("name", ["manus", "qstash_messages"])
    def test_table_has_the_newest_hundred(self, sandbox, anyone, name):
        for number in range(150):
            sandbox.manus.add_task(f"id-{number:03}")
            sandbox.qstash.add_message(f"id-{number:03}")
        table = page(anyone)["tables"][name]
        assert (len(table["rows"]), table["total"]) == (100, 150)
        assert table["rows"][0]["id"] == "id-149"

    def test_page_does_not_count_as_a_read(self, sandbox, anyone):
        task_id = sandbox.manus.add_task(script=["running", "completed"], advance_after_reads=1)
        page(anyone)
        page(anyone, f"/manus/app/{task_id}")
        assert sandbox.manus.get(task_id).reads == 0

    def test_waiting_task_says_what_it_asks(self, sandbox, anyone):
        sandbox.manus.add_task(script=["waiting"], waiting="gmailSendAction")
        assert rows(anyone, "manus")[0]["asks"] == "gmailSendAction"

    def test_message_says_where_it_comes_from(self, sandbox, anyone):
        sandbox.qstash.plan_delivery("*", [500])
        headers = {
            "Upstash-Retries": "0",
            "Upstash-Label": "a,b",
            "Upstash-Failure-Callback": "https://cb.example/",
        }
        (message_id,) = sandbox.qstash.publish("https://example.com/hook", headers=headers, queue="my-queue")
        message = next(one for one in rows(anyone, "qstash_messages") if one["id"] == message_id)
        (callback,) = (one for one in rows(anyone, "qstash_messages") if one["callback_of"])
        assert (message["state"], message["queue"], message["labels"]) == ("FAILED", "my-queue", "a, b")
        assert callback["callback_of"] == message_id
        assert rows(anyone, "dead_letters")[0]["messageId"] in (message_id, callback["id"])


class TestTaskPage:
    def test_page_is_where_the_task_url_leads(self, sandbox, anyone, manus):
        sandbox.manus.add_task("a/b", prompt="2 + 2?", answer="4", script=["completed"], files=["note.md"])
        url = manus.get("/v1/tasks/a%2Fb").json()["metadata"]["task_url"]
        assert anyone.session.get(url, timeout=10).status_code == 200
        shown = page(anyone, "/manus/app/a/b")
        user, assistant = shown["messages"]
        assert (user["role"], user["content"][0]["text"]) == ("user", "2 + 2?")
        assert (assistant["content"][0]["text"], assistant["content"][1]["fileName"]) == ("4", "note.md")
        assert shown["refresh"] is False

    def test_page_says_why_a_task_failed(self, sandbox, anyone):
        task_id = sandbox.manus.add_task(script=["failed"], error="No login")
        assert page(anyone, f"/manus/app/{task_id}")["failure"] == "No login"

    def test_page_says_how_to_answer_a_question(self, sandbox, anyone):
        task_id = sandbox.manus.add_task(script=["waiting"], question="Which day?")
        shown = page(anyone, f"/manus/app/{task_id}")
        assert shown["messages"][-1]["content"][0]["text"] == "Which day?"
        assert shown["waits_for"]["type"] == "messageAskUser"
        assert f'/manus/v2/task.sendMessage {{"task_id": "{task_id}"' in shown["waits_for"]["request"]
        assert shown["refresh"] is True

    def test_page_says_how_to_confirm_an_action_and_what_was_received(self, sandbox, anyone, manus_v2):
        question = {"type": "videoGenerate", "event_id": "evt_9", "unconfirmed": 1}
        task_id = sandbox.manus.add_task(script=["waiting"], waiting=question)
        body = {"task_id": task_id, "event_id": "evt_9", "input": {"choice": "premium"}}
        manus_v2.write("task.confirmAction", **body)
        manus_v2.write("task.sendMessage", task_id=task_id, message={"content": "Hurry"})
        waits = page(anyone, f"/manus/app/{task_id}")["waits_for"]
        assert "premium" in str(waits["schema"])
        assert "task.confirmAction" in waits["request"]
        assert "evt_9" in waits["request"]
        first, second = rows(anyone, "received", f"/manus/app/{task_id}")
        assert (first["kind"], first["confirmed"], first["input"]) == ("confirmation", False, body["input"])
        assert (second["kind"], second["text"]) == ("message", "Hurry")
