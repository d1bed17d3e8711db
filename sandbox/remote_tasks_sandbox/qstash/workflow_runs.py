"""The workflow runs of the emulated QStash account: how they begin, what becomes of them, who waits for what.

A run follows a script; no workflow endpoint is ever called. HTTP is left to ``workflows``. The caller of a
method without its own lock holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

from remote_tasks_sandbox.calls import Refused
from remote_tasks_sandbox.progression import Script, Timeline, parse_script
from remote_tasks_sandbox.qstash.message import milliseconds
from remote_tasks_sandbox.qstash.options import PublishOptions
from remote_tasks_sandbox.tasks import random_id
from remote_tasks_sandbox.vendor import Context, ControlCall, Handler

__all__ = ["TERMINAL", "WorkflowRun", "WorkflowRuns"]

DEFAULT_RUN_SCRIPT: Script = (("RUN_STARTED", 2.0), ("RUN_SUCCESS", None))
TERMINAL = frozenset({"RUN_SUCCESS", "RUN_FAILED", "RUN_CANCELED"})

#: A step of a script that begins so lasts until the event that follows is notified.
_WAITS = "WAIT "
_RUN_ID = "upstash-workflow-runid"


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What becomes of runs of a workflow.

    :param resumed: the script of a run that resumes or restarts a failed one; default that of the others
    """

    pattern: str = "*"
    script: Script = DEFAULT_RUN_SCRIPT
    resumed: Script | None = None
    response: str | None = None
    response_status: int = 500
    response_body: str = "it broke"

    def describe(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        resumed = None if self.resumed is None else [list(step) for step in self.resumed]
        return vars(self) | {"script": [list(step) for step in self.script], "resumed": resumed}


@dataclass(eq=False, kw_only=True)
class WorkflowRun:
    """One run.

    :param number: the place in the order of creation
    :param added_at: unix seconds
    :param plan: what the endpoint answers
    :param options: what it was triggered with
    :param message_id: of the message that is its first step
    :param has_left_dlq: whether it was resumed, restarted or deleted from the dead letter queue
    """

    id: str
    url: str
    number: int
    added_at: float
    timeline: Timeline
    plan: RunPlan
    options: PublishOptions
    message_id: str
    has_left_dlq: bool = False
    events: list[tuple[str, str]] = field(default_factory=list)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels it was triggered with."""
        return self.options.labels

    @property
    def body(self) -> bytes:
        """Return what it was triggered with."""
        return self.options.body

    @property
    def created_ms(self) -> int:
        """Return when it was created, unix milliseconds."""
        return milliseconds(self.added_at) + self.number % 1000

    def state(self, now: float) -> str:
        """Return its state; one that waits for an event has started."""
        word = self.timeline.word(now)
        return "RUN_STARTED" if word.startswith(_WAITS) else word

    def is_over(self, now: float) -> bool:
        """Whether its id is free again."""
        return self.state(now) in TERMINAL

    def awaits(self, now: float) -> str | None:
        """Return the event it waits for, if it does."""
        word = self.timeline.word(now)
        return word.removeprefix(_WAITS) if word.startswith(_WAITS) else None

    def dlq_id(self, now: float) -> str | None:
        """Return its id in the dead letter queue, if it has failed."""
        failed = self.state(now) == "RUN_FAILED"
        return f"{milliseconds(self.timeline.since(now))}-{self.number}" if failed else None

    def describe(self, now: float) -> dict[str, Any]:
        """Return the run as the control plane shows it."""
        return {
            "id": self.id,
            "url": self.url,
            "state": self.state(now),
            "waits_for": self.awaits(now),
            "since": self.timeline.since(now),
            "changes_at": self.timeline.next_change(now),
            "created_at": self.created_ms,
            "labels": list(self.labels),
            "body": self.body.decode(errors="replace"),
            "events": self.events,
            "dlq_id": self.dlq_id(now),
        }


class WorkflowRuns:
    """All runs of the account, oldest first; thread safe where a test calls it."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._lock = context.lock
        self._runs: list[WorkflowRun] = []
        self._plans: list[RunPlan] = []
        self._numbers = count()

    # ------------------------------------------------------------------------------------- for tests

    def add(
        self,
        run_id: str | None = None,
        script: Iterable[Any] = DEFAULT_RUN_SCRIPT,
        *,
        url: str = "https://example.com/workflow",
        labels: Iterable[str] = (),
        response: str | None = None,
        response_status: int = 500,
        response_body: str = "it broke",
    ) -> str:
        """Add a run; return its id.

        :param run_id: its id; ``wfr_`` and 21 letters and digits by default
        :param script: states with seconds, counted from now; any word is allowed. ``WAIT approved`` waits for
            the event ``approved``
        :param response: what the workflow returns, as text
        :param response_status: what the endpoint answered to the step that failed, with ``response_body``
        """
        plan = RunPlan(
            script=parse_script(script),
            response=response,
            response_status=response_status,
            response_body=response_body,
        )
        with self._lock:
            chosen = random_id(21, "wfr_") if run_id is None else run_id
            if not chosen:
                raise ValueError("the run id is empty")
            words = tuple(labels)
            options = PublishOptions(url, labels=words, asked={"upstash-label": ",".join(words)})
            return self._begin(chosen, url, plan, options).id

    def plan(self, pattern: str = "*", **options: Any) -> None:
        """Decide what becomes of runs that are triggered; the newest plan that fits counts.

        :param pattern: shell pattern of the workflow's address
        :param options: ``script``, ``response``, ``response_status``, ``response_body``, as for :meth:`add`;
            ``resumed`` is the script of runs that resume or restart a failed one, by default ``script``
        """
        for name in {"script", "resumed"} & set(options):
            options[name] = parse_script(options[name])
        with self._lock:
            self._plans.insert(0, RunPlan(pattern=pattern, **options))

    def set_state(self, run_id: str, state: str) -> None:
        """Give the newest run with this id a state from now on, for ever."""
        self.set_script(run_id, [(state, None)])

    def set_script(self, run_id: str, script: Iterable[Any]) -> None:
        """Let the newest run with this id follow a new script from now on."""
        with self._lock:
            run = self.find(run_id)
            if run is None:
                raise KeyError(run_id)
            run.timeline.run(script, self._clock.now())

    def remove(self, run_id: str) -> None:
        """Forget all runs with this id."""
        with self._lock:
            self._runs = [run for run in self._runs if run.id != run_id]

    def all(self) -> list[WorkflowRun]:
        """Return all runs, oldest first."""
        with self._lock:
            return list(self._runs)

    def clear(self) -> None:
        """Remove everything."""
        self._runs.clear()
        self._plans.clear()

    # ---------------------------------------------------------------------------------- for operations

    def find(self, run_id: str) -> WorkflowRun | None:
        """Return the newest run with this id."""
        return next((run for run in reversed(self._runs) if run.id == run_id), None)

    def trigger(
        self,
        url: str,
        run_id: str | None,
        options: PublishOptions,
        message_id: str | None = None,
        *,
        resumes: bool = False,
    ) -> WorkflowRun:
        """Begin a run.

        :param run_id: its id; a random one by default
        :param message_id: of the message that is its first step; a random one by default
        :param resumes: whether it resumes or restarts one that has failed
        """
        chosen = run_id or random_id(21, "wfr_")
        if self._at_work(chosen) is not None:
            raise Refused(400, "a workflow already exists, can not initialize a new one with same id")
        plan = next((one for one in self._plans if fnmatchcase(url, one.pattern)), RunPlan())
        if resumes and plan.resumed is not None:
            plan = replace(plan, script=plan.resumed)
        return self._begin(chosen, url, plan, options, message_id)

    def taken(self, headers: Mapping[str, str]) -> WorkflowRun | None:
        """Return the run at work that has the id of the run that a message would begin."""
        return self._at_work(headers.get(_RUN_ID, "")) if _begins_run(headers) else None

    def begin_published(self, options: PublishOptions, headers: Mapping[str, str], message_id: str) -> None:
        """Begin the run that a message is the first step of, as official clients publish it."""
        if _begins_run(headers):
            url = headers.get("upstash-workflow-url", options.url)
            self.trigger(url, headers.get(_RUN_ID), options, message_id)

    def cancel(self, run: WorkflowRun) -> bool:
        """Cancel a run; ``False`` if it is over."""
        now = self._clock.now()
        if run.is_over(now):
            return False
        run.timeline.run([("RUN_CANCELED", None)], now)
        return True

    def waiting(self, event: str) -> list[WorkflowRun]:
        """Return the runs that wait for an event."""
        now = self._clock.now()
        return [run for run in self._runs if run.awaits(now) == event]

    def notify(self, run: WorkflowRun, event: str, data: bytes) -> None:
        """Let a waiting run continue."""
        run.events.append((event, data.decode(errors="replace")))
        run.timeline.go_on([("RUN_STARTED", 0.0), ("RUN_SUCCESS", None)], self._clock.now())

    def _at_work(self, run_id: str) -> WorkflowRun | None:
        run = self.find(run_id)
        return None if run is None or run.is_over(self._clock.now()) else run

    def _begin(
        self, run_id: str, url: str, plan: RunPlan, options: PublishOptions, message_id: str | None = None
    ) -> WorkflowRun:
        now = self._clock.now()
        delay = options.delay if options.not_before is None else max(options.not_before - now, 0.0)
        script = [("RUN_STARTED", delay), *plan.script] if delay else plan.script
        holds = frozenset(word for word, _ in script if word.startswith(_WAITS))
        run = WorkflowRun(
            id=run_id,
            url=url,
            number=next(self._numbers),
            added_at=now,
            timeline=Timeline(script, now=now, holds=holds),
            plan=plan,
            options=options,
            message_id=message_id or random_id(63, "msg_"),
        )
        self._runs.append(run)
        return run

    # --------------------------------------------------------------------------------- by the control plane

    def control(self) -> dict[str, Handler]:
        """Return the routes of the control plane."""
        return {
            "GET workflow-runs": lambda _: {"workflow-runs": self._described()},
            "POST workflow-runs": lambda call: (201, {"ids": [self.add(**one) for one in call.objects()]}),
            "POST workflow-runs/": self._change_by_control,
            "GET workflow-plans": lambda _: {"plans": [plan.describe() for plan in self._plans]},
            "POST workflow-plans": self._plan_by_control,
        }

    def _described(self) -> list[dict[str, Any]]:
        now = self._clock.now()
        return [run.describe(now) for run in self.all()]

    def _change_by_control(self, call: ControlCall) -> Any:
        body = call.object()
        if len(body) != 1 or not body.keys() <= {"state", "script"}:
            raise ValueError('a run is changed with {"state": word} or {"script": steps}')
        self.set_script(call.id, body["script"] if "script" in body else [(body["state"], None)])
        found = self.find(call.id)
        return found and found.describe(self._clock.now())

    def _plan_by_control(self, call: ControlCall) -> Any:
        for item in call.objects():
            self.plan(**item)
        return 201, {"plans": [plan.describe() for plan in self._plans]}


def _begins_run(headers: Mapping[str, str]) -> bool:
    return headers.get("upstash-workflow-init") == "true"
