"""The task types under test. A new service adds its own here, and gets every fault in every mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from remote_tasks_provider.bases.sensors import RemoteTaskSensor
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.qstash.sensors import QStashMessageSensor, QStashTaskSensor, QStashWorkflowSensor
from remote_tasks_sandbox import Sandbox

__all__ = ["SUBJECTS", "Subject"]


@dataclass(frozen=True)
class Subject:
    """One task type, and how the sandbox plays its tasks.

    :param add: adds a task that runs for so many seconds and then completes; returns its id.
    :param extras: the connection's.
    """

    name: str
    vendor: str
    sensor: type[RemoteTaskSensor]
    add: Callable[[Sandbox, float], str]
    extras: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def _add_manus_task(sandbox: Sandbox, seconds: float) -> str:
    return str(sandbox.manus.add_task(script=[("running", seconds), ("completed", None)]))


def _add_message(sandbox: Sandbox, seconds: float) -> str:
    return str(sandbox.qstash.add_message(script=[("ACTIVE", seconds), ("DELIVERED", None)]))


def _add_qstash_task(sandbox: Sandbox, seconds: float) -> str:
    return str(sandbox.qstash.add_task(script=[("active", seconds), ("delivered", None)]))


def _add_workflow_run(sandbox: Sandbox, seconds: float) -> str:
    return str(sandbox.qstash.workflows.add(script=[("RUN_STARTED", seconds), ("RUN_SUCCESS", None)]))


SUBJECTS = [
    Subject("Manus v1", "manus", ManusTaskSensor, _add_manus_task, {"api_version": "v1"}),
    Subject("Manus", "manus", ManusTaskSensor, _add_manus_task),
    Subject("Manus v2", "manus", ManusTaskSensor, _add_manus_task, {"api_version": "v2"}),
    Subject("QStash message", "qstash", QStashMessageSensor, _add_message),
    Subject("QStash task", "qstash", QStashTaskSensor, _add_qstash_task),
    Subject("Workflow run", "qstash", QStashWorkflowSensor, _add_workflow_run),
]
