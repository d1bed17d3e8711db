"""The ways in which a sensor waits, each driven as Airflow drives it, up to the borders that JSON crosses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from remote_tasks_provider.bases.compat import AirflowRescheduleException
from remote_tasks_provider.core.errors import RemoteTaskError
from tests.conformance.peer import START, Peer

__all__ = ["MODES", "RESTARTS", "Ending", "event_of", "live_through"]

Ending = tuple[str, Any]
"""``success``, ``skipped``, ``timeout``, ``failed`` (no retry) or ``retryable``; the result or the error."""

RESTARTS = (45.0, 100.0)
"""Seconds for which a triggerer lives before it is killed."""
MODES = ("poke", "reschedule", "deferrable", "restarted triggerer")


class TaskInstance:
    """What the provider uses of Airflow's task instance."""

    dag_id, run_id, task_id, map_index = "dag", "run", "wait", -1
    try_number = 1
    max_tries = 0

    def __init__(self, peer: Peer) -> None:
        self.xcoms: dict[str, Any] = {}
        self.start_date = datetime.fromtimestamp(peer.time.wall(), UTC)
        self.first_reschedule: datetime | None = None

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        json.dumps(value)
        self.xcoms[key] = value

    def xcom_pull(self, key: str, **_: Any) -> Any:
        return self.xcoms.get(key)

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


def live_through(peer: Peer, mode: str, ids: Any, **arguments: Any) -> Ending:
    """Wait with the subject's sensor; return how it ended."""

    def make() -> Any:
        how = {"deferrable": False, "mode": mode} if mode in ("poke", "reschedule") else {"deferrable": True}
        name = peer.subject.sensor.remote_task_type.id_param
        return peer.subject.sensor(task_id="wait", **{name: ids}, **how, **arguments)

    try:
        return "success", _run(peer, make, mode)
    except AirflowSkipException as error:
        return "skipped", error
    except AirflowSensorTimeout as error:
        return "timeout", error
    except AirflowFailException as error:
        return "failed", error.__cause__
    except RemoteTaskError as error:
        return "retryable", error


def _run(peer: Peer, make: Callable[[], Any], mode: str) -> Any:
    context: Any = {"ti": TaskInstance(peer)}
    while True:
        try:
            return make().execute(context)
        except AirflowRescheduleException as again:
            ti = context["ti"]
            ti.first_reschedule = ti.first_reschedule or ti.start_date
            peer.time.move_to(again.reschedule_date.timestamp() - START - peer.time.jump)
        except TaskDeferred as deferral:
            event = event_of(peer, deferral.trigger, restarts=mode == "restarted triggerer")
            return make().resume_execution(deferral.method_name, {"event": event}, context)


def event_of(peer: Peer, trigger: Any, *, restarts: bool) -> Any:
    """Run a trigger as a triggerer does; one that is killed twice on the way, if ``restarts``."""

    async def run(revived: Any, seconds: float | None) -> Any:
        async with asyncio.timeout(seconds):
            (event,) = [event async for event in revived.run()]
            return event

    for seconds in RESTARTS if restarts else ():
        try:
            return _cross(peer.run_async(run(_revived(trigger), seconds)).payload)
        except TimeoutError:
            pass
    return _cross(peer.run_async(run(_revived(trigger), None)).payload)


def _revived(trigger: Any) -> Any:
    _, kwargs = trigger.serialize()
    return type(trigger)(**_cross(kwargs))


def _cross(value: Any) -> Any:
    """Send a value through a database that stores JSON, and that does not keep the order of keys."""
    return json.loads(json.dumps(value, sort_keys=True))
