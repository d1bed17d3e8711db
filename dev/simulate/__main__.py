"""Simulate many triggerers on one account in virtual time; exit with 1 if a target was missed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

from dev.simulate import report
from dev.simulate.cases import CASES, TRIGGERERS, WAITS, Case, grid, smaller
from dev.simulate.scenario import VENDORS, Scenario
from dev.simulate.simulation import Outcome, simulate
from dev.terminal import leave_through_cleanup, say

_NOTES = [
    "The provider's own code runs; time, sockets and the vendor are simulated. Each triggerer has its own "
    "connection and shared poller. They share one account and cannot see each other.",
    "The shortest cycle is the theoretical minimum: the pages that all triggerers must read to see all of it "
    "once, divided by the limit. Manus v1 takes one page of changes each, v2 the account's tasks by the "
    "hundred, QStash a page for a hundred messages.",
    "The delay counts from the end of the remote task to the end of its wait; to the end of the simulation "
    "where nobody noticed it. At most 200 of the tasks end, evenly within ten minutes or one shortest cycle, "
    "whichever is longer. What is not noticed three cycles later is in the last column.",
    "Left out: more waits than the limit can show once in twenty minutes.",
    "A 429 comes without `Retry-After`, and does not count for the limit.",
]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    arguments = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    add = arguments.add_argument
    add("--only", nargs="+", metavar="NAME", help="the cases with one of these words in their names")
    add("--list", action="store_true", help="list the cases and leave")
    add("--grid", action="store_true", help="instead of the cases, each vendor x triggerers x waits")
    add("--services", nargs="+", choices=VENDORS, default=list(VENDORS), help="of the grid")
    add("--triggerers", nargs="+", type=int, default=TRIGGERERS, metavar="N", help="of the grid")
    add("--waits", nargs="+", type=int, default=WAITS, metavar="N", help="of the grid")
    add("--limit", type=int, metavar="CALLS", help="calls that the vendor allows in its window")
    add("--counts-refused", action="store_true", help="refused calls count for the limit")
    add("--says-when", action="store_true", help="a 429 comes with Retry-After")
    add("--seed", type=int, default=1, help="of all that is random")
    add("--jobs", type=int, default=1, metavar="N", help="processes that simulate at the same time")
    add("--minutes", action="store_true", help="show the calls minute by minute")
    add("--log", action="store_true", help="show the provider's log, in virtual time; of one job only")
    add("--quick", action="store_true", help="small numbers: they show that it runs")
    add("--write-docs", action="store_true", help="run cases and grid, write them into the benchmarks page")
    return arguments


def adapted(scenario: Scenario, options: argparse.Namespace) -> Scenario:
    """Return the scenario as the options want it."""
    changes = {"counts_refused": options.counts_refused, "says_when": options.says_when}
    if options.limit is not None:
        changes["calls"] = options.limit
    scenario = replace(scenario.with_limits(**changes), seed=options.seed)
    return smaller(scenario) if options.quick else scenario


def run(scenarios: Sequence[Scenario], options: argparse.Namespace) -> list[Outcome]:
    """Simulate scenarios, and say what came of each."""
    scenarios = [adapted(scenario, options) for scenario in scenarios]
    if options.jobs == 1:
        return [_said(simulate(scenario, log=options.log), options) for scenario in scenarios]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        return [_said(outcome, options) for outcome in pool.map(simulate, scenarios)]


def _said(outcome: Outcome, options: argparse.Namespace) -> Outcome:
    scenario = outcome.scenario
    say(f"{scenario.vendor.label}: {scenario.name} ({outcome.span:,.0f} s in {outcome.cpu:.1f} s)")
    calls = ", ".join(f"{count:,} {operation}" for operation, count in sorted(outcome.journal.calls.items()))
    median, late, longest = map(report.span, outcome.quantiles)
    say(f"  {calls}; {outcome.refused:,} refused; {outcome.journal.items.total():,} items")
    say(
        f"  delay {median} / {late} / {longest}, {outcome.lost} of {outcome.finished} not noticed; "
        f"by triggerer {' to '.join(map(report.span, outcome.unfairness))}; "
        f"shortest cycle {report.span(scenario.best_cycle)}"
    )
    for reason, count in outcome.wrong.most_common(5):
        say(f"  {count} x {reason}")
    if options.minutes:
        say(report.minutes_table(outcome))
    return outcome


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parser().parse_args(argv)
    leave_through_cleanup()
    words = options.only or [""]
    cases = [case for case in CASES if any(word in case.scenario.name for word in words)]
    if options.list:
        say("\n".join(case.scenario.name for case in cases))
        return 0
    if not cases:
        say("No case has such a name; --list shows them.")
        return 2
    outcomes: list[tuple[Case, Outcome]] = []
    cells: list[Outcome] = []
    if options.write_docs or not options.grid:
        outcomes = list(zip(cases, run([case.scenario for case in cases], options), strict=True))
        say(f"\n{report.cases_table(outcomes)}\n")
    if options.write_docs or options.grid:
        cells = run(grid(options.services, options.triggerers, options.waits), options)
        say(f"\n{report.by_vendor(cells)}\n")
    if options.write_docs:
        notes = "\n".join(f"- {note}" for note in _NOTES)
        report.write("\n\n".join([report.by_vendor(cells), report.cases_table(outcomes), notes]))
    missed = any(not target.is_met(outcome) for case, outcome in outcomes for target in case.targets)
    return 1 if missed and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())
