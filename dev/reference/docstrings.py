"""One docstring, read: its text as Markdown, and the meaning of each parameter.

It reads the reStructuredText that this project writes: paragraphs, bullets, literal blocks, ``code-block``,
links, roles and ``:param:`` fields.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field

#: Returns the address of a name that has a section in the reference, of a page in ``docs``, or ``None``.
FindLink = Callable[[str], str | None]

_FIELD = re.compile(r"^:(param|raises|returns?)(?: ([\w.*]+))?: *(.*)$")
_ROLE = re.compile(r":(?:class|meth|func|attr|mod|exc|data):`~?([^`]+)`")
_LINK = re.compile(r"`([^`<]+?)\s*<([^>`]+)>`__?")
_LITERAL = re.compile(r"``(.+?)``", re.DOTALL)
_PAGE = re.compile(r"docs/([\w/-]+\.md)(#[\w-]+)?")


@dataclass
class Docstring:
    """The parts of one docstring, still in reStructuredText.

    :param text: everything before the fields.
    :param params: the meaning of each parameter.
    :param raises: when each error is raised.
    """

    text: str
    params: dict[str, str] = field(default_factory=dict)
    raises: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first paragraph, on one line."""
        return " ".join(self.text.partition("\n\n")[0].split())


def parse(doc: str | None) -> Docstring:
    """Read a docstring."""
    text: list[str] = []
    fields: list[tuple[str, str, list[str]]] = []
    for line in inspect.cleandoc(doc or "").splitlines():
        found = _FIELD.match(line)
        if found:
            fields.append((found[1], found[2] or "", [found[3]]))
        elif fields and (line.startswith(" ") or not line):
            fields[-1][2].append(line.strip())
        else:
            text.append(line)
    params, raises = (
        {name: " ".join(" ".join(lines).split()) for kind, name, lines in fields if kind == wanted}
        for wanted in ("param", "raises")
    )
    return Docstring("\n".join(text).strip(), params, raises)


def to_markdown(text: str, link: FindLink) -> str:
    """Return reStructuredText as Markdown."""
    return "\n".join(_blocks(text.splitlines(), link)).strip()


def _blocks(lines: list[str], link: FindLink) -> list[str]:
    done: list[str] = []
    prose: list[str] = []

    def flush() -> None:
        done.extend(inline("\n".join(prose), link).splitlines())
        prose.clear()

    place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        code = re.match(r"\.\. code-block:: *(\w+)$", line)
        if not code and not line.endswith("::"):
            prose.append(line)
            continue
        if not code and line != "::":
            prose.append(line[:-1])
        flush()
        block, place = _indented(lines, place)
        done += [*([""] if done and done[-1] else []), f"```{code[1] if code else 'text'}", *block, "```"]
    flush()
    return done


def _indented(lines: list[str], place: int) -> tuple[list[str], int]:
    """Return the indented block at ``place`` and the index of the line after it."""
    end = place
    while end < len(lines) and (not lines[end] or lines[end].startswith(" ")):
        end += 1
    block = textwrap.dedent("\n".join(lines[place:end])).strip("\n").splitlines()
    # The empty line after the block belongs to the prose.
    return block, end - (end < len(lines) and not lines[end - 1])


def inline(text: str, link: FindLink) -> str:
    """Return the inline markup of a text as Markdown."""

    def role(match: re.Match[str]) -> str:
        name = match[1].rpartition(".")[2]
        target = link(name)
        return f"[`{name}`]({target})" if target else f"`{name}`"

    def literal(match: re.Match[str]) -> str:
        code = " ".join(match[1].split())
        page = _PAGE.fullmatch(code)
        if page:
            title = link(code)
            return title or f"`{code}`"
        target = link(code) if code.isidentifier() else None
        return f"[`{code}`]({target})" if target else f"`{code}`"

    text = _LINK.sub(lambda match: f"[{' '.join(match[1].split())}]({match[2]})", text)
    return _LITERAL.sub(literal, _ROLE.sub(role, text))
