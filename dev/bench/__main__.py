"""Measure, print the tables, and exit with 1 if a target was missed."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from dev.bench import agents, airflow_run, from_trigger, imports, listing, machine, page, push, waits
from dev.bench.figures import Section
from dev.terminal import leave_through_cleanup, say

PARTS: dict[str, Callable[..., Section]] = {
    "imports": imports.section,
    "listing": listing.section,
    "waits": waits.section,
    "heavy": waits.heavy_section,
    "a2a": agents.section,
    "push": push.section,
    "airflow": airflow_run.section,
    "from_trigger": from_trigger.section,
    "page": page.section,
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    arguments = argparse.ArgumentParser(prog="make bench", description=__doc__)
    arguments.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), help="measure these parts (default: all)"
    )
    arguments.add_argument(
        "--quick", action="store_true", help="small numbers: they show that it runs, not how fast it is"
    )
    arguments.add_argument(
        "--write-docs", action="store_true", help="write the tables into docs/contribute/benchmarks.md"
    )
    return arguments


def bench(parts: Sequence[str], *, quick: bool) -> list[Section]:
    """Measure ``parts`` and print their tables."""
    sections = []
    for number, part in enumerate(parts, start=1):
        started = time.monotonic()
        say(f"[{number}/{len(parts)}] {part} ...")
        section = PARTS[part](say, quick=quick)
        sections.append(section)
        say(f"\n{section.markdown()}\n\n({part} took {time.monotonic() - started:.0f} s)\n")
    return sections


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = parser().parse_args(argv)
    leave_through_cleanup()
    started = time.monotonic()
    try:
        sections = bench(arguments.only, quick=arguments.quick)
    except KeyboardInterrupt:
        say("\nInterrupted; everything is stopped.")
        return 130
    missed = [(section, row) for section in sections for row in section.missed]
    for section, row in missed:
        say(f"Target missed: {section.title}: {row.what}: {row.ours}, wanted {row.target}")
    say(f"{machine.description()} Done after {time.monotonic() - started:.0f} s.")
    if arguments.write_docs:
        measured = f"Measured on {datetime.now(tz=UTC):%Y-%m-%d} on {machine.description()}"
        machine.write_page("\n\n".join([measured, *(section.markdown() for section in sections)]))
    # Small numbers prove nothing about the targets.
    return 1 if missed and not arguments.quick else 0


if __name__ == "__main__":
    sys.exit(main())
