"""Run the soak, print its table, and exit with 1 if a target was missed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dev.bench import machine
from dev.soak.report import section
from dev.soak.soak import Plan, Soak
from dev.terminal import leave_through_cleanup, say

#: Waits with a wrong end, troubles and tasks that are shown.
SHOWN = 20


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    arguments = argparse.ArgumentParser(prog="make soak", description=__doc__)
    arguments.add_argument(
        "--minutes", type=float, default=10.0, help="how long trouble is made (default: 10)"
    )
    arguments.add_argument("--waits", type=int, default=2000, help="waits that are alive (default: 2000)")
    arguments.add_argument("--seed", type=int, default=1, help="the seed of all chance (default: 1)")
    arguments.add_argument(
        "--quick", action="store_true", help="200 waits for short tasks, 40 s: shows that it runs"
    )
    arguments.add_argument("--history", action="store_true", help="print all of the trouble")
    arguments.add_argument("--logs", type=Path, help="a folder for the triggerers' logs")
    return arguments


def plan(arguments: argparse.Namespace) -> Plan:
    """Return what to run."""
    if arguments.quick:
        lengths, lasts = (2.0, 10.0), (1.0, 3.0)
        small = Plan(40, 200, arguments.seed, lengths, 1.0, lasts, down=1.0, every=1.0, drain=100.0)
        return replace(small, logs=arguments.logs)
    return Plan(arguments.minutes * 60, arguments.waits, arguments.seed, logs=arguments.logs)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = parser().parse_args(argv)
    leave_through_cleanup()
    soak = Soak(plan(arguments), say)
    try:
        soak.run()
    except KeyboardInterrupt:
        say("\nInterrupted; everything is stopped.")
        return 130
    table = section(soak)
    troubled = [*soak.waits.faults, *(f"lost: {wait}" for wait in soak.lost)]
    for line in troubled[:SHOWN]:
        say(line.partition(", 'execution_deadline'")[0])
    for triggerer in soak.triggerers:
        for line in [*triggerer.crashes, *(triggerer.stopped or {}).get("tasks", [])][:SHOWN]:
            say(f"triggerer {triggerer.number + 1}: {line}")
    if troubled or arguments.history:
        say("\n".join(["Trouble, by the seconds since the beginning:", *soak.trouble.history]))
    say(f"\n{table.markdown()}\n\n{machine.description()}")
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
