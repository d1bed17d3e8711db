"""An A2A agent as a managed agent: what a caller gets, and which failure is whose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from remote_tasks_provider.core.errors import ConnectionConfigError, InvalidArgumentError
from remote_tasks_provider.core.states import TaskState
from tests.a2a.conftest import Wire

if find_spec("airflow.providers.common") is None or find_spec("airflow.providers.common.ai") is None:
    pytest.skip("needs the extra 'ai'", allow_module_level=True)

from airflow.providers.common.ai.exceptions import ManagedAgentInvocationError, ManagedAgentRejected
from airflow.providers.common.ai.managed_agents import ManagedAgentRequest
from airflow.providers.common.ai.toolsets import ManagedAgentToolset
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from remote_tasks_provider.a2a.agents import A2AAgentHook
from remote_tasks_provider.bases.agents import OrphanedAgentTaskError


def bound(**options: Any) -> Any:
    return A2AAgentHook(poll_interval=0.05, **options).agent("researcher")


def invoke(prompt: str | None, options: dict[str, Any] | None = None, **request: Any) -> Any:
    return bound(**(options or {})).invoke(ManagedAgentRequest(prompt=prompt, **request))


class TestAnswer:
    def test_answer_has_text_value_and_session(self, wire: Wire) -> None:
        answer = invoke('say hello; data {"n": 3}')

        assert answer.text == 'hello\n\nThe value: {"n": 3}'.replace("3", str(answer.structured["n"]))
        assert (answer.raw.id, answer.raw.context_id) == (answer.trace_ref, answer.session_id)

    def test_session_continues_the_conversation(self, rest: Wire) -> None:
        first = invoke("say a")
        second = invoke("say b", session_id=first.session_id)

        assert second.session_id == first.session_id
        assert second.trace_ref != first.trace_ref

    def test_agent_may_answer_without_a_task(self, rest: Wire) -> None:
        assert invoke("message hello").text == "hello"

    def test_files_are_named_where_there_is_no_word(self, rest: Wire) -> None:
        assert invoke("file a.txt 1").text == "Without a word, but with files: a.txt"

    def test_messages_and_parts_are_sent(self, rest: Wire) -> None:
        messages = [{"role": "user", "content": [{"type": "text", "text": "say a"}]}]
        request = ManagedAgentRequest(messages=messages, vendor_options={"parts": [{"data": {"b": 1}}]})
        answer = bound().invoke(request)

        assert answer.text == "a"
        assert answer.raw.history[0].parts[1].data == {"b": 1}

    def test_model_uses_it_as_a_tool(self, rest: Wire) -> None:
        toolset = ManagedAgentToolset(bound(), tool_name="ask", description="Asks.")

        def model(messages: Any, info: Any) -> ModelResponse:
            last = messages[-1].parts[-1]
            if isinstance(last, ToolReturnPart):
                return ModelResponse(parts=[TextPart(f"It said {last.content}")])
            (tool,) = info.function_tools
            (name,) = tool.parameters_json_schema["required"]
            return ModelResponse(parts=[ToolCallPart(tool.name, {name: "say hello"})])

        # Not `run_sync`, which leaves an event loop behind.
        answer = asyncio.run(Agent(FunctionModel(model), toolsets=[toolset]).run("Ask it."))
        assert "hello" in answer.output


class TestFailure:
    @pytest.mark.parametrize(
        ("prompt", "text"),
        [("fail no luck", "no luck"), ("reject not me", "not me"), ("ask Which?", "Which?")],
    )
    def test_task_without_a_result_is_terminal(self, rest: Wire, prompt: str, text: str) -> None:
        with pytest.raises(ManagedAgentInvocationError, match=text):
            invoke(prompt)

    @pytest.mark.parametrize("prompt", ["", " "])
    def test_empty_prompt_is_rejected_before_any_request(self, rest: Wire, prompt: str) -> None:
        with pytest.raises(ManagedAgentRejected):
            invoke(prompt)
        assert rest.requests() == []

    def test_unknown_option_is_refused(self, rest: Wire) -> None:
        with pytest.raises(InvalidArgumentError, match="task_id"):
            invoke("say a", vendor_options={"task_id": "t"})

    def test_lost_answer_is_not_paid_again(self, rest: Wire) -> None:
        rest.lose()
        with pytest.raises(OrphanedAgentTaskError, match="Check the agent"):
            invoke("say a")
        assert rest.runs() == ["say a"]

    @pytest.mark.parametrize("cancels", [True, False])
    def test_timeout_cancels_the_task_or_leaves_it(self, rest: Wire, cancels: bool) -> None:
        with pytest.raises(ManagedAgentInvocationError, match="did not answer in time") as caught:
            invoke("hold", {"cancel_on_timeout": cancels}, timeout=0.2)

        assert isinstance(caught.value, OrphanedAgentTaskError) != cancels
        (task,) = rest.hook.iter_tasks(limit=1)
        assert (task.state is TaskState.CANCELLED) == cancels
        rest.agent.release(task.id)

    def test_agent_that_is_not_there_is_told_as_it_is(self, set_connection: Callable[..., str]) -> None:
        set_connection("a2a_default", conn_type="a2a", host="")
        with pytest.raises((ManagedAgentInvocationError, ConnectionConfigError), match="host"):
            invoke("say a")
