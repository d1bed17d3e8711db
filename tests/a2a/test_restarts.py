"""An agent's process is killed and started again in the middle of waits, with a database and without.

One agent is waited for over three wire forms at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dev.a2a.peers import Agent
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.a2a.triggers import A2ATaskTrigger
from remote_tasks_provider.core.states import TaskState
from tests.conftest import IMPATIENT

_EXTRAS: dict[str, dict[str, str]] = {
    "rest": {"binding": "rest"},
    "rpc": {"binding": "jsonrpc", "protocol_version": "1.0"},
    "old": {"protocol_version": "0.3"},
}
_EACH = 4

Connect = Callable[[Agent], dict[str, A2AHook]]


@pytest.fixture
def connect(set_connection: Callable[..., str]) -> Connect:
    def connect(agent: Agent) -> dict[str, A2AHook]:
        def hook(name: str, extras: dict[str, str]) -> A2AHook:
            extra = {**IMPATIENT, "max_attempts": 5, **extras}
            return A2AHook(set_connection(name, conn_type="a2a", host=agent.url, extra=extra))

        return {name: hook(name, extras) for name, extras in _EXTRAS.items()}

    return connect


def begin(hook: A2AHook, text: str, state: TaskState) -> str:
    task = hook.send_message(text)
    assert isinstance(task, A2ATask)
    while hook.get_task(task.id).state is not state:
        pass
    return task.id


def outlive(agent: Agent, waits: dict[str, list[str]], afterwards: Callable[[], Any]) -> dict[str, Any]:
    """Wait for the tasks of each connection, start the agent again meanwhile; return what the waits found."""

    def restart() -> None:
        while len(agent.control("requests")["requests"]) < 20:
            pass
        agent.kill()
        agent.start()
        afterwards()

    async def wait() -> dict[str, Any]:
        agent.control("reset")
        triggers = {
            name: A2ATaskTrigger(name, ids, poll_interval=0.2, not_found_grace=0.5)
            for name, ids in waits.items()
        }
        waiting = {name: asyncio.ensure_future(anext(one.run())) for name, one in triggers.items()}
        await asyncio.to_thread(restart)
        return {name: (await asyncio.wait_for(one, 60)).payload for name, one in waiting.items()}

    return asyncio.run(wait())


def test_waits_lose_nothing_if_the_agent_has_a_database(connect: Connect, tmp_path: Path) -> None:
    with Agent("1.x", store=str(tmp_path / "tasks.sqlite")) as agent:
        hooks = connect(agent)
        waits = {
            name: [begin(hook, "ask Which colour?", TaskState.WAITING) for _ in range(_EACH)]
            for name, hook in hooks.items()
        }
        orphan = begin(hooks["rest"], "hold", TaskState.RUNNING)

        def answer() -> None:
            for name, ids in waits.items():
                for one in ids:
                    hooks[name].send_message("blue", task_id=one)

        found = outlive(agent, waits, answer)

        for name, ids in waits.items():
            records = found[name]["records"]
            assert {one: records[one]["state"] for one in ids} == dict.fromkeys(ids, "completed")
        # Nobody works on it any more, but it is there, and can be cancelled.
        assert hooks["rest"].get_task(orphan).state is TaskState.RUNNING
        assert hooks["rest"].cancel_task(orphan).state is TaskState.CANCELLED


def test_waits_end_clearly_if_the_agent_has_forgotten(connect: Connect) -> None:
    with Agent("1.x") as agent:
        hooks = connect(agent)
        waits = {
            name: [begin(hook, "hold", TaskState.RUNNING) for _ in range(_EACH)]
            for name, hook in hooks.items()
        }

        found = outlive(agent, waits, lambda: None)

    for name, ids in waits.items():
        errors = found[name]["errors"]
        assert {one: errors[one]["type"] for one in ids} == dict.fromkeys(ids, "NotFoundError")
        assert "one that keeps them in memory forgets all when it restarts" in str(errors[ids[0]])
