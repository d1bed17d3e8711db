from __future__ import annotations

import asyncio
import logging
import threading
import time

import httpx
import pytest
import requests

from remote_tasks_sandbox import Sandbox, SandboxApp, SandboxServer

DROPPED = requests.exceptions.ConnectionError


class TestMatching:
    def test_times_and_after_count_matching_calls(self, sandbox, manus):
        sandbox.faults.add("status", path="/manus/v1/tasks", times=2, after=1, status=503)
        assert [manus.get("/v1/tasks").status_code for _ in range(5)] == [200, 503, 503, 200, 200]

    def test_path_and_method_must_match(self, sandbox, manus, qstash):
        sandbox.faults.add("status", path="/manus/v1/tasks/*", method="GET", status=503)
        assert manus.get("/v1/tasks").status_code == 200
        assert manus.get("/v1/tasks/x").status_code == 503
        assert manus.call("DELETE", "/v1/tasks/x").status_code == 404
        assert qstash.get("/v2/logs").status_code == 200

    def test_task_id_limits_it_to_that_task(self, sandbox, manus):
        sandbox.faults.add("status", task_id="bad", status=500)
        assert manus.get("/v1/tasks/bad").status_code == 500
        assert manus.get("/v1/tasks/good").status_code == 404
        assert manus.get("/v1/tasks").status_code == 200

    def test_task_is_also_known_by_a_parameter_or_the_body(self, sandbox, manus, manus_v2):
        for task_id in ("bad", "good"):
            sandbox.manus.add_task(task_id)
        sandbox.faults.add("status", task_id="bad", status=500)
        for task_id, status in (("bad", 500), ("good", 200)):
            assert manus_v2.read("task.detail", task_id=task_id).status_code == status
            assert manus_v2.write("task.stop", task_id=task_id).status_code == status
            body = {"prompt": "x", "agentProfile": "manus-1.6", "taskId": task_id}
            assert manus.call("POST", "/v1/tasks", json=body).status_code == status
        assert manus_v2.call("POST", "/v2/task.stop", data=b"{").status_code == 400

    def test_fault_that_matches_first_wins_and_the_next_is_not_used_up(self, sandbox, manus):
        sandbox.faults.add("status", times=1, status=500)
        sandbox.faults.add("status", times=1, status=503)
        assert [manus.get("/v1/tasks").status_code for _ in range(3)] == [500, 503, 200]

    def test_fault_can_be_removed_one_by_one_and_all_at_once(self, sandbox, manus):
        first = sandbox.faults.add("status", status=500)
        sandbox.faults.add("status", status=503)
        sandbox.faults.remove(first)
        assert manus.get("/v1/tasks").status_code == 503
        sandbox.faults.clear()
        assert manus.get("/v1/tasks").status_code == 200

    def test_pages_and_the_control_plane_are_never_hit(self, sandbox, anyone):
        sandbox.faults.add("drop_before")
        assert anyone.get("/").status_code == 200
        assert anyone.get("/_sandbox/state").status_code == 200

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("explode", {}),
            ("status", {"seconds": 1}),
            ("status", {"status": 99}),
            ("status", {"status": 600}),
            ("status", {"headers": "Retry-After"}),
            ("status", {"times": 0}),
            ("status", {"after": -1}),
            ("hang", {"seconds": -1}),
            ("hide", {"reads": 0}),
            ("garbage", {"form": "poem"}),
        ],
        ids=str,
    )
    def test_value_that_makes_no_sense_is_refused(self, sandbox, kind, options):
        with pytest.raises(ValueError, match=r"."):
            sandbox.faults.add(kind, **options)


class TestStatus:
    def test_status_fault_takes_headers_and_a_body(self, sandbox, manus):
        sandbox.faults.add("status", status=429, headers={"Retry-After": 7}, body={"any": "thing"})
        answer = manus.get("/v1/tasks")
        assert (answer.status_code, answer.headers["Retry-After"], answer.json()) == (
            429,
            "7",
            {"any": "thing"},
        )

    def test_status_fault_takes_text(self, sandbox, manus):
        sandbox.faults.add("status", status=502, body="Bad Gateway")
        answer = manus.get("/v1/tasks")
        assert (answer.status_code, answer.text) == (502, "Bad Gateway")

    def test_status_fault_speaks_the_vendors_language_without_a_body(self, sandbox, manus, qstash):
        sandbox.faults.add("status", status=429)
        assert manus.get("/v1/tasks").json()["code"] == 8
        assert list(qstash.get("/v2/logs").json()) == ["error"]

    def test_request_has_no_effect(self, sandbox, manus):
        task_id = sandbox.manus.add_task()
        sandbox.faults.add("status", status=500)
        manus.get(f"/v1/tasks/{task_id}")
        assert sandbox.manus.get(task_id).reads == 0


class TestHang:
    def test_hang_holds_the_request_and_then_answers(self, sandbox, manus):
        sandbox.faults.add("hang", seconds=0.2)
        began = time.monotonic()
        assert manus.get("/v1/tasks").status_code == 200
        assert time.monotonic() - began >= 0.2

    def test_hang_can_be_followed_by_another_fault(self, sandbox, manus):
        sandbox.faults.add("status", status=504)
        sandbox.faults.add("hang", seconds=0.05)
        assert manus.get("/v1/tasks").status_code == 504

    def test_hang_without_seconds_outlasts_the_client(self, sandbox, manus):
        sandbox.faults.add("hang")
        with pytest.raises(requests.exceptions.ReadTimeout):
            manus.call("GET", "/v1/tasks", timeout=0.1)

    def test_hang_is_dropped_when_the_faults_are_cleared(self, sandbox, manus):
        sandbox.faults.add("hang")
        timer = threading.Timer(0.1, sandbox.faults.clear)
        timer.start()
        with pytest.raises(DROPPED):
            manus.get("/v1/tasks")
        timer.join()

    def test_hang_does_not_hold_up_other_requests(self, sandbox, manus, qstash):
        sandbox.faults.add("hang", path="/manus/*")
        with pytest.raises(requests.exceptions.ReadTimeout):
            manus.call("GET", "/v1/tasks", timeout=0.05)
        assert qstash.get("/v2/logs").status_code == 200


class TestDrop:
    def test_drop_before_leaves_no_trace_on_the_task(self, sandbox, manus):
        task_id = sandbox.manus.add_task()
        sandbox.faults.add("drop_before", times=1)
        with pytest.raises(DROPPED):
            manus.get(f"/v1/tasks/{task_id}")
        assert sandbox.manus.get(task_id).reads == 0
        assert manus.get(f"/v1/tasks/{task_id}").status_code == 200

    def test_drop_after_has_had_its_effect(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=["running", "completed"], advance_after_reads=1)
        sandbox.faults.add("drop_after", times=1)
        with pytest.raises(DROPPED):
            manus.get(f"/v1/tasks/{task_id}")
        assert manus.get(f"/v1/tasks/{task_id}").json()["status"] == "completed"

    @pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
    def test_drop_is_no_error_to_the_server(self, sandbox, manus, kind):
        logged: list[logging.LogRecord] = []
        handler = logging.Handler()
        handler.emit = logged.append  # type: ignore[method-assign]
        sandbox.faults.add(kind, times=1)
        logging.getLogger("uvicorn.error").addHandler(handler)
        try:
            with pytest.raises(DROPPED):
                manus.get("/v1/tasks")
            # Served by the same loop, so the dropped call has ended before.
            assert manus.get("/v1/tasks").status_code == 200
        finally:
            logging.getLogger("uvicorn.error").removeHandler(handler)
        assert logged == []

    def test_drop_is_in_the_journal_without_a_status(self, sandbox, manus):
        sandbox.faults.add("drop_before")
        with pytest.raises(DROPPED):
            manus.get("/v1/tasks")
        assert (sandbox.requests[-1].status, sandbox.requests[-1].fault) == (None, "drop_before")

    def test_drop_without_a_server_raises_a_connection_error(self):
        sandbox = Sandbox()
        sandbox.faults.add("drop_before")

        async def ask() -> None:
            transport = httpx.ASGITransport(app=SandboxApp(sandbox))
            async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
                await client.get("/manus/v1/tasks")

        with pytest.raises(ConnectionError):
            asyncio.run(ask())


class TestGarbage:
    @pytest.mark.parametrize(
        ("form", "start"),
        [("html", "<!doctype"), ("list", "["), ("string", '"'), ("null", "null"), ("empty", "")],
    )
    def test_garbage_comes_with_status_200(self, sandbox, manus, form, start):
        sandbox.faults.add("garbage", form=form)
        answer = manus.get("/v1/tasks")
        assert answer.status_code == 200
        assert answer.text.startswith(start)
        assert bool(answer.text) is (form != "empty")

    def test_truncated_json_is_half_of_the_answer(self, sandbox, manus):
        task_id = sandbox.manus.add_task()
        sandbox.faults.add("garbage", form="truncated")
        answer = manus.get(f"/v1/tasks/{task_id}")
        assert answer.text.startswith('{"id":')
        with pytest.raises(requests.exceptions.JSONDecodeError):
            answer.json()


class TestRedirect:
    def test_redirect_points_elsewhere(self, sandbox, manus):
        sandbox.faults.add("redirect", location="http://127.0.0.1:9/stolen")
        answer = manus.get("/v1/tasks")
        assert (answer.status_code, answer.headers["Location"]) == (302, "http://127.0.0.1:9/stolen")


class TestHuge:
    def test_huge_answer_sends_valid_json_of_that_size(self, sandbox, manus):
        sandbox.faults.add("huge", size=1_000_001)
        answer = manus.get("/v1/tasks")
        assert len(answer.content) == 1_000_001
        assert list(answer.json()) == ["padding"]

    def test_client_that_leaves_early_ends_it(self, sandbox, manus, qstash):
        sandbox.faults.add("huge", path="/manus/*", size=50_000_000_000)
        with manus.call("GET", "/v1/tasks", stream=True) as answer:
            next(answer.iter_content(1000))
        assert qstash.get("/v2/logs").status_code == 200


class TestRepeatedCursor:
    def test_manus_repeats_its_first_page(self, sandbox, manus):
        for number in range(3):
            sandbox.manus.add_task(f"t{number}")
        sandbox.faults.add("repeat_cursor")
        first = manus.get("/v1/tasks", limit=2).json()
        assert first["has_more"] is True
        assert manus.get("/v1/tasks", limit=2, after=first["last_id"]).json() == first

    def test_manus_repeats_even_an_empty_page(self, sandbox, manus):
        sandbox.faults.add("repeat_cursor")
        assert manus.get("/v1/tasks").json() == {"object": "list", "last_id": "repeated", "has_more": True}

    def test_qstash_repeats_its_cursor(self, sandbox, qstash):
        sandbox.qstash.add_task()
        sandbox.faults.add("repeat_cursor")
        first = qstash.get("/v1/messages/msg_1/tasks").json()
        assert first["cursor"] > 0
        assert qstash.get("/v1/messages/msg_1/tasks", cursor=first["cursor"]).json() == first


class TestHide:
    def test_fresh_task_is_unknown_for_some_seconds(self, sandbox, manus):
        task_id = sandbox.manus.add_task()
        sandbox.faults.add("hide", task_id=task_id, seconds=10)
        assert manus.get(f"/v1/tasks/{task_id}").status_code == 404
        assert manus.get("/v1/tasks").json() == {"object": "list"}
        sandbox.clock.advance(10)
        assert manus.get(f"/v1/tasks/{task_id}").status_code == 200
        assert len(manus.get("/v1/tasks").json()["data"]) == 1

    def test_fresh_task_is_unknown_for_some_reads(self, sandbox, qstash):
        ids = [sandbox.qstash.add_task(), sandbox.qstash.add_task()]
        sandbox.faults.add("hide", reads=2)
        seen = [[qstash.get(f"/v1/tasks/{task_id}").status_code for task_id in ids] for _ in range(3)]
        assert seen == [[404, 404], [404, 404], [200, 200]]

    def test_hide_affects_only_the_named_task(self, sandbox, manus):
        sandbox.manus.add_task("shown")
        sandbox.manus.add_task("hidden")
        sandbox.faults.add("hide", task_id="hidden")
        assert manus.get("/v1/tasks/shown").status_code == 200
        assert [task["id"] for task in manus.get("/v1/tasks").json()["data"]] == ["shown"]

    def test_call_for_another_task_does_not_use_it_up(self, sandbox, manus):
        sandbox.manus.add_task("other")
        sandbox.manus.add_task("hidden")
        sandbox.faults.add("hide", task_id="hidden", times=1)
        assert manus.get("/v1/tasks/other").status_code == 200
        assert [manus.get("/v1/tasks/hidden").status_code for _ in range(2)] == [404, 200]


class TestOmit:
    def test_lists_leave_the_task_out_but_it_is_there(self, sandbox, manus, qstash):
        for store in (sandbox.manus, sandbox.qstash):
            store.add_task("shown")
            store.add_task("left_out")
        sandbox.faults.add("omit", task_id="left_out")
        assert [task["id"] for task in manus.get("/v1/tasks").json()["data"]] == ["shown"]
        listed = qstash.get("/v1/messages/msg_1/tasks").json()["tasks"]
        assert [task["taskId"] for task in listed] == ["shown"]
        assert manus.get("/v1/tasks/left_out").status_code == 200
        assert qstash.get("/v1/tasks/left_out").status_code == 200

    def test_v2_lists_leave_the_task_out(self, sandbox, manus_v2):
        sandbox.manus.add_task("one")
        sandbox.faults.add("hide", task_id="one", reads=1)
        assert manus_v2.read("task.list").json()["data"] == []
        assert manus_v2.read("task.detail", task_id="one").status_code == 404
        assert manus_v2.read("task.detail", task_id="one").status_code == 200


class TestLag:
    def test_output_comes_some_seconds_after_the_status(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=[("running", 5), ("completed", None)])
        sandbox.faults.add("lag", seconds=3)
        sandbox.clock.advance(5)
        body = manus.get(f"/v1/tasks/{task_id}").json()
        assert (body["status"], len(body["output"])) == ("completed", 1)
        sandbox.clock.advance(3)
        assert len(manus.get(f"/v1/tasks/{task_id}").json()["output"]) == 2

    def test_output_comes_some_reads_after_the_status(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=["running", "completed"], advance_after_reads=1)
        sandbox.faults.add("lag", task_id=task_id, reads=1)
        lengths = [len(manus.get(f"/v1/tasks/{task_id}").json()["output"]) for _ in range(3)]
        assert lengths == [1, 1, 2]


class TestStopping:
    @pytest.mark.parametrize("kind", ["hang", "huge"])
    def test_requests_under_way_do_not_hold_the_server_open(self, kind):
        server = SandboxServer()
        server.start()
        options = {"size": 50_000_000_000} if kind == "huge" else {}
        server.sandbox.faults.add(kind, **options)
        failures: list[Exception] = []

        def ask() -> None:
            try:
                requests.get(server.manus_url + "/v1/tasks", timeout=30, stream=False)
            except requests.exceptions.RequestException as error:
                failures.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        while not server.sandbox.requests:
            time.sleep(0.01)
        began = time.monotonic()
        server.stop()
        took = time.monotonic() - began
        thread.join(5)
        assert took < 1
        assert not thread.is_alive()
        assert len(failures) == 1
