"""Manus as a managed agent: what a caller gets, what it pays for, and which failure is whose."""

from __future__ import annotations

import ast
import asyncio
import importlib
import sys
import threading
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

import remote_tasks_provider
from remote_tasks_provider.bases import hooks as hook_module
from remote_tasks_provider.bases import once
from remote_tasks_provider.core import cancel_worker
from remote_tasks_provider.core.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConnectionConfigError,
    RateLimitedError,
    ServerError,
    TaskCancelledError,
    TaskFailedError,
    TaskNeedsInputError,
    TransportError,
)
from remote_tasks_provider.core.http import client as client_module
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.polling.drivers import poll_until_done
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus import hooks
from remote_tasks_provider.manus.results import ManusFile, ManusResult
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import IMPATIENT, MANUS_KEY

AGENTS = "remote_tasks_provider.manus.agents"
HAS_COMMON_AI = find_spec("airflow.providers.common") is not None and (
    find_spec("airflow.providers.common.ai") is not None
)
needs_common_ai = pytest.mark.skipif(not HAS_COMMON_AI, reason="needs the extra 'ai'")

if HAS_COMMON_AI:
    from airflow.providers.common.ai.exceptions import ManagedAgentInvocationError, ManagedAgentRejected
    from airflow.providers.common.ai.managed_agents import FailoverManagedAgentClient, ManagedAgentRequest
    from airflow.providers.common.ai.toolsets import ManagedAgentToolset
    from pydantic_ai import Agent
    from pydantic_ai.exceptions import UnexpectedModelBehavior
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import FunctionModel

    from remote_tasks_provider.bases import agents as agents_module
    from remote_tasks_provider.manus import agents
    from remote_tasks_provider.manus.agents import ManusAgentHook, OrphanedAgentTaskError

SCHEMA = {
    "type": "object",
    "properties": {"sum": {"type": "integer"}},
    "required": ["sum"],
    "additionalProperties": False,
}


@pytest.fixture(params=["v1", "v2", "best"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(server: SandboxServer, set_connection: Callable[..., str]) -> Callable[..., str]:
    """Define ``manus_default``; the API version and other extras are the caller's."""

    def define(api_version: str = "v2", password: str = MANUS_KEY, **extra: Any) -> str:
        extra = {**IMPATIENT, "api_version": "" if api_version == "best" else api_version, **extra}
        return set_connection(
            "manus_default", conn_type="manus", host=server.manus_url, password=password, extra=extra
        )

    return define


@pytest.fixture
def clock(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let sleeping move the sandbox's clock; returns the sleeps."""
    sleeps: list[float] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        sandbox.clock.advance(seconds)

    fake = SimpleNamespace(time=sandbox.clock.now, monotonic=sandbox.clock.now, sleep=sleep)
    for module in (agents, agents_module, once, hooks, client_module, cancel_worker):
        monkeypatch.setattr(module, "time", fake)
    waits = partial(poll_until_done, clock=sandbox.clock.now, monotonic=sandbox.clock.now)
    monkeypatch.setattr(agents_module, "poll_until_done", waits)
    monkeypatch.setattr(hook_module, "Client", lambda *parts, **named: Client(*parts, **named, sleep=sleep))
    return sleeps


def _ask(prompt: str = "What is 2 + 2?", *, agent: str = "manus-1.6", **more: Any) -> Any:
    """Ask the agent once; ``hook`` and ``request`` hold the rest of their arguments."""
    hook = ManusAgentHook(**more.pop("hook", {}))
    return hook.agent(agent).invoke(ManagedAgentRequest(prompt=prompt, **more))


class TestWithoutTheExtra:
    def test_module_names_the_extra_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "airflow.providers.common.ai.exceptions", None)
        for name in (AGENTS, "remote_tasks_provider.bases.agents"):
            monkeypatch.delitem(sys.modules, name, raising=False)

        with pytest.raises(ImportError, match="pip install apache-airflow-providers-common-ai"):
            importlib.import_module(AGENTS)

    def test_extra_is_needed_by_no_other_module(self) -> None:
        root = Path(next(iter(remote_tasks_provider.__path__)))
        users = {
            path.relative_to(root).as_posix()
            for path in root.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("airflow.providers.common.ai")
        }

        assert users == {"bases/agents.py"}


@needs_common_ai
class TestIdentity:
    @pytest.mark.parametrize("name", ["manus-1.6", "lite", "manus-1.6-max/prj_1"])
    def test_agent_is_a_profile_or_a_profile_in_a_project(self, name: str) -> None:
        ref = ManusAgentHook().agent(name).ref

        assert (ref.platform, ref.name) == ("manus.agent", name)

    @pytest.mark.parametrize("name", ["", " ", "/", "manus-1.6/", "/prj_1", "None", "manus\n1.6"])
    def test_invalid_identity_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"agent's pro(file|ject)"):
            ManusAgentHook().resolve_agent(name)

    def test_identity_and_capabilities_need_no_connection(self) -> None:
        bound = ManusAgentHook("no_such_connection").agent("manus-1.6")

        assert bound.ref.name == "manus-1.6"
        assert bound.capabilities.sessions
        assert bound.capabilities.structured_output
        assert bound.capabilities.usage
        assert bound.capabilities.trace

    def test_task_is_made_for_its_profile_and_project(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        project = sandbox.manus.add_project("Claims")

        _ask(agent=f"manus-1.6-max/{project}")

        (created,) = sandbox.manus.created
        assert (created.body["agent_profile"], created.body["project_id"]) == ("manus-1.6-max", project)

    @pytest.mark.parametrize("option", ["agent_profile", "project_id", "prompt"])
    def test_option_cannot_change_the_agent(
        self, option: str, sandbox: Sandbox, connect: Callable[..., str]
    ) -> None:
        connect("v2")

        with pytest.raises(ValueError, match=option):
            _ask(vendor_options={option: "another"})
        assert not sandbox.requests


@needs_common_ai
class TestAnswer:
    def test_answer_is_the_last_message_of_the_agent(
        self, version: str, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect(version)
        sandbox.manus.plan(answer="Four.", credit_usage=22, script=[("running", 40), ("completed", None)])

        response = _ask("What is 2 + 2?", hook={"poll_interval": 15})

        (created,) = sandbox.manus.created
        assert response.text == "Four."
        assert response.session_id == created.id
        assert created.id in response.trace_ref
        assert response.usage.credits == 22
        assert response.raw.state == "completed"
        assert clock[:3] == [15, 15, 15]

    def test_fresh_task_is_first_polled_after_an_interval(
        self, version: str, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect(version)

        _ask(hook={"poll_interval": 20})

        created, looked = [operation.at for operation in sandbox.requests[:2]]
        assert looked - created >= 20

    def test_connections_of_the_caller_stay_open(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        hook = ManusAgentHook()
        client = hook.client

        hook.invoke_agent("manus-1.6", ManagedAgentRequest(prompt="What is 2 + 2?"))

        assert hook.client is client
        hook.close()

    def test_typed_answer_comes_beside_the_text(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(answer="Four.", structured={"success": True, "value": {"sum": 4}})

        response = _ask(vendor_options={"structured_output_schema": SCHEMA})

        # A toolset shows its model nothing but the text.
        assert response.text == 'Four.\n\nThe value asked for: {"sum": 4}'
        assert response.structured == {"sum": 4}

    def test_typed_answer_that_could_not_be_made_is_a_failure(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(structured={"success": False, "error": "no sum in it"})

        with pytest.raises(ManagedAgentInvocationError, match="no sum in it"):
            _ask(vendor_options={"structured_output_schema": SCHEMA})

    def test_typed_answer_that_never_comes_is_a_failure(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(structured={"value": {"sum": 4}}, output_lag=3600)

        with pytest.raises(ManagedAgentInvocationError, match="structured"):
            _ask(vendor_options={"structured_output_schema": SCHEMA})

    def test_file_names_replace_a_missing_text_without_their_links(self) -> None:
        files = tuple(
            ManusFile(name, f"https://files.example.com/{name}?Signature=s3cr3t")
            for name in ("a.md", "b.csv")
        )
        result = ManusResult("t1", TaskState.COMPLETED, files=files)

        response = agents._response(result)

        assert response.text == "Without a word, but with files: a.md, b.csv"
        assert "Signature" not in repr(response)

    def test_conversation_is_sent_as_one_text(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        messages = [
            {"role": "user", "content": "Pick a number."},
            {"role": "assistant", "content": [{"type": "text", "text": "Seven."}]},
            {"content": "Double it."},
        ]

        ManusAgentHook().invoke_agent("manus-1.6", ManagedAgentRequest(messages=messages))

        assert "user: Pick a number.\n\nassistant: Seven.\n\nuser: Double it." in _prompt_of(sandbox)

    def test_single_message_is_sent_unchanged(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        request = ManagedAgentRequest(prompt="Pick a number.")

        ManusAgentHook().invoke_agent("manus-1.6", ManagedAgentRequest(messages=request.as_messages()))

        assert _prompt_of(sandbox) == "Pick a number."

    @pytest.mark.parametrize("content", [[{"type": "image"}], None, 7, ["text"]])
    def test_message_that_is_no_text_is_refused(self, content: Any, connect: Callable[..., str]) -> None:
        connect("v2")

        with pytest.raises(ValueError, match="text only"):
            ManusAgentHook().invoke_agent(
                "manus-1.6", ManagedAgentRequest(messages=[{"role": "user", "content": content}])
            )


def _prompt_of(sandbox: Sandbox) -> str:
    content = sandbox.manus.created[-1].body["message"]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@needs_common_ai
class TestSession:
    def test_session_continues_in_the_same_task(
        self, version: str, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect(version)
        first = _ask("What is 2 + 2?")

        second = _ask("And 3 + 3?", session_id=first.session_id)

        assert second.session_id == first.session_id
        assert len(sandbox.manus.created) == 1
        (received,) = sandbox.manus.answers(first.session_id)
        assert "And 3 + 3?" in str(received)

    def test_earlier_answer_is_not_taken_for_the_new_one(
        self,
        version: str,
        sandbox: Sandbox,
        connect: Callable[..., str],
        clock: list[float],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        connect(version)
        first = _ask("What is 2 + 2?")
        # Manus takes the message, and shows it only a while later.
        monkeypatch.setattr(hooks.ManusHook, "send_message", lambda *_, **__: None)
        hook = ManusAgentHook(poll_interval=15, timeout=60)

        with pytest.raises(ManagedAgentInvocationError, match="did not answer in time"):
            hook.invoke_agent("manus-1.6", ManagedAgentRequest(prompt="And?", session_id=first.session_id))

    def test_earlier_value_is_not_taken_for_that_of_the_new_answer(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        first = _ask("What is 2 + 2?", vendor_options={"structured_output_schema": SCHEMA})

        second = _ask("Thanks. And who are you?", session_id=first.session_id)

        assert first.structured is not None
        assert second.structured is None
        assert "The value asked for" not in second.text

    def test_earlier_value_does_not_stand_in_for_one_that_never_comes(
        self,
        sandbox: Sandbox,
        connect: Callable[..., str],
        clock: list[float],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        connect("v2")
        typed = {"structured_output_schema": SCHEMA}
        first = _ask("What is 2 + 2?", vendor_options=typed)
        send = hooks.ManusHook.send_message

        def forget_the_schema(hook: Any, task_id: str, content: str, **options: Any) -> None:
            send(hook, task_id, content, **{name: options[name] for name in options.keys() - typed.keys()})

        monkeypatch.setattr(hooks.ManusHook, "send_message", forget_the_schema)

        with pytest.raises(ManagedAgentInvocationError, match="structured"):
            _ask("And 3 + 3?", session_id=first.session_id, vendor_options=typed)

    def test_files_of_an_earlier_answer_are_not_named_as_those_of_the_new_one(self) -> None:
        files = tuple(
            ManusFile(name, "https://files.example.com/", turn=turn) for turn, name in ((1, "a"), (2, "b"))
        )
        result = ManusResult("t1", TaskState.COMPLETED, files=files, turn=2)

        assert agents._response(result.since(2)).text == "Without a word, but with files: b"

    def test_message_keeps_the_profile_of_the_agent(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        first = _ask("What is 2 + 2?", agent="manus-1.6-lite")

        _ask("And 3 + 3?", agent="manus-1.6-max", session_id=first.session_id)

        task = sandbox.manus.get(first.session_id)
        assert task is not None
        assert task.agent_profile == "manus-1.6-max"

    def test_unknown_session_is_a_failure(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")

        with pytest.raises(ManagedAgentInvocationError, match="404"):
            _ask(session_id="nope")

    def test_message_with_a_lost_answer_is_seen_in_the_conversation(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        first = _ask("What is 2 + 2?")
        sandbox.faults.add("drop_after", path="/manus/v2/task.sendMessage")

        _ask("And 3 + 3?", session_id=first.session_id)
        assert len(sandbox.manus.answers(first.session_id)) == 1

    def test_message_that_may_have_been_lost_is_not_sent_again(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        first = _ask("What is 2 + 2?")
        sandbox.faults.add("drop_before", path="/manus/v2/task.sendMessage")

        with pytest.raises(OrphanedAgentTaskError, match=r"not known whether task .* received the message"):
            _ask("And 3 + 3?", session_id=first.session_id)
        assert sandbox.manus.answers(first.session_id) == []


@needs_common_ai
class TestRejected:
    def test_refused_prompt_may_be_reworded(
        self, version: str, sandbox: Sandbox, connect: Callable[..., str]
    ) -> None:
        connect(version)
        sandbox.faults.add("status", method="POST", status=400)

        with pytest.raises(ManagedAgentRejected, match="HTTP 400"):
            _ask()
        assert not sandbox.manus.created

    @pytest.mark.parametrize("status", [402, 403, 404, 409])
    def test_unrelated_refusals_are_no_reason_to_reword(
        self, status: int, sandbox: Sandbox, connect: Callable[..., str]
    ) -> None:
        connect("v2")
        sandbox.faults.add("status", method="POST", status=status)

        with pytest.raises(ManagedAgentInvocationError, match=f"HTTP {status}") as caught:
            _ask()
        assert not isinstance(caught.value, OrphanedAgentTaskError)

    @pytest.mark.parametrize("prompt", ["", "  \n", "word " * 6000])
    def test_invalid_prompt_is_not_sent(
        self, prompt: str, sandbox: Sandbox, connect: Callable[..., str]
    ) -> None:
        connect("v2")

        with pytest.raises(ManagedAgentRejected, match="the prompt"):
            _ask(prompt)
        assert not sandbox.requests


@needs_common_ai
class TestTerminal:
    def test_wrong_key_fails_the_task(self, version: str, connect: Callable[..., str]) -> None:
        connect(version, password="sk-another-key")

        with pytest.raises(ManagedAgentInvocationError, match="401") as caught:
            _ask()
        assert isinstance(caught.value.__cause__, AuthenticationError)
        assert "sk-another-key" not in str(caught.value)

    def test_unusable_connection_fails_the_task(
        self, sandbox: Sandbox, set_connection: Callable[..., str]
    ) -> None:
        set_connection("manus_default", conn_type="manus")

        with pytest.raises(ManagedAgentInvocationError) as caught:
            _ask()
        assert isinstance(caught.value.__cause__, ConnectionConfigError)

    def test_limit_that_v1_cannot_keep_is_refused_before_it_costs(
        self, sandbox: Sandbox, connect: Callable[..., str]
    ) -> None:
        connect("v1")

        with pytest.raises(ManagedAgentInvocationError, match="api_version"):
            _ask(hook={"max_credits": 5})
        assert not sandbox.requests

    def test_typed_answer_with_v1_is_refused(self, sandbox: Sandbox, connect: Callable[..., str]) -> None:
        connect("v1")

        with pytest.raises((ManagedAgentInvocationError, ValueError), match="api_version"):
            _ask(vendor_options={"structured_output_schema": SCHEMA})
        assert not sandbox.requests

    def test_failed_task_gives_its_reason(
        self, version: str, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect(version)
        sandbox.manus.plan(script=[("running", 5), ("failed", None)], error="no page to read")

        with pytest.raises(ManagedAgentInvocationError, match="failed: no page to read") as caught:
            _ask()
        assert isinstance(caught.value.__cause__, TaskFailedError)
        assert not isinstance(caught.value, AirflowFailException)

    def test_stopped_task_has_no_answer(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(script=[("running", 5), ("stopped", None)], stopped_by_user=True)

        with pytest.raises(ManagedAgentInvocationError, match="was stopped") as caught:
            _ask()
        assert isinstance(caught.value.__cause__, TaskCancelledError)

    def test_question_is_quoted_and_can_be_answered_in_the_session(
        self, version: str, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect(version)
        sandbox.manus.plan(
            script=[("running", 5), ("pending", None), ("running", 5), ("completed", None)],
            question="Which day?",
            answer="Booked.",
        )

        with pytest.raises(ManagedAgentInvocationError, match=r"Which day\?") as caught:
            _ask()
        assert isinstance(caught.value.__cause__, TaskNeedsInputError)
        (created,) = sandbox.manus.created
        assert repr(created.id) in str(caught.value)
        assert _ask("Friday", session_id=created.id).text == "Booked."

    def test_pending_action_is_described_and_cannot_be_confirmed_by_a_message(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(waiting={"type": "gmailSendAction", "description": "Send it to Ann"})

        with pytest.raises(ManagedAgentInvocationError, match="Send it to Ann") as caught:
            _ask()
        assert "session_id" not in str(caught.value)


@needs_common_ai
class TestTransient:
    """Nothing was started: Airflow's retry is right, so the error goes through as it is."""

    def test_too_many_calls_are_transient(
        self, version: str, sandbox: Sandbox, connect: Callable[..., str]
    ) -> None:
        connect(version, max_attempts=1)
        sandbox.faults.add("status", method="POST", status=429, headers={"Retry-After": "40"})

        with pytest.raises(RateLimitedError) as caught:
            _ask()
        assert caught.value.retry_after == 40

    def test_unreachable_host_is_transient(self, set_connection: Callable[..., str]) -> None:
        set_connection(
            "manus_default",
            conn_type="manus",
            host="http://127.0.0.1:9",
            password=MANUS_KEY,
            extra={**IMPATIENT, "max_attempts": 1},
        )

        with pytest.raises(TransportError) as caught:
            _ask()
        assert caught.value.sent is False


@needs_common_ai
class TestMoney:
    """One request, one paid task."""

    @pytest.mark.parametrize(
        "fault", [{"kind": "drop_after"}, {"kind": "status", "status": 503}, {"kind": "garbage"}]
    )
    def test_submission_with_a_lost_answer_is_not_repeated(
        self, version: str, fault: dict[str, Any], sandbox: Sandbox, connect: Callable[..., str]
    ) -> None:
        connect(version)
        sandbox.faults.add(**fault, method="POST")

        with pytest.raises(OrphanedAgentTaskError, match="not known whether a task was created"):
            _ask()
        assert len([operation for operation in sandbox.requests if operation.method == "POST"]) == 1

    def test_submission_with_a_lost_answer_is_not_retried_by_airflow(self) -> None:
        assert issubclass(OrphanedAgentTaskError, AirflowFailException)
        assert issubclass(OrphanedAgentTaskError, ManagedAgentInvocationError)

    def test_single_failed_polls_are_waited_through(
        self, version: str, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect(version, max_attempts=1)
        sandbox.manus.plan(answer="Four.")
        sandbox.faults.add("status", method="GET", status=503, times=2)

        assert _ask().text == "Four."

    def test_unreadable_task_is_not_submitted_again(
        self, version: str, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect(version, max_attempts=1)
        sandbox.faults.add("status", method="GET", status=503)

        with pytest.raises(OrphanedAgentTaskError, match="cannot be polled") as caught:
            _ask()
        assert isinstance(caught.value.__cause__, ServerError)
        assert sandbox.manus.created[0].id in str(caught.value)

    def test_timeout_stops_the_task(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(script=[("running", None)])

        with pytest.raises(ManagedAgentInvocationError, match="and was stopped") as caught:
            _ask(hook={"timeout": 60, "poll_interval": 25})
        assert not isinstance(caught.value, OrphanedAgentTaskError)
        assert sum(clock) == pytest.approx(60, abs=2)
        assert any(operation.path.endswith("task.stop") for operation in sandbox.requests)

    @pytest.mark.parametrize(("api", "cancel"), [("v2", False), ("v1", True)])
    def test_timeout_that_leaves_the_task_running_is_reported(
        self, api: str, cancel: bool, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect(api)
        sandbox.manus.plan(script=[("running", None)])

        with pytest.raises(OrphanedAgentTaskError, match="may still be working"):
            _ask(hook={"timeout": 60, "cancel_on_timeout": cancel})
        assert not any(operation.path.endswith("task.stop") for operation in sandbox.requests)

    def test_request_timeout_overrides_that_of_the_hook(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(script=[("running", None)])

        with pytest.raises(ManagedAgentInvocationError):
            _ask(timeout=30, hook={"timeout": 3600})
        assert sum(clock) == pytest.approx(30, abs=2)

    def test_task_over_its_credit_limit_is_stopped(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(script=[("running", None)], credits_per_second=1)

        with pytest.raises(ManagedAgentInvocationError, match="max_credits") as caught:
            _ask(hook={"max_credits": 50})
        assert isinstance(caught.value.__cause__, BudgetExceededError)
        assert 50 < sum(clock) < 80
        assert any(operation.path.endswith("task.stop") for operation in sandbox.requests)

    @pytest.mark.parametrize("name", ["poll_interval", "timeout", "max_credits"])
    def test_invalid_limits_are_refused_at_parse_time(self, name: str) -> None:
        with pytest.raises(ValueError, match=name):
            ManusAgentHook(**{name: -1})


@needs_common_ai
class TestAsATool:
    """``common.ai``'s own toolset around it, used by a model that is a function."""

    @staticmethod
    def _run(model: Callable[..., Any], **toolset: Any) -> Any:
        tool = ManagedAgentToolset(
            ManusAgentHook(timeout=120).agent("manus-1.6-lite"), tool_name="ask_manus", **toolset
        )
        # Not `run_sync`, which leaves an event loop behind.
        return asyncio.run(Agent(FunctionModel(model), toolsets=[tool]).run("Find out."))

    def test_model_gets_the_answer(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(answer="Four.")

        def model(messages: list[Any], info: Any) -> Any:
            (returned,) = [p for p in messages[-1].parts if isinstance(p, ToolReturnPart)] or [None]
            if returned is None:
                assert [tool.name for tool in info.function_tools] == ["ask_manus"]
                return ModelResponse([ToolCallPart("ask_manus", {"prompt": "What is 2 + 2?"})])
            return ModelResponse([TextPart(f"Manus says: {returned.content}")])

        assert self._run(model).output == "Manus says: Four."
        assert _prompt_of(sandbox) == "What is 2 + 2?"

    def test_model_may_reword_a_refused_prompt(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(answer="Four.")

        def model(messages: list[Any], info: Any) -> Any:
            last = messages[-1].parts[-1]
            outcome = getattr(last, "outcome", None)
            if outcome == "success":
                return ModelResponse([TextPart(str(last.content))])
            prompt = "What is 2 + 2?" if outcome == "retried" else " "
            return ModelResponse([ToolCallPart("ask_manus", {"prompt": prompt})])

        assert self._run(model).output == "Four."
        assert len(sandbox.manus.created) == 1

    def test_model_may_reword_only_so_often(self, sandbox: Sandbox, connect: Callable[..., str]) -> None:
        connect("v2")

        def model(messages: list[Any], info: Any) -> Any:
            return ModelResponse([ToolCallPart("ask_manus", {"prompt": " "})])

        with pytest.raises(UnexpectedModelBehavior):
            self._run(model)
        assert not sandbox.manus.created

    def test_lost_submission_ends_the_run_for_good(
        self, sandbox: Sandbox, connect: Callable[..., str]
    ) -> None:
        connect("v2")
        sandbox.faults.add("drop_after", method="POST")

        def model(messages: list[Any], info: Any) -> Any:
            return ModelResponse([ToolCallPart("ask_manus", {"prompt": "What is 2 + 2?"})])

        with pytest.raises(AirflowFailException, match="not known whether a task was created"):
            self._run(model)
        assert len(sandbox.manus.created) == 1

    def test_concurrent_questions_do_not_disturb_each_other(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(answer="Short.", script=[("running", 5), ("completed", None)])
        sandbox.manus.plan(answer="Long.", script=[("running", 60), ("completed", None)])
        threads: set[int] = set()

        def model(messages: list[Any], info: Any) -> Any:
            threads.add(threading.get_ident())
            returned = [p.content for p in messages[-1].parts if isinstance(p, ToolReturnPart)]
            if returned:
                return ModelResponse([TextPart(" ".join(sorted(returned)))])
            return ModelResponse([ToolCallPart("ask_manus", {"prompt": text}) for text in ("One?", "Two?")])

        assert self._run(model).output == "Long. Short."
        assert len(sandbox.manus.created) == 2

    def test_agent_can_stand_in_for_another_agent(
        self, sandbox: Sandbox, connect: Callable[..., str], clock: list[float]
    ) -> None:
        connect("v2")
        sandbox.manus.plan(script=[("running", 5), ("failed", None)])
        sandbox.manus.plan(answer="Four.")
        hook = ManusAgentHook()

        group = FailoverManagedAgentClient([hook.agent("manus-1.6-lite"), hook.agent("manus-1.6-max")])

        assert group.invoke(ManagedAgentRequest(prompt="What is 2 + 2?")).text == "Four."
        assert [task.body["agent_profile"] for task in sandbox.manus.created] == [
            "manus-1.6-lite",
            "manus-1.6-max",
        ]
