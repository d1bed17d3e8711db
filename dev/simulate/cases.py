"""The scenarios by name with their targets, and the grid of scenarios that the docs show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dev.bench.figures import count, seconds
from dev.simulate.scenario import VENDORS, Scenario
from dev.simulate.simulation import Outcome
from dev.simulate.vendor import Network

__all__ = ["CASES", "TRIGGERERS", "WAITS", "Case", "Target", "grid", "smaller"]

TRIGGERERS = (1, 2, 5, 10)
WAITS = (200, 1_000, 10_000)

# Seconds; a limit that needs longer to show all tasks once is too small for so many.
_LONGEST_CYCLE = 1200.0
# Ends of tasks in a scenario of the grid. More would not make the percentiles better.
_ENDS = 200


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that must not be larger than ``at_most``."""

    what: str
    figure: Callable[[Outcome], float]
    at_most: float
    show: Callable[[float], str] = count

    def is_met(self, outcome: Outcome) -> bool:
        """Whether the target is met; a figure that is not a number meets nothing."""
        return self.figure(outcome) <= self.at_most


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario and what must come of it."""

    scenario: Scenario
    targets: Sequence[Target]


def _lost() -> Target:
    return Target("tasks not noticed, waits with a wrong result", lambda outcome: outcome.lost, 0)


def _p95(at_most: float) -> Target:
    return Target("delay p95", lambda outcome: outcome.quantiles[1], at_most, seconds)


def _calls_a_minute(at_most: float) -> Target:
    return Target("calls a minute", lambda outcome: outcome.a_minute(outcome.calls), at_most)


def _listed_a_minute(at_most: float) -> Target:
    def listed(outcome: Outcome) -> float:
        return outcome.a_minute(outcome.journal.items["GET /v1/tasks"])

    return Target("listed tasks a minute", listed, at_most)


def _within_three_cycles(scenario: Scenario) -> Case:
    return Case(scenario, [_lost(), _p95(3 * scenario.best_delay)])


# Answers come from the same machine, as when this was first seen.
_AT_ONCE = Network(0.005, 0.02)

CASES = [
    _within_three_cycles(Scenario("5x600 v2", "v2", 5, 600, finishing=40)),
    _within_three_cycles(Scenario("10x200 v2", "v2", 10, 200, finishing=40)),
    Case(Scenario("10x1000 v1", "v1", 10, 1_000, finishing=1_000), [_lost(), _p95(60)]),
    _within_three_cycles(
        Scenario(
            "5x200 v2 operators that begin within ten minutes",
            "v2",
            5,
            200,
            joining=600,
            within=300,
            in_detail=False,
        )
    ),
    Case(
        Scenario("10x200 v1 that begin within ten minutes", "v1", 10, 200, joining=600, within=300),
        [_lost(), _p95(60)],
    ),
    Case(
        Scenario(
            "2x15 v1 with 150 newer tasks", "v1", 2, 15, interval=10, finishing=6, within=500, newer=150
        ),
        [_lost(), _calls_a_minute(30)],
    ),
    Case(
        Scenario(
            "30 hidden tasks in a v1 loop of 230 waits",
            "v1",
            1,
            230,
            interval=5,
            finishing=60,
            older=12_000,
            hidden=30,
        ),
        [_lost(), _listed_a_minute(2_000)],
    ),
    Case(
        Scenario(
            "1,000 QStash messages of 0-15 s at 5 s interval",
            "qstash",
            1,
            1_000,
            interval=5,
            within=15,
            age=1,
            network=_AT_ONCE,
        ),
        [_lost(), Target("calls", lambda outcome: outcome.calls, 60)],
    ),
    Case(
        Scenario(
            "1x200 v2 operators finishing within 20 s",
            "v2",
            1,
            200,
            interval=5,
            within=20,
            in_detail=False,
        ),
        [
            _lost(),
            Target("longest delay", lambda outcome: outcome.quantiles[2], 10, seconds),
            Target(
                "task.listMessages", lambda outcome: outcome.journal.calls["GET /v2/task.listMessages"], 0
            ),
        ],
    ),
]


def grid(
    services: Sequence[str] = tuple(VENDORS),
    triggerers: Sequence[int] = TRIGGERERS,
    waits: Sequence[int] = WAITS,
) -> list[Scenario]:
    """Return a scenario for each vendor, number of triggerers and number of waits.

    Tasks end within ten minutes, or within a cycle where that is longer. What is not noticed three cycles
    later counts as not noticed.
    """
    found = []
    for service in services:
        for many in triggerers:
            for each in waits:
                name = f"{many} x {each:,}"
                interval = 15.0 if service == "qstash" else 30.0
                ends = min(_ENDS, many * each // 10)
                one = Scenario(name, service, many, each, interval=interval, finishing=ends)
                if one.best_cycle > _LONGEST_CYCLE:
                    continue
                within = max(600.0, one.best_cycle)
                lasts = within + max(600.0, 3 * one.best_cycle)
                found.append(replace(one, within=within, lasts=lasts))
    return found


def smaller(scenario: Scenario) -> Scenario:
    """Return a scenario that only shows that it runs."""
    waits = max(3, scenario.waits // 100)
    total = waits * scenario.triggerers
    return replace(
        scenario,
        waits=waits,
        finishing=total // 3,
        within=min(scenario.within, 60),
        lasts=min(scenario.lasts, 300),
        hidden=scenario.hidden and waits // 3,
        older=scenario.older // 100,
        newer=scenario.newer // 10,
    )
