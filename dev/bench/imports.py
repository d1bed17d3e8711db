"""The time to import the operators and sensors, which every DAG file needs at each parse.

Airflow itself is imported first, because every DAG file does so anyway. Each import runs in a fresh process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from dev.bench.figures import Section, milliseconds, seconds
from dev.bench.processes import ROOT, environment

MODULES = {
    "ours": ("remote_tasks_provider.manus.operators", "remote_tasks_provider.manus.sensors"),
    "http": ("airflow.providers.http.operators.http", "airflow.providers.http.sensors.http"),
}
CODE = """
from airflow.providers.common.compat.sdk import BaseOperator, BaseSensorOperator, BaseHook
import sys, time
start = time.perf_counter()
import {modules}
print(time.perf_counter() - start, len(sys.modules))
"""
#: A ratio up to this one is the noise of a shared machine.
NOISE = 1.05


def once(variant: str) -> tuple[float, float]:
    """Return the seconds of the import alone and of the whole process."""
    start = time.perf_counter()
    answer = subprocess.run(
        [sys.executable, "-c", CODE.format(modules=", ".join(MODULES[variant]))],
        cwd=ROOT,
        env=environment({}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        start_new_session=True,
    )
    return float(answer.stdout.splitlines()[-1].split()[0]), time.perf_counter() - start


def section(say: Callable[[str], None], *, quick: bool = False) -> Section:
    """Measure both variants alternately."""
    rounds = 1 if quick else 9
    taken: dict[str, list[tuple[float, float]]] = {variant: [] for variant in MODULES}
    once("ours")  # reads and compiles all files
    once("http")
    for _ in range(rounds):
        for variant in MODULES:
            taken[variant].append(once(variant))
    alone = {variant: median(first for first, _ in all_) for variant, all_ in taken.items()}
    whole = {variant: median(second for _, second in all_) for variant, all_ in taken.items()}
    for variant in MODULES:
        say(f"  {variant}: {milliseconds(alone[variant])}, process {seconds(whole[variant])}")
    table = Section("Importing operators and sensors")
    table.compare("import, without Airflow", alone["ours"], alone["http"], milliseconds, at_most=NOISE)
    table.compare("whole process, with Airflow", whole["ours"], whole["http"], seconds, at_most=NOISE)
    table.notes.append(
        f"{' and '.join(f'`{name}`' for name in MODULES['ours'])} against "
        f"{' and '.join(f'`{name}`' for name in MODULES['http'])}; medians of {rounds} fresh processes, "
        "run alternately. Up to 5 % more counts as equal, the noise of a shared machine."
    )
    return table
