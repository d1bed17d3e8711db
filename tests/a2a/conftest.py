"""An agent behind each wire form: 1.0 over REST and JSON-RPC, and 0.3 of servers of both versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dev.a2a.peers import Agent
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.core.states import TaskState
from tests.conftest import IMPATIENT

WIRES: dict[str, tuple[str, dict[str, str]]] = {
    "1.0 REST": ("1.x", {"binding": "rest"}),
    "1.0 JSON-RPC": ("1.x", {"binding": "jsonrpc", "protocol_version": "1.0"}),
    "0.3 layer": ("1.x", {"protocol_version": "0.3"}),
    "0.3": ("0.3", {}),
}


SENDS = ("/message:send", "SendMessage", "message/send", "message/stream")
"""What requests that send a message are known by."""


@dataclass
class Wire:
    """A connection to an agent, over one wire form."""

    name: str
    agent: Agent
    hook: A2AHook

    @property
    def lists(self) -> bool:
        """Whether tasks can be listed over it."""
        return self.name.startswith("1.0")

    def until(self, task_id: str, state: TaskState) -> Any:
        """Return a task once it has that state; an agent works on by itself."""
        for _ in range(500):
            task = self.hook.get_task(task_id)
            if task.state is state:
                return task
        raise AssertionError(f"{task.state} is not {state}")

    def lose(self, when: str = "after", **fault: Any) -> None:
        """Let the answer to the next message be lost."""
        self.hook.find_agent()
        for match in SENDS:
            self.agent.control("faults", {"match": match, "when": when, **fault})

    def runs(self) -> list[str]:
        """Return the texts that the agent has worked on."""
        return [run["text"] for run in self.agent.control("requests")["runs"]]

    def requests(self) -> list[str]:
        """Return the methods, or the paths, of the requests so far."""
        return [one["method"] or one["path"] for one in self.agent.control("requests")["requests"]]


@pytest.fixture
def make_wire(a2a_v1: Agent, a2a_v03: Agent, set_connection: Callable[..., str]) -> Callable[..., Wire]:
    def make(name: str, **extras: Any) -> Wire:
        version, own = WIRES[name]
        agent = a2a_v1 if version == "1.x" else a2a_v03
        agent.control("reset")
        extra = {**IMPATIENT, **own, **extras}
        conn_id = set_connection("a2a_default", conn_type="a2a", host=agent.url, extra=extra)
        return Wire(name, agent, A2AHook(conn_id))

    return make


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, make_wire: Callable[..., Wire]) -> Wire:
    return make_wire(request.param)


@pytest.fixture
def rest(make_wire: Callable[..., Wire]) -> Wire:
    return make_wire("1.0 REST")
