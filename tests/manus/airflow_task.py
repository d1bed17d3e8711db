"""One Airflow task instance through its attempts, with everything around it that Airflow would do.

Time is the sandbox's: whoever sleeps moves it, so that hours pass at once and all agree on what time it is.
What crosses a process border in Airflow (trigger arguments, events, what an operator takes along, the state
store, XComs) crosses JSON here, and each part of an attempt has an operator of its own.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

from remote_tasks_provider.bases import agent_tasks, hitl, once, submission, triggers, waiting
from remote_tasks_provider.bases import hooks as hook_module
from remote_tasks_provider.core import cancel_worker
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http import client
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.polling.drivers import poll_until_done
from remote_tasks_provider.manus import hooks
from remote_tasks_provider.manus.submission import ManusSubmission
from remote_tasks_sandbox import Sandbox
from tests.conftest import MANUS_KEY
from tests.sleepers import Sleepers

__all__ = [
    "MODES",
    "Account",
    "AirflowTask",
    "Make",
    "die_in_the_request",
    "dying",
    "over_json",
    "run_trigger",
]

MODES = ("on a worker", "deferred")

Make = Callable[[], Any]


def over_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _one_clock(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """Let the provider live by the sandbox's clock."""
    clock = sandbox.clock

    sleepers = Sleepers(clock.now, lambda moment: clock.advance(moment - clock.now()))
    sleepers.install(monkeypatch)

    def sleep(seconds: float) -> None:
        clock.advance(max(0.0, seconds))

    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromtimestamp(clock.now(), tz)

    fake = SimpleNamespace(time=clock.now, monotonic=clock.now, sleep=sleep)
    for module in (submission, waiting, once, hitl, agent_tasks, hooks, client, hook_module, cancel_worker):
        monkeypatch.setattr(module, "time", fake)
    monkeypatch.setattr(hooks, "datetime", Now)
    waits = partial(poll_until_done, clock=clock.now, monotonic=clock.now)
    monkeypatch.setattr(waiting, "poll_until_done", waits)
    monkeypatch.setattr(hook_module, "Client", lambda *parts, **named: Client(*parts, **named, sleep=sleep))
    clocks = Clocks(wall=clock.now, monotonic=clock.now, sleep=sleepers.sleep, spread=lambda: 1.0)
    monkeypatch.setattr(triggers.RemoteTaskTrigger, "clocks", clocks)


class Store(dict[str, Any]):
    """Airflow's task state store: JSON values, and never ``None``."""

    def set(self, key: str, value: Any) -> None:
        assert value is not None
        self[key] = over_json(value)

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Desk:
    """Where questions to people arrive: one form a task instance. Airflow 3.3 keeps the first one.

    :param answers: for each question in turn, what the person does with its form; ``None`` lets time run out.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.replaces = False
        """Whether the form of a later question takes its place, as in Airflow 3.4."""
        self._form: dict[str, Any] | None = None

    def send(self, request: Any) -> Any:
        """Take the form of a question, as Airflow's supervisor would; the rest is of no concern here."""
        if not isinstance(request, CreateHITLDetailPayload):
            return None
        form = over_json(request.model_dump(mode="json"))
        self.asked.append(form)
        self._form = form if self.replaces else self._form or form
        people = [SimpleNamespace(**user) for user in self._form.get("assigned_users") or []]
        return SimpleNamespace(**{**self._form, "assigned_users": people})

    def reply(self) -> dict[str, Any]:
        """Return what Airflow resumes the task with, for the next answer."""
        answer = self.answers.pop(0)
        if answer is None:
            return {"error": "the response deadline has passed", "error_type": "timeout"}
        chosen, fields = answer if isinstance(answer, tuple) else (answer, {})
        code = self.asked[-1]["params"]["question_code"]["value"]
        return {
            "chosen_options": [chosen],
            "params_input": {"question_code": code, **fields},
            "responded_by_user": {"id": "7", "name": "Ada"},
            "responded_at": "2026-01-01T00:00:00Z",
            "timedout": False,
        }


class AirflowTask:
    """What the provider sees of Airflow's task instance, and how its attempts go.

    :param remembers: whether there is a task state store, as from Airflow 3.3 on.
    :param retries: those of its operators.
    """

    dag_id, run_id, task_id = "brief", "scheduled__2026-01-01", "ask"
    log_url = None

    def __init__(
        self, sandbox: Sandbox, *, remembers: bool = True, retries: int = 0, map_index: int = -1
    ) -> None:
        self.clock = sandbox.clock
        self.store = Store() if remembers else None
        self.retries = self.max_tries = retries
        self.map_index = map_index
        self.try_number = 1
        self.id = uuid.uuid4()
        self.xcoms: dict[str, Any] = {}
        self.desk = Desk()
        self.deferrals: list[TaskDeferred] = []
        self.start_date = self._now()
        self.run_start = self._now()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now(), UTC)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = over_json(value)

    def xcom_pull(self, task_ids: Any = None, key: str = "return_value", map_indexes: Any = None) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)

    @property
    def context(self) -> dict[str, Any]:
        context = {"ti": self, "dag_run": SimpleNamespace(start_date=self.run_start)}
        return context if self.store is None else {**context, "task_state_store": self.store}

    # ------------------------------------------------------------------------------------------ attempts

    def attempt(self, make: Make) -> Any:
        """Run one attempt to its end, through as many deferrals and questions as it takes."""
        self.xcoms.clear()
        self.start_date = self._now()
        return self._follow(make, lambda: self._operator(make).execute(self.context))

    def resume(self, make: Make, method: str, kwargs: Mapping[str, Any]) -> Any:
        """Go on as Airflow does after a pause, in a new operator."""
        return self._follow(make, self._resumption(make, method, over_json(dict(kwargs))))

    def _operator(self, make: Make) -> Any:
        operator = make()
        operator.retries = self.retries
        return operator

    def _follow(self, make: Make, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except TaskDeferred as deferral:
                self.deferrals.append(deferral)
                kwargs = {**(deferral.kwargs or {}), "event": run_trigger(deferral.trigger)}
                method = deferral.method_name
            except TaskAwaitingInput as pause:
                kwargs, method = dict(pause.kwargs or {}), pause.method_name
                self.clock.advance(60 if pause.timeout is None else pause.timeout.total_seconds())
                kwargs["event"] = self.desk.reply()
            step = self._resumption(make, method, over_json(kwargs))

    def _resumption(self, make: Make, method: str, kwargs: dict[str, Any]) -> Callable[[], Any]:
        return lambda: self._operator(make).resume_execution(method, kwargs, self.context)

    def defer(self, make: Make) -> TaskDeferred:
        """Run an attempt up to its deferral."""
        self.xcoms.clear()
        self.start_date = self._now()
        with pytest.raises(TaskDeferred) as deferred:
            self._operator(make).execute(self.context)
        return deferred.value

    def attempts(self, make: Make) -> Any:
        """Run attempts as Airflow would: another one as long as the error allows it and retries are left."""
        while True:
            try:
                return self.attempt(make)
            except RemoteTaskError:
                if self.try_number > self.max_tries:
                    raise
            self.retry()

    def retry(self) -> None:
        """Go to the next attempt, as after a failure or a crash."""
        self.try_number += 1
        self.id = uuid.uuid4()

    def clear(self) -> None:
        """Go to the next attempt, as after a user cleared a task that was not running on a worker."""
        self.max_tries = self.try_number + self.retries
        self.retry()

    def clear_while_running(self) -> None:
        """Likewise for one on a worker: Airflow kills it and lets it retry, and does not count it as new."""
        self.retry()


def run_trigger(trigger_made: Any) -> Any:
    """Send a trigger through JSON, run it, and send its event back the same way."""
    _, kwargs = trigger_made.serialize()
    revived = type(trigger_made)(**over_json(kwargs))

    async def first_event() -> Any:
        return [event async for event in revived.run()]

    (event,) = asyncio.run(first_event())
    return over_json(event.payload)


class Account:
    """A sandboxed Manus account, the connection to it, and the Airflow tasks that use it."""

    def __init__(
        self, sandbox: Sandbox, url: str, define: Callable[..., str], patch: pytest.MonkeyPatch
    ) -> None:
        self.sandbox = sandbox
        self.manus = sandbox.manus
        self.faults = sandbox.faults
        self._url = url
        self._define = define
        self.patch = patch
        _one_clock(patch, sandbox)
        self.connect("v2")

    def connect(self, version: str, **extra: Any) -> None:
        """Let the connection ``manus_default`` lead here.

        :param version: ``v1``, ``v2``, or ``best``, where each call uses the one that does it best.
        """
        named = None if version == "best" else version
        extra = {"api_version": named, "max_attempts": 2, "connect_timeout": 2, "read_timeout": 2, **extra}
        self._define("manus_default", conn_type="manus", host=self._url, password=MANUS_KEY, extra=extra)

    def task(self, *answers: Any, **facts: Any) -> AirflowTask:
        """Return an Airflow task; its questions to people are answered by ``answers``."""
        task = AirflowTask(self.sandbox, **facts)
        task.desk = Desk(*answers)
        self.patch.setattr(task_runner, "SUPERVISOR_COMMS", task.desk, raising=False)
        return task

    @property
    def created(self) -> list[str]:
        """The ids of the tasks that were created, oldest first."""
        return [one.id for one in self.manus.created]

    def word(self, task_id: str) -> str:
        """Return the status of a task, as the account knows it."""
        found = self.manus.get(task_id)
        assert found is not None
        return found.timeline.word(self.sandbox.clock.now())

    def calls(self, path: str) -> int:
        """Return how many requests there were to paths that end so."""
        return sum(one.path.endswith(path) for one in self.sandbox.requests)

    def states(self, **known: str) -> list[dict[str, Any]]:
        """Let Airflow know the states of task instances; return what it is asked for, as it is asked."""
        asked: list[dict[str, Any]] = []

        def get_task_states(**query: Any) -> dict[str, dict[str, str]]:
            asked.append(query)
            return {AirflowTask.run_id: known}

        self.patch.setattr(task_runner.RuntimeTaskInstance, "get_task_states", staticmethod(get_task_states))
        return asked


def dying(make: Make) -> Make:
    """Return what makes an operator that is killed once it has started its task."""

    def made() -> Any:
        operator = make()

        def killed(*_: Any) -> None:
            raise SystemExit

        operator.wait = killed
        return operator

    return made


def die_in_the_request(task: AirflowTask, make: Make) -> None:
    """Run an attempt that is killed after Manus read its request, and before it knows the answer."""
    create = ManusSubmission.submit

    def killed(self: ManusSubmission, tag: Any) -> None:
        create(self, tag)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ManusSubmission, "submit", killed)
        with pytest.raises(SystemExit):
            task.attempt(make)
