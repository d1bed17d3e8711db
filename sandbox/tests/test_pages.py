from __future__ import annotations

import re

EVIL = "<script>alert('x')</script>\"&"


class TestOverview:
    def test_an_empty_sandbox_says_how_to_fill_it(self, anyone):
        answer = anyone.get("/")
        assert answer.status_code == 200
        assert "POST /_sandbox/manus/tasks" in answer.text

    def test_shows_tasks_faults_requests_and_connections(self, server, sandbox, anyone, manus):
        sandbox.manus.add_task("one", title="Count", script=[("running", 14), ("completed", None)])
        sandbox.manus.add_task("two", script=["running", "completed"], advance_after_reads=2)
        sandbox.qstash.add_task("tsk_1", "msg_7", script=["active"])
        sandbox.faults.add("status", path="/qstash/*", times=3, status=503)
        manus.get("/v1/tasks/one")
        sandbox.clock.advance(4)
        page = anyone.get("/").text
        for text in ("Count", "completed in 10 s", "completed after 2 reads", "msg_7", "stays", "4 s ago"):
            assert text in page
        assert "0 of 3" in page
        assert "GET /manus/v1/tasks/one" in page
        assert f'AIRFLOW_CONN_MANUS_DEFAULT=\'{{"conn_type":"manus","host":"{server.manus_url}"' in page
        assert '"password":"sandbox-token"}\'' in page

    def test_whatever_a_client_sends_is_escaped(self, sandbox, anyone, manus):
        sandbox.manus.add_task(EVIL, title=EVIL, script=[(EVIL, 5), (EVIL, None)], error=EVIL)
        sandbox.qstash.add_task(EVIL + "q", EVIL, url=EVIL, script=[(EVIL, None)])
        sandbox.faults.add("status", path=EVIL, method=EVIL, task_id=EVIL)
        manus.call("GET", "/v1/tasks/" + EVIL, params={EVIL: EVIL})
        page = anyone.get("/").text
        assert "<script" not in page.lower()
        assert "&lt;script&gt;" in page

    def test_needs_nothing_from_elsewhere(self, anyone):
        answer = anyone.get("/")
        assert not re.findall(r'(?:src|href)="(?!/|data:)', answer.text)
        assert "default-src 'none'" in answer.headers["content-security-policy"]

    def test_refreshes_by_itself_unless_told_not_to(self, anyone):
        assert 'http-equiv="refresh"' in anyone.get("/").text
        assert 'http-equiv="refresh"' not in anyone.get("/", refresh="off").text

    def test_stays_short_with_many_tasks(self, sandbox, anyone):
        for number in range(150):
            sandbox.manus.add_task(f"task-{number:03}")
        page = anyone.get("/").text
        assert "and 50 older" in page
        assert "task-149" in page
        assert "task-049" not in page

    def test_looking_is_not_reading(self, sandbox, anyone):
        task_id = sandbox.manus.add_task(script=["running", "completed"], advance_after_reads=1)
        anyone.get("/")
        anyone.get(f"/manus/app/{task_id}")
        assert sandbox.manus.get(task_id).reads == 0

    def test_shows_what_was_created_through_the_api_and_what_it_asks(self, sandbox, anyone, manus_v2):
        sandbox.manus.add_task("by-hand")
        sandbox.manus.plan(script=["waiting"], waiting="gmailSendAction")
        manus_v2.create()
        page = anyone.get("/").text
        assert page.count("created through v2") == 1
        assert "asks: gmailSendAction" in page

    def test_an_error_is_the_end_to_manus_and_an_attempt_to_qstash(self, sandbox, anyone):
        sandbox.manus.add_task(script=["error"])
        sandbox.qstash.add_task(script=["error"])
        page = anyone.get("/").text
        assert page.count('<span class="chip bad">error</span>') == 1
        assert page.count('<span class="chip wait">error</span>') == 1


class TestTaskPage:
    def test_is_where_the_task_url_leads(self, sandbox, anyone, manus):
        task_id = sandbox.manus.add_task(
            "a/b", prompt="2 + 2?", answer="4", script=["completed"], files=["note.md"]
        )
        url = manus.get("/v1/tasks/a%2Fb").json()["metadata"]["task_url"]
        page = anyone.session.get(url, timeout=10).text
        for text in (task_id, "2 + 2?", "<p>4</p>", "note.md"):
            assert text in page

    def test_shows_why_a_task_failed(self, sandbox, anyone):
        task_id = sandbox.manus.add_task(script=["failed"], error="No login")
        assert "No login" in anyone.get(f"/manus/app/{task_id}").text

    def test_shows_how_to_answer_a_question(self, sandbox, anyone):
        task_id = sandbox.manus.add_task(script=["waiting"], question="Which day?")
        page = anyone.get(f"/manus/app/{task_id}").text
        for text in ("Which day?", "Waits for messageAskUser", "/manus/v2/task.sendMessage", task_id):
            assert text in page
        assert 'http-equiv="refresh"' in page

    def test_shows_how_to_confirm_an_action_and_what_was_received(self, sandbox, anyone, manus_v2):
        ask = {"type": "videoGenerate", "event_id": "evt_9", "unconfirmed": 1}
        task_id = sandbox.manus.add_task(script=["waiting"], waiting=ask)
        body = {"task_id": task_id, "event_id": "evt_9", "input": {"choice": "premium"}}
        manus_v2.tell("task.confirmAction", **body)
        manus_v2.tell("task.sendMessage", task_id=task_id, message={"content": EVIL})
        page = anyone.get(f"/manus/app/{task_id}").text
        for text in ("Waits for videoGenerate", "evt_9", "/manus/v2/task.confirmAction", "not used"):
            assert text in page
        assert "<script" not in page.lower()

    def test_escapes_the_conversation(self, sandbox, anyone):
        files = [{"name": EVIL}]
        sandbox.manus.add_task("one", title=EVIL, prompt=EVIL, answer=EVIL, script=["completed"], files=files)
        assert "<script" not in anyone.get("/manus/app/one").text

    def test_an_unknown_task_has_no_page(self, anyone):
        assert anyone.get("/manus/app/nobody").status_code == 404
