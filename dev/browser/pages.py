"""The pages that a newcomer follows, and the commands and the DAG in them."""

from __future__ import annotations

import re
from pathlib import Path

README = Path("README.md")
INSTALL = Path("docs/get-started/install.md")
CONNECT = Path("docs/get-started/connect.md")
FIRST_DAG = Path("docs/get-started/first-dag.md")


class BrokenPromiseError(RuntimeError):
    """What a page says did not happen."""


def block(page: Path, heading: str, language: str) -> str:
    """Return the first block in a language below a heading.

    :raises BrokenPromiseError: when the page has none.
    """
    _, _, section = page.read_text(encoding="utf-8").partition(f"# {heading}\n")
    found = re.search(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    if not found:
        raise BrokenPromiseError(f"{page.name} has no {language} block under {heading!r}")
    return found[1]


def inline(page: Path, beginning: str) -> str:
    """Return the first command in the text of a page that begins so.

    :raises BrokenPromiseError: when the page has none.
    """
    found = re.search(rf"`({re.escape(beginning)}[^`]*)`", page.read_text(encoding="utf-8"))
    if not found:
        raise BrokenPromiseError(f"{page.name} has no command that begins with {beginning!r}")
    return found[1]


def commands(page: Path, heading: str) -> list[str]:
    """Return the commands of the first shell block below a heading, without their comments."""
    lines = block(page, heading, "shell").splitlines()
    return [line.partition("#")[0].strip() for line in lines if line.partition("#")[0].strip()]
