"""The machine that the figures were measured on, without its name or paths; and the page that holds them."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

from dev.bench.processes import ROOT

PAGE = ROOT / "docs" / "contribute" / "benchmarks.md"
BEGIN = "<!-- The lines from here on are written by `make bench ARGS=--write-docs`. -->"
END = "<!-- End of what is written. -->"


def description() -> str:
    """Return one line on cores, memory and versions."""
    memory = round(psutil.virtual_memory().total / 2**30)
    packages = {
        "Airflow": "apache-airflow",
        "http provider": "apache-airflow-providers-http",
        "pydantic": "pydantic",
        "httpx": "httpx",
        "aiohttp": "aiohttp",
    }
    versions = ", ".join(f"{name} {version(package)}" for name, package in packages.items())
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory} GiB of memory, {platform.system()}, "
        f"Python {platform.python_version()}, {versions}."
    )


def write_page(body: str, page: Path = PAGE, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Put ``body`` between two marks of the page.

    :raises ValueError: when the page lacks a mark.
    """
    text, (begin, end) = page.read_text(), marks
    if begin not in text or end not in text:
        raise ValueError(f"{page.name} lacks a mark: {begin} {end}")
    head, tail = text.split(begin)[0], text.split(end)[1]
    page.write_text(f"{head}{begin}\n\n{body}\n\n{end}{tail}")
