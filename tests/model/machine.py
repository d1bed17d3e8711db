"""The machine that makes histories: hypothesis chooses who does what, :mod:`tests.model.world` lives it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.model.fake_airflow import TaskInstance
from tests.model.plans import ACTS, FATES, PAID_FAULTS, READ_FAULTS, Fate, Plan
from tests.model.world import NAMES, PROMPTS, SERVICES, Settings, World

__all__ = ["WRONG", "BrokenPromise", "SubmissionMachine", "quiet"]

WRONG: dict[str, tuple[dict[str, Any], ...]] = {
    "manus": (
        {"not_found_grace": -1},
        {"not_found_grace": "soon"},
        {"output_grace": -1},
        {"outage_tolerance": 0},
        {"poll_interval": "often"},
        {"max_credits": 0},
        {"on_waiting": "sulk"},
        {"result_path": "nowhere://bucket/result.json"},
        {"result_path": "/dev/null/result.json"},
    ),
    "a2a": (
        {"not_found_grace": -1},
        {"not_found_grace": "soon"},
        {"outage_tolerance": 0},
        {"poll_interval": "often"},
        {"on_waiting": "sulk"},
        {"message": " "},
        {"parts": [{"text": "a", "url": "https://example.com/"}]},
        {"metadata": "none"},
        {"context_id": ""},
        {"result_path": "nowhere://bucket/result.json"},
        {"result_path": "/dev/null/result.json"},
    ),
    "qstash": (
        {"not_found_grace": -1},
        {"delivery_retries": -1},
        {"delay": "soon"},
        {"method": "SHOUT"},
        {"headers": {"": "x"}},
    ),
}
"""Arguments that cannot be right, whatever the service says."""

MEANWHILE: tuple[float | str, ...] = (
    *(1.0, 30.0, 100.0, 400.0, 700.0, 4000.0),
    *("prompt", "prompt", "retries", "retries", "retries"),
    *("the disk works again",) * 3,
    *("person finishes it", "person finishes it", "person stops it", "person deletes it"),
)
"""What happens between two attempts: seconds pass, the DAG is edited, a person uses the vendor's app."""

_WHO = st.sampled_from(("main",) * 5 + NAMES[1:])
_PLANS = st.builds(
    Plan,
    paid=st.sampled_from(PAID_FAULTS),
    read=st.sampled_from(READ_FAULTS),
    read_at=st.integers(0, 5),
    act=st.sampled_from(("",) * len(ACTS) + ACTS),
    at=st.integers(0, 15),
    fate=st.sampled_from(FATES),
)
_SETTINGS = st.builds(
    Settings,
    service=st.sampled_from(SERVICES),
    version=st.sampled_from(("3.3", "3.4", "3.2")),
    on_stale_state=st.sampled_from(("fail", "restart", "reattach")),
    on_orphaned_intent=st.sampled_from(("search", "search", "start", "fail")),
    retries=st.integers(0, 3),
    hides=st.sampled_from((False, False, False, True)),
    in_loops=st.booleans(),
    waits=st.sampled_from((True, True, True, False)),
    defers=st.sampled_from((False,) * 5 + (True,)),
    writes=st.sampled_from((False, False, False, True)),
    cancel_on_kill=st.sampled_from((True, True, False)),
)


def quiet(histories: int, steps: int, *, shorten: bool, **more: Any) -> hypothesis_settings:
    """Return settings for so many histories of so many steps; nothing is kept for the next run."""
    return hypothesis_settings(
        max_examples=histories,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        phases=[Phase.generate, *([Phase.shrink] if shorten else [])],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        print_blob=False,
        **more,
    )


class BrokenPromise(AssertionError):
    """A history in which a promise was broken; its text is the history."""


class SubmissionMachine(RuleBasedStateMachine):
    """Histories of one account."""

    steps = 0
    """How many rules were executed, by all machines."""
    histories = 0
    ignored: Collection[str] = ()
    """Promises that are not checked."""
    without: Collection[str] = ()
    """What does not happen during an attempt."""
    world_class = World
    services: Sequence[str] = ()
    """The services of the histories; all of them if there are none."""
    fixed: Mapping[str, Any] = {}
    """Settings that are the same in all histories."""
    world: World

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()

    @initialize(settings=_SETTINGS)
    def begin(self, settings: Settings) -> None:
        SubmissionMachine.histories += 1
        if self.services:
            number = SERVICES.index(settings.service)
            settings = replace(settings, service=self.services[number % len(self.services)])
        settings = replace(settings, **self.fixed)
        self.world = self._stack.enter_context(self.world_class(settings).installed())
        self.world.ignored = self.ignored
        self.world.lines.append(f"{settings}")

    def teardown(self) -> None:
        self._stack.close()

    def _done(self) -> None:
        SubmissionMachine.steps += 1
        if self.world.violations:
            raise BrokenPromise("\n".join(self.world.lines))

    def _one(self, who: str, fits: Callable[[TaskInstance], bool]) -> str:
        """Return ``who``, or another whom the rule fits."""
        tasks = self.world.tasks
        return who if fits(tasks[who]) else next(name for name, ti in tasks.items() if fits(ti))

    def _can_run(self) -> bool:
        return any(ti.may_run for ti in self.world.tasks.values())

    def _can_be_cleared(self) -> bool:
        return any(_is_cleared(ti) for ti in self.world.tasks.values())

    @precondition(_can_run)
    @rule(who=_WHO, plan=_PLANS)
    def attempt(self, who: str, plan: Plan) -> None:
        plan = replace(plan, act="") if plan.act in self.without else plan
        self.world.attempt(self._one(who, _runs), plan)
        self._done()

    @precondition(_can_run)
    @rule(who=_WHO, plan=_PLANS)
    def another_attempt(self, who: str, plan: Plan) -> None:
        # Once more, as it is what most histories should be made of.
        self.attempt(who, plan)

    @precondition(_can_run)
    @rule(who=_WHO, fate=st.sampled_from(FATES))
    def smooth_attempt(self, who: str, fate: Fate) -> None:
        self.world.attempt(self._one(who, _runs), Plan(fate=fate))
        self._done()

    @precondition(_can_run)
    @rule(who=_WHO, number=st.integers(0, 40))
    def wrong_argument(self, who: str, number: int) -> None:
        # Seldom, as it says nothing about the rest.
        wrong = WRONG[self.world.subject.vendor]
        if "6" in self.ignored or number >= len(wrong):
            self.world.attempt(self._one(who, _runs), Plan())
        else:
            self.world.check_arguments(self._one(who, _runs), **wrong[number])
        self._done()

    @precondition(_can_be_cleared)
    @rule(who=_WHO, keep_store=st.booleans())
    def clear(self, who: str, keep_store: bool) -> None:
        self.world.clear(self._one(who, _is_cleared), keep_store=keep_store)
        self._done()

    @rule(who=_WHO, what=st.sampled_from(MEANWHILE))
    def meanwhile(self, who: str, what: float | str) -> None:
        world, dag = self.world, self.world.tasks[who].dag
        if isinstance(what, float):
            world.pass_time(what)
        elif what == "prompt":
            world.edit(who, what, next(prompt for prompt in PROMPTS if prompt != dag.prompt))
        elif what == "retries":
            world.edit(who, what, (dag.retries + 1) % 4)
        elif what == "the disk works again":
            world.mend()
        else:
            world.by_hand(who, what)
        self._done()


def _runs(ti: TaskInstance) -> bool:
    return ti.may_run


def _is_cleared(ti: TaskInstance) -> bool:
    return ti.state in ("success", "failed", "up_for_retry")
