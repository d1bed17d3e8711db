"""Write the pages of the reference, or check that they are up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dev.reference.classes import MissingDocstringError
from dev.reference.pages import FOLDER, Reference, is_generated
from dev.terminal import say


def outdated(pages: dict[str, str], folder: Path) -> list[str]:
    """Return the names of the pages that are missing, differ or should not be there."""
    there = {path.name: path.read_text(encoding="utf-8") for path in _generated(folder)}
    return sorted(name for name in pages.keys() | there.keys() if pages.get(name) != there.get(name))


def _generated(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.md") if is_generated(path)]


def write(pages: dict[str, str], folder: Path) -> None:
    """Write the pages, and remove those that are no longer made."""
    folder.mkdir(exist_ok=True)
    for path in _generated(folder):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


def main() -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="make reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a page is not up to date")
    arguments = parser.parse_args()
    try:
        pages = Reference().pages()
    except MissingDocstringError as error:
        say(f"The reference can't be written: {error}")
        return 1
    if not arguments.check:
        write(pages, FOLDER)
        return 0
    if found := outdated(pages, FOLDER):
        say(f"docs/reference is not up to date ({', '.join(found)}); run: make reference")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
