"""The documentation as data: its pages, code blocks, tables and links.

Run as a program, it fills each block below an ``<!-- include file:region -->`` with that region of the file,
which is what lies between ``# [START region]`` and ``# [END region]``.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dev.reference.pages import is_generated

ROOT = Path(__file__).parents[2]

_COMMENT = re.compile(r"^\s*<!-- (.*) -->\s*$")
_FENCE = re.compile(r"^(\s*)```(\w*)\s*$")
_WHOLE_BLOCK = re.compile(r"^\s*```.*?^\s*```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    """Return the pages beside the README, with it, and every hand-written page of ``docs/``."""
    return [*sorted(ROOT.glob("*.md")), *(page for page in _all_pages() if not is_generated(page))]


def reference_pages() -> list[Path]:
    """Return the generated pages of ``docs/reference/``."""
    return [page for page in _all_pages() if is_generated(page)]


def _all_pages() -> list[Path]:
    return sorted((ROOT / "docs").rglob("*.md"))


def read(page: str) -> str:
    """Return the text of a page by its path in the repository."""
    return (ROOT / page).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    :param line: the number of its first line of code.
    :param comment: what the HTML comment right above it says.
    """

    page: Path
    line: int
    language: str
    text: str
    comment: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def include(self) -> str | None:
        """The ``file:region`` it quotes."""
        return self.comment.removeprefix("include ") if self.comment.startswith("include ") else None


def blocks(*languages: str, among: list[Path] | None = None) -> list[Block]:
    """Return the blocks in one of ``languages``, of all hand-written pages unless others are given."""
    return [block for page in among or pages() for block in _blocks_of(page) if block.language in languages]


def _blocks_of(page: Path) -> Iterator[Block]:
    comment, fence, start, lines = "", None, 0, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        match = _FENCE.match(line)
        if fence is None and match:
            fence, start, lines = match, number + 1, []
        elif fence is not None and match and not match[2]:
            yield Block(page, start, fence[2], textwrap.dedent("\n".join([*lines, ""])), comment)
            fence, comment = None, ""
        elif fence is not None:
            lines.append(line)
        else:
            found = _COMMENT.match(line)
            comment = found[1] if found else ""
    assert fence is None, f"{page}: the block at line {start} has no end"


def region(include: str) -> str:
    """Return the region that ``file:region`` names."""
    name, _, tag = include.partition(":")
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.search(rf"^ *# \[START {tag}\]\n(.*?)^ *# \[END {tag}\]$", text, re.DOTALL | re.MULTILINE)
    assert found, f"{name} has no region {tag!r}"
    return textwrap.dedent(found[1]).strip("\n") + "\n"


def prose(page: Path) -> str:
    """Return a page without its blocks."""
    return _WHOLE_BLOCK.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and images."""
    return [match[1] for match in _LINK.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    heads = re.findall(r"^#+ +(.*?) *$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.casefold()).replace(" ", "-") for head in heads}


def section(page: str, heading: str) -> str:
    """Return what stands below ``heading`` up to the next heading of its level."""
    level = re.escape(heading.split(" ")[0])
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^{level} |\Z)", read(page), flags=re.DOTALL | re.MULTILINE
    )
    assert found, f"{page} has no {heading!r}"
    return found[1]


def table(text: str, first_column: str) -> list[dict[str, str]]:
    """Return the rows of the first table in ``text`` whose first column has this head."""
    lines = text.splitlines()
    start = next(
        i for i, line in enumerate(lines) if line.startswith("|") and _cells(line)[0] == first_column
    )
    head = _cells(lines[start])
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(head, _cells(line), strict=True)))
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().split("|")[1:-1]]


def fill() -> None:
    """Write every included region into its block."""
    for page in pages():
        lines = page.read_text(encoding="utf-8").splitlines()
        for block in reversed(list(_blocks_of(page))):
            if block.include:
                old = len(block.text.splitlines())
                lines[block.line - 1 : block.line - 1 + old] = region(block.include).splitlines()
        page.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    fill()
