"""The task types under test. A new service adds its own here, and gets every fault in every mode."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dev.compat import NEWEST
from remote_tasks_provider.a2a.sensors import A2ATaskSensor
from remote_tasks_provider.bases.sensors import RemoteTaskSensor
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.qstash.sensors import QStashMessageSensor, QStashTaskSensor, QStashWorkflowSensor

if TYPE_CHECKING:
    from tests.conformance.peer import Peer

__all__ = ["SUBJECTS", "Subject"]


@dataclass(frozen=True)
class Subject:
    """One task type, and how the peer plays its tasks.

    :param add: adds a task to a peer that runs for so many seconds and then completes; returns its id.
    :param extras: the connection's.
    """

    name: str
    vendor: str
    sensor: type[RemoteTaskSensor]
    add: Callable[[Peer, float], str]
    extras: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def _add_manus_task(peer: Peer, seconds: float) -> str:
    return str(peer.sandbox.manus.add_task(script=[("running", seconds), ("completed", None)]))


def _add_message(peer: Peer, seconds: float) -> str:
    return str(peer.sandbox.qstash.add_message(script=[("ACTIVE", seconds), ("DELIVERED", None)]))


def _add_qstash_task(peer: Peer, seconds: float) -> str:
    return str(peer.sandbox.qstash.add_task(script=[("active", seconds), ("delivered", None)]))


def _add_workflow_run(peer: Peer, seconds: float) -> str:
    return str(peer.sandbox.qstash.workflows.add(script=[("RUN_STARTED", seconds), ("RUN_SUCCESS", None)]))


def _add_agent_task(peer: Peer, seconds: float) -> str:
    return peer.agent.add_task([("working", seconds), ("completed", None)])


_ALL = [
    Subject("Manus", "manus", ManusTaskSensor, _add_manus_task),
    Subject("Manus v1", "manus", ManusTaskSensor, _add_manus_task, {"api_version": "v1"}),
    Subject("Manus v2", "manus", ManusTaskSensor, _add_manus_task, {"api_version": "v2"}),
    Subject("QStash message", "qstash", QStashMessageSensor, _add_message),
    Subject("QStash task", "qstash", QStashTaskSensor, _add_qstash_task),
    Subject("Workflow run", "qstash", QStashWorkflowSensor, _add_workflow_run),
    Subject("A2A 1.0 REST", "a2a", A2ATaskSensor, _add_agent_task, {"binding": "rest"}),
    Subject(
        "A2A 1.0 JSON-RPC",
        "a2a",
        A2ATaskSensor,
        _add_agent_task,
        {"binding": "jsonrpc", "protocol_version": "1.0"},
    ),
    Subject("A2A 0.3 JSON-RPC", "a2a", A2ATaskSensor, _add_agent_task, {"protocol_version": "0.3"}),
]
# How a service is spoken to does not depend on Airflow: `make test` runs all, and on the other Airflows
# `make test-compat` runs one subject of each sensor.
SUBJECTS = (
    _ALL
    if os.environ.get("EXPECTED_AIRFLOW", NEWEST) == NEWEST
    else list({one.sensor: one for one in reversed(_ALL)}.values())
)
