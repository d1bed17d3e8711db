"""The hook against the official SDK's servers, over each wire form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dev.a2a.peers import Agent
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.models import A2AMessage, A2ATask
from remote_tasks_provider.core.errors import (
    AuthenticationError,
    ConnectionConfigError,
    InvalidArgumentError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    RemoteTaskError,
    ServerError,
    TaskFailedError,
    TransportError,
)
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import may_have_submitted
from tests.a2a.conftest import Wire
from tests.conftest import IMPATIENT
from tests.core.raw_server import Handler, RawServer, answer, hang_up, say_nothing


def event(body: Any) -> Handler:
    """Send one event of a stream that goes on."""
    shown = json.dumps({"jsonrpc": "2.0", "id": "1", **body})
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    return lambda connection: connection.sendall(f"{head}data: {shown}\n\n".encode())


@contextmanager
def streaming_agent(set_connection: Callable[..., str], *handlers: Handler) -> Iterator[tuple[A2AHook, Any]]:
    """Let an agent of 0.3 answer a message in a way that no real server would on command."""
    card = answer(200, json.dumps({"name": "a", "url": "/rpc", "capabilities": {"streaming": True}}).encode())
    unknown = answer(200, b'{"jsonrpc": "2.0", "id": "1", "error": {"code": -32001}}')
    with RawServer(card, unknown, *handlers) as server:
        conn_id = set_connection("a2a_default", conn_type="a2a", host=server.url, extra=IMPATIENT)
        yield A2AHook(conn_id), server


class TestEarlyId:
    """An agent that lists nothing may answer only when it is done: the first event of a stream has the id."""

    @pytest.mark.parametrize("name", ["0.3", "0.3 layer"])
    def test_id_comes_while_the_agent_works_and_the_work_goes_on(
        self, make_wire: Callable[..., Wire], name: str
    ) -> None:
        wire = make_wire(name)
        task = begin(wire, "hold; say done")

        assert "message/stream" in wire.requests()
        assert "message/send" not in wire.requests()
        assert not wire.hook.get_task(task.id).state.is_terminal
        wire.agent.release(task.id)
        wire.until(task.id, TaskState.COMPLETED)
        assert wire.hook.get_result(task.id).text == "done"
        assert len(wire.runs()) == 1

    @pytest.mark.parametrize(
        ("name", "listing", "streams"),
        [
            ("1.0 REST", "/tasks", "/rest/message:stream"),
            ("1.0 JSON-RPC", "ListTasks", "SendStreamingMessage"),
        ],
    )
    def test_agent_of_1_0_without_a_list_is_asked_for_a_stream(
        self, make_wire: Callable[..., Wire], name: str, listing: str, streams: str
    ) -> None:
        wire = make_wire(name)
        wire.agent.control("faults", {"match": listing, "status": 405, "times": 2})
        task = begin(wire, "hold; say done")

        assert not wire.hook.find_agent().lists
        assert wire.requests().count(streams) == 1
        assert not wire.hook.get_task(task.id).state.is_terminal
        wire.agent.release(task.id)
        wire.until(task.id, TaskState.COMPLETED)
        assert wire.hook.get_result(task.id).text == "done"
        assert isinstance(wire.hook.send_message("message hello"), A2AMessage)

    @pytest.mark.parametrize("name", ["1.0 REST", "1.0 JSON-RPC"])
    def test_agent_that_lists_is_asked_for_no_stream(self, make_wire: Callable[..., Wire], name: str) -> None:
        wire = make_wire(name)
        begin(wire, "say a")

        assert not any("tream" in one for one in wire.requests())

    def test_answer_to_a_task_needs_no_stream(self, make_wire: Callable[..., Wire]) -> None:
        wire = make_wire("0.3")
        task = begin(wire, "ask Which?; say {answer}")
        wire.until(task.id, TaskState.WAITING)
        wire.hook.send_message("blue", task_id=task.id)

        assert wire.requests()[-1] == "message/send"

    @pytest.mark.parametrize(
        "result",
        [
            {"kind": "status-update", "taskId": "t1", "contextId": "c1", "status": {"state": "working"}},
            {"kind": "artifact-update", "taskId": "t1", "contextId": "c1", "artifact": {"parts": []}},
            {"statusUpdate": {"taskId": "t1", "contextId": "c1", "status": {"state": "TASK_STATE_WORKING"}}},
            {"artifactUpdate": {"taskId": "t1", "contextId": "c1"}},
            {"kind": "task", "id": "t1", "contextId": "c1", "status": {"state": "submitted"}},
        ],
    )
    def test_first_event_of_any_kind_has_the_id(
        self, set_connection: Callable[..., str], result: dict[str, Any]
    ) -> None:
        with streaming_agent(set_connection, event({"result": result})) as (hook, _):
            found = hook.send_message("a")

        assert isinstance(found, A2ATask)
        assert (found.id, found.context_id) == ("t1", "c1")

    def test_stream_that_begins_with_a_message_is_the_answer(
        self, set_connection: Callable[..., str]
    ) -> None:
        said = {"kind": "message", "messageId": "m", "taskId": "t", "parts": [{"kind": "text", "text": "hi"}]}
        with streaming_agent(set_connection, event({"result": said})) as (hook, _):
            found = hook.send_message("a")

        assert isinstance(found, A2AMessage)
        assert found.text == "hi"

    @pytest.mark.parametrize(
        "refusal",
        [
            event({"error": {"code": -32004}}),
            answer(200, b'{"jsonrpc": "2.0", "id": "1", "error": {"code": -32601}}'),
            answer(405, b"no such thing"),
        ],
        ids=["in an event", "as JSON", "as HTTP"],
    )
    def test_refused_stream_becomes_a_plain_message(
        self, set_connection: Callable[..., str], refusal: Handler
    ) -> None:
        task = answer(200, b'{"jsonrpc": "2.0", "result": {"kind": "task", "id": "t1"}}')
        with streaming_agent(set_connection, refusal, task) as (hook, server):
            found = hook.send_message("a")

        assert isinstance(found, A2ATask)
        assert [b"message/stream" in one for one in server.requests[2:]] == [True, False]

    @pytest.mark.parametrize(
        ("first", "kind"),
        [
            pytest.param(event({"error": {"code": -32603}}), ServerError, id="internal error"),
            pytest.param(hang_up, TransportError, id="no answer"),
            pytest.param(say_nothing, TransportError, id="silence"),
            pytest.param(
                answer(200, b"", content_type="text/event-stream"), InvalidResponseError, id="nothing"
            ),
        ],
    )
    def test_message_that_may_have_arrived_is_not_repeated(
        self, set_connection: Callable[..., str], first: Handler, kind: type[RemoteTaskError]
    ) -> None:
        with streaming_agent(set_connection, first) as (hook, server):
            with pytest.raises(kind) as caught:
                hook.send_message("a")
            assert len(server.requests) == 3

        assert may_have_submitted(caught.value)


def begin(wire: Wire, text: str, **arguments: Any) -> A2ATask:
    found = wire.hook.send_message(text, **arguments)
    assert isinstance(found, A2ATask)
    return found


class TestSendMessage:
    def test_message_begins_a_task_and_does_not_wait_for_it(self, wire: Wire) -> None:
        task = begin(wire, "hold; say done")

        assert not wire.hook.get_task(task.id).state.is_terminal
        wire.agent.release(task.id)
        assert wire.until(task.id, TaskState.COMPLETED).updated_at is not None

    def test_context_id_of_ours_is_kept(self, wire: Wire) -> None:
        context_id = "0f0d4f3e-2a0f-5b43-9d2e-6d7f0a1b2c3d"

        assert begin(wire, "say a", context_id=context_id).context_id == context_id

    def test_metadata_and_parts_reach_the_agent(self, wire: Wire) -> None:
        parts = [{"data": {"a": 1}}, {"raw": b"hello", "filename": "a.txt", "media_type": "text/plain"}]
        task = begin(wire, "say a", parts=parts, metadata={"who": "me"})

        first = wire.hook.get_task(task.id).history[0]
        assert first.model_extra
        assert first.model_extra["metadata"] == {"who": "me"}
        assert first.text == "say a"
        assert first.parts[1].data == {"a": 1}
        assert (first.parts[2].raw, first.parts[2].filename) == ("aGVsbG8=", "a.txt")

    def test_agent_may_answer_with_a_message_alone(self, wire: Wire) -> None:
        found = wire.hook.send_message("message hello")

        assert isinstance(found, A2AMessage)
        assert found.text == "hello"

    def test_answer_continues_the_task(self, wire: Wire) -> None:
        task = begin(wire, "ask Which colour?; say {answer}")
        asked = wire.until(task.id, TaskState.WAITING)
        assert asked.message.text == "Which colour?"

        found = wire.hook.send_message("blue", task_id=task.id)

        assert isinstance(found, A2ATask)
        assert found.id == task.id
        wire.until(task.id, TaskState.COMPLETED)
        assert wire.hook.get_result(task.id).text == "blue"

    def test_message_whose_answer_is_lost_is_not_repeated(self, wire: Wire) -> None:
        wire.lose()

        with pytest.raises(ServerError):
            wire.hook.send_message("say once")

        assert len(wire.agent.control("requests")["runs"]) == 1

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            ({"text": None}, "text"),
            ({"text": " "}, "text"),
            ({"text": "a", "parts": [{}]}, "parts"),
            ({"text": "a", "parts": [{"text": "a", "data": 1}]}, "parts"),
            ({"text": "a", "parts": [{"raw": "no bytes"}]}, "parts"),
            ({"text": "a", "context_id": ""}, "context_id"),
            ({"text": "a", "task_id": "a\n", "context_id": "c"}, "task_id"),
        ],
        ids=str,
    )
    def test_argument_that_cannot_be_right_is_refused_before_any_request(
        self, rest: Wire, arguments: dict[str, Any], name: str
    ) -> None:
        with pytest.raises(InvalidArgumentError, match=name):
            rest.hook.send_message(**arguments)

        assert rest.requests() == []

    def test_answer_that_began_another_task_names_both(
        self, rest: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rest.hook.find_agent()
        other = {"task": {"id": "other", "status": {"state": "TASK_STATE_WORKING"}}}
        rest.agent.control("faults", {"match": "/message:send", "status": 200, "body": other})

        with pytest.raises(TaskFailedError, match=r"task mine began another task, other"):
            rest.hook.send_message("blue", task_id="mine", context_id="c")


class TestGetTask:
    @pytest.mark.parametrize(
        ("script", "state", "error"),
        [
            ("fail no luck", TaskState.FAILED, "no luck"),
            ("reject never", TaskState.FAILED, "never"),
            ("auth Log in, please", TaskState.WAITING, None),
            ("say a", TaskState.COMPLETED, None),
        ],
    )
    def test_status_words_have_their_states(
        self, wire: Wire, script: str, state: TaskState, error: str | None
    ) -> None:
        task = wire.until(begin(wire, script).id, state)

        assert task.error == error

    def test_unknown_task_is_not_found_by_its_reason(self, wire: Wire) -> None:
        with pytest.raises(NotFoundError) as caught:
            wire.hook.get_task("00000000-0000-0000-0000-000000000000")

        assert caught.value.code == "TASK_NOT_FOUND"

    def test_id_with_a_slash_is_not_found(self, wire: Wire) -> None:
        with pytest.raises(NotFoundError):
            wire.hook.get_task("a/../b")


class TestGetResult:
    def test_result_has_text_value_and_files(self, wire: Wire) -> None:
        script = 'say a; say b; data {"n": 3}; file report.txt all is well; link https://example.com/a.pdf'
        task = begin(wire, script)
        wire.until(task.id, TaskState.COMPLETED)

        result = wire.hook.get_result(task.id)

        assert (result.state, result.text, result.structured) == (TaskState.COMPLETED, "ab", {"n": 3})
        assert [file.name for file in result.files] == ["report.txt", None]
        assert "example.com" not in str(result.to_json())

    def test_value_that_is_no_object_is_the_same_over_all_wire_forms(self, rest: Wire) -> None:
        task = begin(rest, "data [1, 2]")
        rest.until(task.id, TaskState.COMPLETED)

        assert rest.hook.get_result(task.id).structured == [1, 2]

    def test_text_of_the_last_status_is_the_result_without_artifacts(self, wire: Wire) -> None:
        task = begin(wire, "ask Which one?")
        wire.until(task.id, TaskState.WAITING)

        assert wire.hook.get_result(task.id).text == "Which one?"


class TestCancelTask:
    def test_task_that_works_is_cancelled(self, wire: Wire) -> None:
        task = begin(wire, "hold")

        assert wire.hook.cancel_task(task.id).state is TaskState.CANCELLED

    def test_task_that_has_finished_stays_as_it_is(self, wire: Wire) -> None:
        task = begin(wire, "say a")
        wire.until(task.id, TaskState.COMPLETED)

        assert wire.hook.cancel_task(task.id).state is TaskState.COMPLETED

    def test_unknown_task_is_not_found(self, wire: Wire) -> None:
        with pytest.raises(NotFoundError):
            wire.hook.cancel_task("00000000-0000-0000-0000-000000000000")

    def test_refusal_is_an_error_while_the_task_works(self, rest: Wire) -> None:
        task = begin(rest, "hold")
        refusal = {"error": {"message": "no", "details": [{"reason": "TASK_NOT_CANCELABLE"}]}}
        rest.agent.control("faults", {"match": ":cancel", "status": 400, "body": refusal})

        with pytest.raises(InvalidRequestError) as caught:
            rest.hook.cancel_task(task.id)

        assert caught.value.code == "TASK_NOT_CANCELABLE"
        rest.agent.release(task.id)

    def test_task_that_goes_on_all_the_same_is_told(self, rest: Wire) -> None:
        task = begin(rest, "hold")
        rest.agent.control("faults", {"match": ":cancel", "status": 200, "body": {}})

        with pytest.raises(RemoteTaskError, match=f"cancellation of task {task.id}, which is TASK_STATE_"):
            rest.hook.stop_task(task.id)
        rest.agent.release(task.id)


class TestIterTasks:
    @pytest.fixture(params=["1.0 REST", "1.0 JSON-RPC"])
    def wire(self, request: pytest.FixtureRequest, make_wire: Callable[..., Wire]) -> Wire:
        return make_wire(request.param)

    def test_tasks_of_a_context_are_listed_page_by_page(self, wire: Wire) -> None:
        context_id = f"c-{wire.name}"
        ids = {begin(wire, "say a", context_id=context_id).id for _ in range(3)}
        for one in ids:
            wire.until(one, TaskState.COMPLETED)

        found = list(wire.hook.iter_tasks(context_id=context_id, page_size=1))

        assert {task.id for task in found} == ids
        assert found[0].artifacts == []
        assert len(list(wire.hook.iter_tasks(context_id=context_id, limit=2))) == 2

    def test_artifacts_come_if_asked_for(self, wire: Wire) -> None:
        task = begin(wire, "say a")
        wire.until(task.id, TaskState.COMPLETED)

        (found,) = wire.hook.iter_tasks(context_id=task.context_id, include_artifacts=True)
        assert found.artifacts[0].parts[0].text == "a"

    def test_tasks_are_filtered_by_status_and_time(self, wire: Wire) -> None:
        task = begin(wire, "fail no", context_id=f"f-{wire.name}")
        ended = wire.until(task.id, TaskState.FAILED)

        def listed(**filters: Any) -> list[str]:
            return [one.id for one in wire.hook.iter_tasks(context_id=task.context_id, **filters)]

        assert listed(status="failed") == [task.id]
        assert listed(status="completed") == []
        assert listed(updated_after=ended.updated_at) == [task.id]
        assert listed(updated_after=ended.updated_at.timestamp() + 60) == []

    @pytest.mark.parametrize(
        "filters",
        [{"status": "done"}, {"page_size": 101}, {"updated_after": "today"}, {"limit": -1}],
        ids=str,
    )
    def test_filter_that_cannot_be_right_is_refused(self, wire: Wire, filters: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgumentError, match=next(iter(filters))):
            wire.hook.iter_tasks(**filters)

    def test_agent_that_lists_nothing_is_told(self, make_wire: Callable[..., Wire]) -> None:
        with pytest.raises(ConnectionConfigError, match="lists no tasks"):
            next(make_wire("0.3").hook.iter_tasks())


class TestConnection:
    def test_connection_test_tells_what_is_spoken(self, wire: Wire) -> None:
        worked, message = wire.hook.test_connection()

        assert worked, message
        version, binding = ("0.3", "jsonrpc") if wire.name.startswith("0.3") else wire.name.lower().split(" ")
        assert f"speaks A2A {version} over {binding.replace('-', '')} at {wire.agent.url}/" in message
        assert ("It lists its tasks." in message) is wire.lists

    def test_agent_is_looked_for_once(self, rest: Wire) -> None:
        task = begin(rest, "say a")
        rest.hook.get_task(task.id)

        assert rest.requests() == [
            "/.well-known/agent-card.json",
            "/rest/tasks",
            "/rest/message:send",
            f"/rest/tasks/{task.id}",
        ]

    def test_token_is_sent_and_a_wrong_one_is_refused(self, set_connection: Callable[..., str]) -> None:
        with Agent("1.x", token="right") as agent:
            for token, works in {"right": True, "wrong": False, "": False}.items():
                set_connection("own", conn_type="a2a", host=agent.url, password=token, extra=IMPATIENT)
                worked, message = A2AHook("own").test_connection()
                assert worked is works, message
            with pytest.raises(AuthenticationError):
                A2AHook("own").get_task("a")

    def test_host_without_an_agent_is_a_clear_error(self, set_connection: Callable[..., str]) -> None:
        with RawServer(*[answer(404, b"Not Found")] * 4) as server:
            set_connection("own", conn_type="a2a", host=f"{server.url}/agent", extra=IMPATIENT)
            with pytest.raises(NotFoundError, match="is an A2A agent there"):
                A2AHook("own").get_agent_card()

    def test_card_that_is_a_web_page_is_a_clear_error(self, set_connection: Callable[..., str]) -> None:
        with RawServer(answer(200, b"<html>Log in</html>")) as server:
            set_connection("own", conn_type="a2a", host=server.url, extra=IMPATIENT)
            with pytest.raises(InvalidResponseError, match="expected the card of an A2A agent"):
                A2AHook("own").get_agent_card()

    def test_host_that_is_down_is_a_clear_error(self, set_connection: Callable[..., str]) -> None:
        with Agent("1.x") as agent:
            url = agent.url
        set_connection("own", conn_type="a2a", host=url, extra={"max_attempts": 1})

        with pytest.raises(TransportError, match="no answer from"):
            A2AHook("own").get_task("a")
