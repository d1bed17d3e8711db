"""The outcomes as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from dev.bench.figures import count, percentiles
from dev.simulate.cases import Case
from dev.simulate.simulation import Outcome

__all__ = ["BEGIN", "END", "by_vendor", "cases_table", "grid_table", "minutes_table", "span", "write"]

BEGIN = "<!-- The lines from here on are written by `make simulate ARGS=--write-docs`. -->"
END = "<!-- End of what the simulation writes. -->"

_HEAD = (
    "Triggerers x waits",
    "shortest cycle",
    "calls a minute",
    "429 a minute",
    "delay p50",
    "p95",
    "longest",
    "p95 of the best and the worst triggerer",
    "not noticed",
)


def span(number: float) -> str:
    """Show seconds."""
    if math.isnan(number):
        return "-"
    return f"{number:.1f} s" if number < 100 else f"{number:,.0f} s"


def figures(outcome: Outcome) -> tuple[str, ...]:
    """Return an outcome as cells."""
    best, worst = outcome.unfairness
    return (
        outcome.scenario.name,
        span(outcome.scenario.best_cycle),
        count(outcome.a_minute(outcome.calls)),
        count(outcome.a_minute(outcome.refused)),
        *map(span, outcome.quantiles),
        f"{span(best)}, {span(worst)}",
        f"{outcome.lost} of {outcome.finished}",
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first one the head, as an aligned Markdown table."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def cases_table(outcomes: Iterable[tuple[Case, Outcome]]) -> str:
    """Return what came of the cases, and whether their targets were met."""
    rows: list[Sequence[str]] = [("Case", "figure", "is", "target", "met")]
    for case, outcome in outcomes:
        for target in case.targets:
            met = "met" if target.is_met(outcome) else "NOT MET"
            is_now, wanted = target.show(target.figure(outcome)), target.show(target.at_most)
            rows.append((case.scenario.name, target.what, is_now, f"<= {wanted}", met))
    return table(rows)


def grid_table(outcomes: Sequence[Outcome]) -> str:
    """Return a table of outcomes."""
    return table([_HEAD, *map(figures, outcomes)])


def by_vendor(outcomes: Sequence[Outcome]) -> str:
    """Return a table for each vendor."""
    parts: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        parts.setdefault(outcome.scenario.vendor.label, []).append(outcome)
    return "\n\n".join(
        f"#### {label}, polled every {found[0].scenario.interval:g} s, "
        f"{found[0].scenario.allows.calls} calls in {found[0].scenario.allows.seconds:g} s\n\n"
        f"{grid_table(found)}"
        for label, found in parts.items()
    )


def minutes_table(outcome: Outcome) -> str:
    """Return the calls and the delays minute by minute: whether the triggerers find their share."""
    minutes, delays = outcome.journal.minutes, outcome.by_minute
    rows: list[Sequence[str]] = [("minute", "calls", "429", "items", "ends", "delay p50", "longest")]
    for minute in range(max([*minutes, *delays], default=-1) + 1):
        ends = delays.get(minute, [])
        figures = (span(percentiles(ends)[0]), span(max(ends, default=float("nan"))))
        rows.append((str(minute), *map(count, minutes.get(minute, (0, 0, 0))), str(len(ends)), *figures))
    return table(rows)


def write(body: str) -> None:
    """Put ``body`` into the page of the benchmarks, between the marks."""
    from dev.bench import machine

    machine.write_page(body, marks=(BEGIN, END))
