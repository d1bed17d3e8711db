"""The ends of an agent's tasks, as the agent lists them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from remote_tasks_provider.a2a.events import A2A_EVENTS, _sight
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.core.polling.drivers import results_of
from remote_tasks_provider.core.polling.strategy import PollRequest
from remote_tasks_provider.core.states import TaskState
from tests.a2a.conftest import Wire


def listed(wire: Wire, since: float) -> Any:
    plan = A2A_EVENTS.poll_strategy(wire.hook.client.config).plan(PollRequest([repr(since)]))
    return results_of(plan, wire.hook.client.send)


def test_finished_tasks_are_events_and_running_ones_are_not(rest: Wire) -> None:
    rest.hook.find_agent()
    done = rest.hook.send_message("hello")
    busy = rest.hook.send_message("hold")
    assert isinstance(done, A2ATask)
    assert isinstance(busy, A2ATask)
    rest.until(done.id, TaskState.COMPLETED)

    for since in (0.0, datetime.now(UTC).timestamp() - 600):
        found = listed(rest, since)
        assert found[done.id].payload["state"] == "completed"
        assert found[busy.id].payload is None


def test_task_without_a_time_is_no_event() -> None:
    assert _sight(A2ATask.model_validate({"id": "t", "status": {"state": "completed"}})) is None
