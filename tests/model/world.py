"""The account of a service, the Airflows that use it, and what each has done: one history.

The provider is used through its public interface only: an operator is made, executed and killed. Everything
between it and the request is its own code. The answers are the sandbox's, the time is virtual, and the books
are kept here: what was paid, by whom, and what Airflow was told of it.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time as real_time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowTaskTimeout,
    TaskDeferred,
)
from airflow.sdk.execution_time import task_runner

from remote_tasks_provider.bases import hooks
from remote_tasks_provider.core import cancel_worker
from remote_tasks_provider.core.errors import (
    OrphanedStartError,
    RemoteTaskError,
    StaleStartError,
    TaskCancelledError,
    TaskFailedError,
    TransportError,
)
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_provider.manus import hooks as manus_hooks
from remote_tasks_sandbox.manus import account as manus_account
from remote_tasks_sandbox.qstash import engine as qstash_engine
from tests.conformance.modes import event_of
from tests.conformance.peer import Peer
from tests.model.accounts import ACCOUNTS, FINISHED, UNFINISHED
from tests.model.disk import Disk
from tests.model.fake_airflow import Crash, Dag, DagRun, TaskInstance, Version
from tests.model.oracle import Asked, Earlier, why_not_pay, why_not_send
from tests.model.plans import NO_FAULT, Fault, Plan

__all__ = ["NAMES", "PROMISES", "PROMPTS", "SERVICES", "Ending", "Paid", "Settings", "Violation", "World"]

SERVICES = tuple(ACCOUNTS)
NAMES = ("main", "staging", "sibling", "other DAG")
"""The task instances: one, its twin in another Airflow, another index of its own task, another DAG."""

PROMISES = ("0", "1", "2", "3", "4", "5", "6")
PROMPTS = ("Summarise.", "Summarise all.")
_POLL = 120.0
_TIMEOUT = 1000.0
_RETURNED = "after execute() has returned"
_DEFERRED = "before a deferral"
# Airflow ends a killed task so many seconds after it has called on_kill().
_UNTIL_KILLED = 5.0
_EXPECTED = (RemoteTaskError, AirflowTaskTimeout, ValueError, OSError)
_MODULE = "remote_tasks_provider."


@dataclass(frozen=True)
class Settings:
    """What stays the same in one history.

    :param hides: whether tasks are kept out of the list.
    :param defers: whether the wait is the triggerer's.
    :param writes: whether the result goes to a file.
    :param in_loops: whether the task is in a loop, where Airflow has those.
    """

    service: str = "v2"
    version: Version = "3.3"
    on_stale_state: str = "fail"
    on_orphaned_intent: str = "search"
    retries: int = 2
    hides: bool = False
    in_loops: bool = False
    waits: bool = True
    defers: bool = False
    writes: bool = False
    cancel_on_kill: bool = True

    @property
    def loops(self) -> bool:
        return self.in_loops and self.version == "3.4"

    @property
    def results_in_files(self) -> bool:
        return self.writes and self.keeps_tasks

    @property
    def keeps_tasks(self) -> bool:
        return ACCOUNTS[self.service].keeps_tasks

    @property
    def is_hidden(self) -> bool:
        return self.hides and ACCOUNTS[self.service].hides


@dataclass(frozen=True)
class Violation:
    """A promise that was broken.

    :param promise: its number in the list of promises of :class:`World`.
    """

    promise: str
    text: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.text}"


@dataclass(eq=False)
class Paid:
    """A remote task, or a message, in the books."""

    id: str
    owner: TaskInstance
    attempt: int
    inputs: tuple[str, str]
    at: float
    unknown_until: float = 0.0
    is_told: bool = False
    is_over: bool = False
    was_stopped_by_hand: bool = False
    was_replaced: bool = False
    was_cleared: bool = False
    was_restarted: bool = False
    was_stopped: bool = False
    was_deferred: bool = False
    was_useless: bool = False


@dataclass(frozen=True)
class Ending:
    """How an attempt ended: ``success``, ``final``, ``retryable``, or ``crash``."""

    kind: str
    value: Any = None

    def __str__(self) -> str:
        if self.kind == "success":
            return (
                f"success: {self.value.get('id', self.value) if isinstance(self.value, dict) else self.value}"
            )
        return self.kind if self.value is None else f"{self.kind}: {type(self.value).__name__}: {self.value}"


@dataclass
class _Run:
    """An attempt under way."""

    ti: TaskInstance
    plan: Plan
    operator: Any = None
    reads: int = 0
    boundaries: int = 0
    dies_at: float | None = None
    is_dead: bool = False
    is_killing: bool = False
    in_trigger: bool = False
    has_deferred: bool = False
    returned_as: str = ""
    is_wrong: bool = False
    has_acted: bool = False
    paid_fault: Fault = NO_FAULT

    def is_at(self, where: str) -> bool:
        """Whether the plan's act happens here."""
        at = self.plan.at
        return where.startswith(at) if isinstance(at, str) else self.boundaries == at + 1


class World(Peer):
    """One account, its task instances, and the promises that the provider makes about them.

    0. An attempt ends in an error that the provider has chosen, or in none.
    1. Each task instance pays once for what its user wants (:mod:`tests.model.oracle`).
    2. No operator takes another's task, or one that was asked for something else.
    3. A finished task that a record names is handed over by the next attempt that meets no trouble.
    4. Who cannot decide says which tasks it may be, where they are, and what to do.
    5. No operator stops another's task.
    6. Nothing is sent before the arguments are checked.
    """

    ignored: Collection[str] = ()
    """Promises that are not checked."""

    def __init__(self, settings: Settings) -> None:
        kind = ACCOUNTS[settings.service]
        super().__init__(kind.subject_of(settings.service))
        self.account = kind(self, settings.service)
        self.settings = settings
        self.lines: list[str] = []
        self.violations: list[Violation] = []
        self.books: list[Paid] = []
        self.runs: list[_Run] = []
        self.sent = 0
        self.disk = Disk()
        self.time.sleep = self._sleep  # type: ignore[method-assign]
        self.tasks = dict(zip(NAMES, self._task_instances(), strict=True))
        self.sandbox.settings.rate_limits.clear()

    def _task_instances(self) -> Iterator[TaskInstance]:
        version, retries = self.settings.version, self.settings.retries

        def made(name: str, attachment: str = "a", run: DagRun | None = None, **facts: Any) -> TaskInstance:
            facts["run"] = run or DagRun(self.time.wall())
            dag = Dag(PROMPTS[0], f"https://files.example.com/{attachment}.pdf", retries)
            return TaskInstance(name, dag, version, self.boundary, self.time.wall, **facts)

        run, loops = DagRun(self.time.wall()), self.settings.loops
        yield made("main", run=run, loop=0 if loops else None)
        yield made("staging", "b", deployment="staging", loop=0 if loops else None)
        yield made("sibling", "c", run=run, **({"loop": 1} if loops else {"map_index": 1}))
        yield made("other DAG", "d", dag_id="digests")

    # ------------------------------------------------------------------------------------------ the history

    def note(self, text: str) -> None:
        """Write a line of the history."""
        depth = "" if len(self.runs) < 2 else "    " * (len(self.runs) - 1)
        self.lines.append(f"{self.time.passed:7.0f} s  {depth}{text}")

    def accuse(self, promise: str, text: str) -> None:
        if promise in self.ignored:
            return
        self.note(f"*** PROMISE {promise} BROKEN: {text}")
        self.violations.append(Violation(promise, text))

    # ----------------------------------------------------------------------------------- what the user does

    def attempt(self, name: str, plan: Plan, **wrong: Any) -> Ending:
        """Run the next attempt of a task instance."""
        ti = self.tasks[name]
        ti.begin()
        ti.asked_to_judge = False
        self.note(f"{name}, attempt {ti.try_number} (max_tries {ti.max_tries}): {_of(plan)}")
        run = _Run(ti, plan, paid_fault=plan.paid, is_wrong=bool(wrong))
        before = {one.id for one in self.books if self._state(one) == "completed"}
        for one in self._of(ti):
            # A person may resume it while the attempt decides.
            one.was_useless = FINISHED.get(self._state(one)) == "failed"
        sent, is_broken = self.sent, self.settings.results_in_files and self.disk.is_broken
        with self._running(run):
            ending = self._execute(run, wrong)
        self.note(f"{name}: {ending}")
        if is_broken and self.sent > sent and not plan.act:
            self.accuse("6", f"{self.sent - sent} requests were sent although no result can be written")
        self._close(run, ending, before)
        return ending

    def clear(self, name: str, *, keep_store: bool = True) -> None:
        """Let a user clear a task instance."""
        ti = self.tasks[name]
        drops = ti.version == "3.4" and not keep_store
        kept = "" if ti.version != "3.4" else ", its store dropped" if drops else ", its store kept"
        self.note(f"a user clears {name}{kept}")
        for one in self._of(ti):
            # Who drops what is known of a remote task clears it, even while the Airflow task is running.
            if ti.state == "running" and not drops:
                one.was_restarted = True
            else:
                one.was_cleared = True
                one.is_over = one.is_over or one.is_told or ti.asked_to_judge
        ti.clear(keep_store=keep_store)

    def edit(self, name: str, what: str, value: Any) -> None:
        """Let a person edit the DAG."""
        self.note(f"{name}: the DAG's {what} is {value!r} now")
        setattr(self.tasks[name].dag, what, value)

    def mend(self) -> None:
        """Let the results be written again."""
        self.note("the disk works again")
        self.disk.mend()

    def pass_time(self, seconds: float) -> None:
        self.note(f"{seconds:g} s pass")
        self.time.move_to(self.time.passed + seconds)

    def by_hand(self, name: str, what: str) -> None:
        """Let a person do something to a task instance's latest remote task, in the vendor's app."""
        own = [one for one in self._of(self.tasks[name]) if self._exists(one)]
        if not own or not self.settings.keeps_tasks:
            return
        one = own[-1]
        self.note(f"a person: {what} ({one.id})")
        self.account.by_hand(one.id, what, was_stopped=one.was_stopped_by_hand)
        # Manus's events say so from then on, whatever becomes of it.
        one.was_stopped_by_hand = one.was_stopped_by_hand or what == "person stops it"

    # ------------------------------------------------------------------------------------- an attempt's life

    @contextmanager
    def _running(self, run: _Run) -> Iterator[None]:
        self.runs.append(run)
        before = os.environ.get(_DEPLOYMENT)
        os.environ[_DEPLOYMENT] = run.ti.deployment
        try:
            yield
        finally:
            self.runs.pop()
            if before is None:
                del os.environ[_DEPLOYMENT]
            else:
                os.environ[_DEPLOYMENT] = before

    def _execute(self, run: _Run, wrong: dict[str, Any]) -> Ending:
        try:
            run.operator = self._operator(run.ti, wrong)
            value = self._live_through(run, wrong)
            run.returned_as = run.ti.state
            self.boundary(_RETURNED)
        except Crash:
            self._note_what_was_cut_short(run.ti)
            return Ending("crash")
        except (AirflowFailException, AirflowSensorTimeout) as error:
            return Ending("final", error)
        except AirflowTaskTimeout as error:
            return self._after_timeout(run, error)
        except Exception as error:  # noqa: BLE001 - as Airflow: whatever it is, a retry
            return Ending("retryable", error)
        return Ending("success", value)

    def _note_what_was_cut_short(self, ti: TaskInstance) -> None:
        """A worker that dies in the moment of a deferral or a delivery leaves a note that it has happened."""
        for one in self._of(ti) if ti.store is not None else ():
            one.was_deferred = one.was_deferred or ti.store.says("is_deferred", one.id)
            one.is_told = one.is_told or (ti.state == "running" and ti.store.says("is_delivered", one.id))

    def _live_through(self, run: _Run, wrong: dict[str, Any]) -> Any:
        """Execute the operator; after a deferral another one resumes it, as in another process."""
        ti = run.ti
        step = partial(run.operator.execute, ti.context)
        while True:
            try:
                return step()
            except TaskDeferred as deferral:
                self._defer(run)
                event = event_of(self, deferral.trigger, restarts=False)
                run.in_trigger, ti.state = False, "running"
                run.operator = self._operator(ti, wrong)
                kwargs = json.loads(json.dumps({**(deferral.kwargs or {}), "event": event}, sort_keys=True))
                step = partial(run.operator.resume_execution, deferral.method_name, kwargs, ti.context)

    def _defer(self, run: _Run) -> None:
        """Give the wait to the triggerer, unless a user ends it there: then no process is left to be told."""
        self.boundary(_DEFERRED)
        if run.dies_at is not None:
            # Airflow refuses the deferral of a task that is no longer running.
            self._die(run)
        run.in_trigger, run.ti.state = True, "deferred"
        run.has_deferred = True
        for one in self._of(run.ti):
            one.was_deferred = True
        act = run.plan.act
        if run.has_acted or act not in ("clear", "mark failed", "mark success"):
            return
        if act == "clear":
            self.clear(run.ti.name, keep_store=False)
        else:
            run.ti.state = act.removeprefix("mark ")
            self.note(f"a user marks {run.ti.name} {run.ti.state} while it is deferred")
        self._die(run)

    def _after_timeout(self, run: _Run, error: BaseException) -> Ending:
        """Airflow calls ``on_kill`` after its own timeout."""
        run.is_killing = True
        try:
            run.operator.on_kill()
        except Crash:
            return Ending("crash")
        return Ending("retryable", error)

    def _operator(self, ti: TaskInstance, wrong: dict[str, Any]) -> Any:
        chosen = self.settings
        common: dict[str, Any] = {
            "task_id": ti.task_id,
            "retries": ti.dag.retries,
            "deferrable": chosen.defers,
            "poll_interval": _POLL,
            "timeout": _TIMEOUT,
            "wait_for_completion": chosen.waits,
            "cancel_on_kill": chosen.cancel_on_kill,
        }
        more = {
            "on_stale_state": chosen.on_stale_state,
            "on_orphaned_intent": chosen.on_orphaned_intent,
        }
        if chosen.is_hidden:
            more["hide_in_task_list"] = True
        if chosen.results_in_files:
            more["result_path"] = f"{self.disk.path}/{ti.name}.json"
        return self.account.operator(ti.dag.prompt, ti.dag.attachment, common | wrong, more | wrong)

    def boundary(self, where: str) -> None:
        """Pass a point at which a process may die, or the world may change under it."""
        if not self.runs:
            return
        run = self.runs[-1]
        if run.is_dead:
            raise Crash
        if run.dies_at is not None and self.time.passed >= run.dies_at and not run.is_killing:
            self.note(f"Airflow ends the process {where}")
            self._die(run)
        if run.in_trigger:
            return
        run.boundaries += 1
        # Airflow's clock for an attempt stops when execute() returns or defers.
        is_too_late = where in (_RETURNED, _DEFERRED) and run.plan.act == "execution timeout"
        if run.plan.act and not run.has_acted and run.is_at(where) and not is_too_late:
            run.has_acted = True
            self._act(run, where)
            if run.dies_at is not None and self.time.passed >= run.dies_at:
                self.note(f"Airflow ends the process {where}")
                self._die(run)

    def _die(self, run: _Run) -> None:
        run.is_dead = True
        raise Crash

    def _act(self, run: _Run, where: str) -> None:
        act = run.plan.act
        if act == "crash":
            self.note(f"the worker dies {where}")
            self._die(run)
        elif act == "execution timeout":
            self.note(f"execution_timeout {where}")
            raise AirflowTaskTimeout("Timeout, PID: 1")
        elif act == "another submits":
            self._interleave(run, where)
        elif act == "disk breaks":
            self.note(f"the disk breaks {where}")
            self.disk.break_()
        elif act.startswith("person"):
            self.by_hand(run.ti.name, act)
        elif run.operator is not None:
            self._kill(run, act, where)

    def _kill(self, run: _Run, act: str, where: str) -> None:
        if act == "clear":
            self.clear(run.ti.name, keep_store=False)
        else:
            run.ti.state = act.removeprefix("mark ")
            self.note(f"a user marks {run.ti.name} {run.ti.state} {where}")
        run.dies_at, run.is_killing = self.time.passed + _UNTIL_KILLED, True
        run.operator.on_kill()
        run.is_killing = False

    def _interleave(self, run: _Run, where: str) -> None:
        others = [ti for ti in self.tasks.values() if ti.may_run and ti is not run.ti]
        if others and len(self.runs) == 1:
            self.note(f"meanwhile, {where}:")
            at = 7 if self.settings.waits else 0
            self.attempt(others[0].name, Plan(act="crash" if at else "", at=at, fate=run.plan.fate))

    def _sleep(self, seconds: float) -> None:
        self.boundary("before a pause")
        run = self.runs[-1] if self.runs else None
        end = self.time.passed + max(0.0, seconds)
        if run is not None and run.dies_at is not None and run.dies_at < end and not run.is_killing:
            self.time.move_to(run.dies_at)
        else:
            self.time.move_to(end)
        self.boundary("after a pause")

    # ------------------------------------------------------------------------------------------- the account

    def answer(
        self, request: Request, config: ConnectionConfig, timeout: float | None
    ) -> Response | Exception:
        """Return the service's answer, or what comes instead."""
        self.boundary(f"before {request.place}")
        run = self.runs[-1]
        self.sent += 1
        fault = self._fault(run, request)
        found = (
            self._faulty(run, fault, request, config) if fault.kind else self._served(run, request, config)
        )
        if fault.kind:
            self.note(f"{request.place}: {fault}")
        self.boundary(f"after {request.place}")
        return found

    def _fault(self, run: _Run, request: Request) -> Fault:
        if self.account.pays(request):
            fault, run.paid_fault = run.paid_fault, NO_FAULT
            return fault
        run.reads += 1
        return run.plan.read if run.reads == run.plan.read_at + 1 else NO_FAULT

    def _faulty(
        self, run: _Run, fault: Fault, request: Request, config: ConnectionConfig
    ) -> Response | Exception:
        if fault.kind == "refused":
            return TransportError("connection refused", sent=False)
        if fault.effect == "start":
            self._served(run, request, config)
        self.time.move_to(self.time.passed + (fault.seconds if fault.kind == "lost" else 0.0))
        if fault.effect == "end":
            self._served(run, request, config)
        if fault.kind == "lost":
            return TransportError("the connection was reset")
        headers = {"content-type": "application/json"}
        if fault.status == 429:
            headers["retry-after"] = f"{fault.seconds:g}"
        return self._refusal(request, fault.status, headers)

    def _refusal(self, request: Request, status: int, headers: dict[str, str]) -> Response:
        status, body = self.account.refusal(request, status)
        return Response(status, headers, json.dumps(body).encode())

    def _served(self, run: _Run, request: Request, config: ConnectionConfig) -> Response:
        target = self.account.target(request)
        if target and any(one.id == target and self.time.passed < one.unknown_until for one in self.books):
            return self._refusal(request, 404, {"content-type": "application/json"})
        if target and self.account.cancels(request):
            self._stopped(run, target)
        response = self._good(request, config)
        if self.account.pays(request):
            self._enter(run)
        return response

    def _enter(self, run: _Run) -> None:
        """Write what has just been paid into the books, and judge it."""
        known = {one.id for one in self.books}
        for task_id in self.account.ids():
            if task_id in known:
                continue
            ti, fate = run.ti, run.plan.fate
            self._judge(ti)
            unknown_until = self.time.passed + fate.unknown_for
            inputs = ti.dag.inputs
            paid = Paid(task_id, ti, ti.try_number, inputs, self.time.passed, unknown_until)
            self.books.append(paid)
            self.note(f"paid by {ti.name}: {task_id} ({fate})")
            self.account.meet(task_id, fate)
            if self.settings.is_hidden:
                self.sandbox.faults.add("omit", task_id=task_id)

    def _judge(self, ti: TaskInstance) -> None:
        """Accuse the attempt that has just paid, unless the oracle lets it."""
        earlier = [self._earlier(one) for one in self._of(ti)]
        chosen, has_records = self.settings, ti.store is not None and not ti.has_lost_records
        if not chosen.keeps_tasks:
            why = why_not_send(earlier, has_records=has_records)
        else:
            asked = Asked(
                ti.dag.inputs,
                chosen.on_stale_state,
                chosen.on_orphaned_intent,
                has_records=has_records,
                # Who has no list cannot find anything, and knows it.
                has_tags=(self.account.tags or not self.account.lists) and not chosen.is_hidden,
            )
            why = why_not_pay(earlier, asked)
        for one in self._of(ti) if why is None else ():
            one.was_replaced = True
        if why is not None:
            self.accuse("1", f"{ti.name} pays again in attempt {ti.try_number}: {why}")

    def _earlier(self, one: Paid) -> Earlier:
        store, end = one.owner.store, FINISHED.get(self._state(one), "")
        return Earlier(
            one.id,
            one.is_over,
            # What has failed is of no use, whatever was cleared.
            one.was_cleared or (one.was_restarted and end == "failed"),
            one.was_stopped,
            "failed" if one.was_useless else end,
            self._exists(one),
            store is not None and store.names(one.id),
            one.inputs,
            self.time.passed - one.at,
            may_be_stopped=one.was_deferred and self.settings.cancel_on_kill,
            was_replaced=one.was_replaced,
        )

    def _stopped(self, run: _Run, target: str) -> None:
        one = next((one for one in self.books if one.id == target), None)
        if one is None or one.owner is not run.ti:
            owner = "nobody" if one is None else one.owner.name
            self.accuse("5", f"{run.ti.name} stops {target}, which is {owner}'s")
            return
        self.note(f"{run.ti.name} stops {target}")
        # Manus does not say whether a task that is stopped had finished just before. A message was delivered.
        one.was_stopped = one.was_stopped or self.settings.keeps_tasks or self._state(one) not in FINISHED

    def _of(self, ti: TaskInstance) -> list[Paid]:
        return [one for one in self.books if one.owner is ti]

    def _exists(self, one: Paid) -> bool:
        return self._state(one) != "gone"

    def _state(self, one: Paid) -> str:
        return self.account.word(one.id)

    # ------------------------------------------------------------------------------------------ the promises

    def _close(self, run: _Run, ending: Ending, completed_before: set[str]) -> None:
        """Let Airflow and the books know how an attempt ended, and judge it."""
        ti = run.ti
        if ending.kind == "retryable" and not isinstance(ending.value, _EXPECTED) and not run.is_wrong:
            self.accuse("0", f"{ti.name} ends in {ending.value!r}")
        # Who marks a task after its operator has returned has what it returned.
        was_stopped_by_user = (run.returned_as or ti.state) != "running"
        self._check_claims(run, ending)
        if not was_stopped_by_user:
            self._tell(ti, ending)
            self._check_delivery(run, ending, completed_before)
        for one in self._of(ti):
            one.was_deferred = one.was_deferred and not (run.has_deferred and ending.kind != "crash")
        ti.end(success=ending.kind == "success", is_final=ending.kind == "final")
        cause = _cause(ending.value)
        # The log tells, too, if the attempt is cut short right then.
        ti.asked_to_judge = ti.store is not None and ti.store.tells
        if isinstance(cause, (OrphanedStartError, StaleStartError)):
            ti.asked_to_judge = True
            self._check_question(ti, str(ending.value))

    def _tell(self, ti: TaskInstance, ending: Ending) -> None:
        """Note of which remote tasks Airflow now knows the outcome."""
        for one in self._of(ti):
            if ending.kind == "success":
                one.is_told = one.is_told or one.id in str(ending.value)
            elif ending.kind == "final":
                unfinished = self._state(one) in ("completed", "delivered", *UNFINISHED)
                # What has failed may be finished by a person right then.
                is_named = isinstance(_cause(ending.value), (TaskFailedError, TaskCancelledError))
                one.is_told = one.is_told or not unfinished or (is_named and one.id in str(ending.value))

    def _check_claims(self, run: _Run, ending: Ending) -> None:
        """Promise 2: what an attempt returns, or pushes to XCom, is its own, and what it asked for."""
        returned = str(ending.value) if ending.kind == "success" else ""
        for one in self.books:
            if one.owner is not run.ti and one.id in returned:
                self.accuse("2", f"{run.ti.name} returns {one.id}, which is {one.owner.name}'s")
        pushed = run.ti.xcoms.get("remote_task_id") or run.ti.xcoms.get("message_ids") or []
        for task_id in [pushed] if isinstance(pushed, str) else pushed:
            one = next(one for one in self.books if one.id == task_id)
            if one.owner is not run.ti:
                self.accuse("2", f"{run.ti.name} takes {task_id}, which is {one.owner.name}'s")
            elif self._is_stale(one, run.ti) and self.settings.on_stale_state != "reattach":
                self.accuse("2", f"{run.ti.name} takes {task_id}, which was asked for something else")

    def _is_stale(self, one: Paid, ti: TaskInstance) -> bool:
        return self.settings.keeps_tasks and one.inputs != ti.dag.inputs

    def _check_delivery(self, run: _Run, ending: Ending, completed_before: set[str]) -> None:
        """Promise 3."""
        is_clean = run.plan.is_smooth and not run.is_wrong and not self.disk.is_broken
        if not (self.settings.keeps_tasks and is_clean) or ending.kind == "crash":
            return
        ti = run.ti
        for one in self._of(ti):
            named = ti.store is not None and ti.store.names(one.id)
            same = not self._is_stale(one, ti) or self.settings.on_stale_state == "reattach"
            seen = self.time.passed >= one.at + 80.0 and self.time.passed >= one.unknown_until
            is_due = named and same and seen and one.id in completed_before and not one.is_told
            is_due = is_due and not (one.was_deferred and self.settings.cancel_on_kill)
            if is_due and not one.was_stopped and self._exists(one):
                self.accuse("3", f"{one.id} has finished, and {ti.name} does not hand it over")

    def _check_question(self, ti: TaskInstance, text: str) -> None:
        """Promise 4."""
        if not any(
            word in text.lower() for word in ("clear this task", "clear it", "set on_", "make the inputs")
        ):
            self.accuse("4", f"no next step in: {text}")
        settled = [
            one
            for one in self._of(ti)
            if one.is_told
            or one.is_over
            or one.was_stopped
            or (one.was_cleared and self._state(one) in FINISHED)
        ]
        own = [one for one in self._of(ti) if self._exists(one) and one not in settled]
        visible = [one for one in own if self._is_visible(one)]
        named = [one for one in self.books if one.id in text]
        if visible and not named:
            self.accuse("4", f"{visible[-1].id} is not named in: {text}")

    def _is_visible(self, one: Paid) -> bool:
        recorded = one.owner.store is not None and one.owner.store.names(one.id)
        # Of a task without a tag nothing but its prompt is known.
        is_untraceable = not self.account.tags and self._is_stale(one, one.owner)
        is_listed = self.account.lists and not (self.settings.is_hidden or is_untraceable)
        is_listed = is_listed and self.time.passed >= one.at + 80.0
        return self.settings.keeps_tasks and (recorded or is_listed)

    def check_arguments(self, name: str, **wrong: Any) -> None:
        """Run an attempt with an argument that cannot be right. Promise 6."""
        before = self.sent
        self.note(f"{name} with {wrong}")
        ending = self.attempt(name, Plan(), **wrong)
        sent = self.sent - before
        if sent or ending.kind == "success":
            self.accuse("6", f"{wrong}: {sent} requests were sent before it was refused ({ending})")

    # ---------------------------------------------------------------------------------- in place of the real

    def states(self, **_: Any) -> dict[str, dict[str, str]]:
        """Answer for Airflow what state the running task instance has."""
        ti = self.runs[-1].ti
        name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
        return {ti.run_id: {name: ti.state}}

    @contextmanager
    def installed(self) -> Iterator[World]:
        """Put this world in place of the real one."""
        with pytest.MonkeyPatch.context() as patch:
            self.install(patch)
            clock = SimpleNamespace(time=self.time.wall, monotonic=self.time.monotonic, sleep=self.time.sleep)
            for module in _modules_with("time", real_time):
                patch.setattr(module, "time", clock)
            for module in _modules_with("CLEARS_DROP_STATE"):
                patch.setattr(module, "CLEARS_DROP_STATE", self.settings.version == "3.4")
            patch.setattr(manus_hooks, "datetime", _now(self.time.wall))
            patch.setattr(hooks, "connection_config", self.config)
            patch.setattr(cancel_worker, "_spread", lambda: 1.0)
            runner = task_runner.RuntimeTaskInstance
            patch.setattr(runner, "get_task_states", staticmethod(self.states))
            numbers = itertools.count(1)
            for module in (manus_account, qstash_engine):
                patch.setattr(
                    module, "random_id", lambda length, prefix="": f"{prefix}task{next(numbers):04d}"
                )
            try:
                yield self
            finally:
                self.disk.remove()


_DEPLOYMENT = "AIRFLOW__REMOTE_TASKS__DEPLOYMENT_ID"


def _of(plan: Plan) -> str:
    return "nothing goes wrong" if plan.is_smooth else "trouble"


def _cause(error: Any) -> Any:
    # Some errors are their own cause.
    while (cause := getattr(error, "__cause__", None)) is not None and cause is not error:
        error = cause
    return error


@cache
def _modules_with(name: str, value: Any = None) -> list[Any]:
    """Return the provider's modules that have a name, with this value if one is given."""
    found = (module for key, module in list(sys.modules.items()) if key.startswith(_MODULE))
    return [one for one in found if hasattr(one, name) and (value is None or getattr(one, name) is value)]


def _now(wall: Callable[[], float]) -> type[datetime]:
    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(wall(), tz)

    return Now
