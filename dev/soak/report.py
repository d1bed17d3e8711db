"""The table of a soak, and whether its targets were met."""

from __future__ import annotations

from collections import Counter
from statistics import median

from dev.bench.figures import Row, Section, count, megabytes, percentiles, seconds
from dev.soak.soak import SETTLED, Soak
from dev.soak.triggerers import Triggerer

#: Sockets that a triggerer may have open: a few connections of each client, and those of its event loop.
MOST_SOCKETS = 40
#: Growth of the memory from when it has settled to the end.
MOST_GROWTH = 0.10


def section(soak: Soak) -> Section:
    """Return the table."""
    plan, waits = soak.plan, soak.waits
    table = Section(
        f"{plan.waits:,} waits in {len(soak.triggerers)} triggerers on one account, "
        f"{plan.seconds / 60:.3g} minutes of random trouble",
        other="-",
    )
    told = waits.verdicts
    table.rows.append(Row("waits started", count(waits.started)))
    table.rows.append(Row("told how their task finished", count(told.get("told", 0))))
    table.rows.append(Row("ended by their deadline", count(told.get("timed out", 0))))
    for what, number in (
        ("waits lost", len(soak.lost)),
        ("waits that ended wrong", told.get("wrong", 0)),
        ("deadlines kept late, by more than 10 s", told.get("late", 0)),
        ("triggerers that exited by themselves", sum(len(one.crashes) for one in soak.triggerers)),
    ):
        table.limit(what, number, None, count, at_most=0)
    for label, delay in zip(("p50", "p95"), percentiles(waits.delays), strict=True):
        table.rows.append(Row(f"delay {label}, trouble included", seconds(delay)))
    table.rows.append(Row("longest delay, trouble included", seconds(max(waits.delays, default=0.0))))
    table.rows.append(Row("last wait ended after trouble was over by", seconds(soak.drained_in)))
    for triggerer in soak.triggerers:
        _add_triggerer(table, soak, triggerer)
    answers = Counter(record.status for record in soak.server.sandbox.requests)
    table.notes.append(
        f"Seed {plan.seed}; {soak.server.sandbox.journal.total:,} calls, "
        f"{len(soak.trouble.history)} troubles. Of the last {answers.total():,} calls: "
        + ", ".join(f"{number:,} answered {status}" for status, number in sorted(answers.items(), key=str))
        + "."
    )
    return table


def _add_triggerer(table: Section, soak: Soak, triggerer: Triggerer) -> None:
    name, samples = f"triggerer {triggerer.number + 1}", triggerer.samples
    settled = soak.began + SETTLED * soak.plan.seconds
    over = soak.began + soak.plan.seconds
    late = [one for one in samples if one.life == triggerer.lives and settled <= one.at <= over]
    if len(late) < 6:
        table.rows.append(Row(f"{name}: samples", count(len(late)), target="≥ 6", met=False))
        return
    # Three each, as a single one may have been taken while an answer was read.
    before, after = (median(one.memory for one in part) for part in (late[:3], late[-3:]))
    table.rows.append(
        Row(f"{name}: memory when settled, at the end", f"{megabytes(before)}, {megabytes(after)}")
    )
    growth = after / before - 1
    table.limit(f"{name}: growth of memory", growth, None, lambda part: f"{part:.1%}", at_most=MOST_GROWTH)
    most = max(one.sockets for one in samples)
    table.limit(f"{name}: most sockets", most, None, count, at_most=MOST_SOCKETS)
    table.rows.append(Row(f"{name}: most open files", count(max(one.files for one in samples))))
    stopped = triggerer.stopped
    left = float("inf") if stopped is None else len(stopped["tasks"])
    cancelled = 0 if stopped is None else stopped["cancelled"]
    table.limit(
        f"{name}: tasks left on the loop after {cancelled} waits were cancelled", left, None, count, at_most=0
    )
    if stopped is not None:
        table.rows.append(Row(f"{name}: sockets left", count(stopped["sockets"])))
