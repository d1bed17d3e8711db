"""A remote service whose answers are a function of time, and three ways to live through it.

Everything is the provider's own code but the sockets and the clock: a fake transport answers from the
history, and sleeping, rescheduling and deferring move one shared clock. What crosses a process border in
Airflow (trigger arguments, the event) crosses JSON here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from remote_tasks_provider.bases import hooks as hook_module
from remote_tasks_provider.bases import triggers as trigger_module
from remote_tasks_provider.bases import waiting as waiting_module
from remote_tasks_provider.bases.compat import AirflowRescheduleException
from remote_tasks_provider.core import cancel_worker as cancel_module
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import RemoteTaskError, TransportError
from remote_tasks_provider.core.http import client as client_module
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_provider.core.http.rate_limit import RateLimiter
from remote_tasks_provider.core.polling.drivers import poll_until_done
from tests.sleepers import Sleepers

START = 1_780_000_000.0

Answer = Callable[[float], Any]
"""Seconds since the start → a status word, an HTTP status, a whole JSON object, or an exception."""


class Clock:
    """Time that passes when everybody sleeps: then it is the moment at which the first one wakes."""

    def __init__(self) -> None:
        self.now = START
        self.sleepers = Sleepers(self.time, self._set)

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        await self.sleepers.sleep(seconds)

    def _set(self, now: float) -> None:
        self.now = now


class Service:
    """Answers ``GET /v1/tasks/<id>`` from each task's history."""

    def __init__(self, clock: Clock, histories: Mapping[str, Answer], retry_after: int) -> None:
        self.clock = clock
        self.histories = histories
        self.histories_at: dict[str, Mapping[str, Answer]] = {}
        """Those of other hosts."""
        self.retry_after = retry_after
        self.asked: list[tuple[str, float]] = []
        self.stopped: list[str] = []
        self.stop_answers: list[int] = []

    def reply(self, request: Request, host: str) -> Response:
        at = self.clock.now - START
        histories = self.histories_at.get(host, self.histories)
        if request.path.endswith("task.stop"):
            return self._stop(request.json["task_id"])
        task_id = request.path.removeprefix("/v1/tasks").removeprefix("/")
        self.asked.append((task_id or "list", at))
        if not task_id:
            return self._list(request, histories, at)
        answer = histories[task_id](at)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return self._json(answer, {"code": 2, "message": f"status {answer}"})
        return self._json(200, self._task(histories, task_id, answer, at))

    def _stop(self, task_id: str) -> Response:
        """Answer with the next of ``stop_answers``, or stop the task."""
        if self.stop_answers:
            return self._json(self.stop_answers.pop(0), {"ok": False})
        self.stopped.append(task_id)
        return self._json(200, {"ok": True})

    def _task(self, histories: Mapping[str, Answer], task_id: str, answer: Any, at: float) -> Any:
        if not isinstance(answer, str):
            return answer
        changed = getattr(histories[task_id], "changed_before", lambda moment: moment)(at)
        task = {"id": task_id, "status": answer, "created_at": START, "updated_at": START + changed}
        return {**task, "error": "the agent gave up"} if answer in ("failed", "error") else task

    def _list(self, request: Request, histories: Mapping[str, Answer], at: float) -> Response:
        """Answer like Manus: errors are errors of the whole list, a task that answers 404 is not in it."""
        answers = {task_id: history(at) for task_id, history in histories.items()}
        for answer in answers.values():
            if isinstance(answer, int) and answer != 404:
                return self._json(answer, {"code": 2, "message": f"status {answer}"})
        wanted = {value for name, value in request.query if name == "status"}
        tasks = [
            self._task(histories, task_id, answer, at)
            for task_id, answer in answers.items()
            if isinstance(answer, str) and (not wanted or answer in wanted)
        ]
        return self._json(
            200, {"object": "list", "data": sorted(tasks, key=lambda task: -task["updated_at"])}
        )

    def _json(self, status: int, body: Any) -> Response:
        headers = {"content-type": "application/json"}
        if status == 429:
            headers["retry-after"] = str(self.retry_after)
        return Response(status, headers, json.dumps(body).encode())


class TaskInstance:
    """What the provider uses of Airflow's task instance."""

    dag_id, run_id, task_id, map_index = "dag", "run", "wait", -1
    try_number = 1
    max_tries = 0

    def __init__(self, clock: Clock) -> None:
        self.xcoms: dict[str, Any] = {}
        self.start_date = datetime.fromtimestamp(clock.now, UTC)
        self.first_reschedule: datetime | None = None

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        json.dumps(value)
        self.xcoms[key] = value

    def xcom_pull(self, key: str, **_: Any) -> Any:
        return self.xcoms.get(key)

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


def forget_rate_limits(monkeypatch: Any) -> None:
    """Let every account have a new rate limiter, as in another process."""
    limiters: dict[Any, RateLimiter] = {}

    def limiter_for(account: Any, limits: Any) -> RateLimiter:
        return limiters.setdefault(account, RateLimiter({}, jitter=lambda: 0.0))

    for module in (hook_module, trigger_module):
        monkeypatch.setattr(module, "limiter_for", limiter_for)


def install(
    monkeypatch: Any, clock: Clock, histories: Mapping[str, Answer], *, retry_after: int = 50
) -> Service:
    """Put the fake transport and clock in place of the real ones."""
    service = Service(clock, histories, retry_after)

    class Transport:
        def __init__(self, config: Any) -> None:
            self.config = config

        def send(self, request: Request, timeout: float | None = None, fresh: bool = False) -> Response:
            return service.reply(request, self.config.base_url)

        def close(self) -> None:
            pass

    class AsyncTransport(Transport):
        async def send(self, request: Request) -> Response:  # type: ignore[override]
            return service.reply(request, self.config.base_url)

        async def aclose(self) -> None:
            pass

    monkeypatch.setattr(hook_module, "RequestsTransport", Transport)
    clock.sleepers.install(monkeypatch)
    monkeypatch.setattr(trigger_module, "HttpxTransport", AsyncTransport)
    time = SimpleNamespace(time=clock.time, monotonic=clock.time, sleep=clock.sleep)
    for module in (waiting_module, client_module, hook_module, cancel_module):
        monkeypatch.setattr(module, "time", time)
    monkeypatch.setattr(
        waiting_module, "poll_until_done", partial(poll_until_done, clock=clock.time, monotonic=clock.time)
    )
    forget_rate_limits(monkeypatch)
    clocks = Clocks(wall=clock.time, monotonic=clock.time, sleep=clock.asleep, spread=lambda: 1.0)
    monkeypatch.setattr(trigger_module.RemoteTaskTrigger, "clocks", clocks)
    return service


def live_through(make: Callable[..., Any], mode: str, clock: Clock) -> tuple[str, Any]:
    """Run the sensor or operator that ``make`` makes in ``mode``; return how it ended and with what."""
    ti = TaskInstance(clock)
    context: dict[str, Any] = {"ti": ti}
    try:
        return "success", _run(make, mode, clock, context)
    except AirflowSkipException as error:
        return "skipped", str(error)
    except AirflowSensorTimeout as error:
        return "timeout", str(error)
    except AirflowFailException as error:
        return "failed", f"{type(error.__cause__).__name__}: {error}"
    except AirflowTaskTimeout as error:
        return "attempt timeout", str(error)
    except RemoteTaskError as error:
        return "retryable", f"{type(error).__name__}: {error}"


def _run(make: Callable[..., Any], mode: str, clock: Clock, context: Any) -> Any:
    while True:
        task = make(mode)
        try:
            return task.execute(context)
        except AirflowRescheduleException as again:
            ti = context["ti"]
            ti.first_reschedule = ti.first_reschedule or ti.start_date
            clock.now = again.reschedule_date.timestamp()
        except TaskDeferred as deferral:
            event = run_trigger(deferral.trigger)
            return make(mode).resume_execution(deferral.method_name, {"event": event}, context)


def run_trigger(trigger: Any) -> Any:
    """Send ``trigger`` through JSON, as Airflow does, run it, and send its event back the same way."""
    path, kwargs = trigger.serialize()
    revived = type(trigger)(**json.loads(json.dumps(kwargs)))
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"

    async def first_event() -> Any:
        return [event async for event in revived.run()]

    (event,) = asyncio.run(first_event())
    return json.loads(json.dumps(event.payload))


def timeline(*steps: tuple[float, Any]) -> Answer:
    """Return a history from ``(from second, answer)`` steps."""

    def answer(at: float) -> Any:
        return [what for since, what in steps if since <= at][-1]

    answer.changed_before = lambda at: max(since for since, _ in steps if since <= at)  # type: ignore[attr-defined]
    return answer


def no_answer() -> TransportError:
    return TransportError("the connection was reset")
