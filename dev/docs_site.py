"""`make docs`: what MkDocs has to be told (a hook of ``mkdocs.yml``).

The navigation is the list in ``docs/index.md``, so that the site and GitHub show the same one. A file outside
``docs`` that a page leads to becomes a page, ``source/<path>``, so that the site needs no other host.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "source/"

_ENTRY = re.compile(r"^(?:## (?P<section>.+)|- \[(?P<title>[^\]]+)\]\((?P<link>[^)\s#]+)\).*)$", re.MULTILINE)
_FENCED = re.compile(r"(^ *(`{3,})[^`\n]*\n.*?^ *\2 *$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\[[^\]]*\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def on_config(config: MkDocsConfig) -> None:
    """Take the navigation from the home page."""
    config.nav = navigation((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))


def navigation(index: str) -> list[Any]:
    """Return MkDocs' ``nav``: each section of the home page with a list of links, in its order."""
    sections: dict[str, list[dict[str, str]]] = {}
    section = ""
    for entry in _ENTRY.finditer(index):
        if entry["section"]:
            section = entry["section"]
        else:
            address = _address(entry["link"], "docs", "")
            sections.setdefault(section, []).append({entry["title"]: address or entry["link"]})
    return [{"Home": "index.md"}, *({name: pages} for name, pages in sections.items())]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside ``docs`` that a page leads to."""
    todo = [(file.src_uri, file.content_string) for file in files.documentation_pages()]
    while todo:
        uri, text = todo.pop()
        for path in _outside(text, _folder_of(uri)):
            page = f"{SOURCE}{path}.md"
            if not files.get_file_from_path(page):
                content = _page_of(ROOT / path)
                files.append(
                    File.generated(config, page, content=content, inclusion=InclusionLevel.NOT_IN_NAV)
                )
                todo.append((page, content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let the links to files outside ``docs`` lead to their pages."""
    uri = page.file.src_uri
    here = os.path.dirname(uri)

    def link(match: re.Match[str]) -> str:
        address = _address(match[2], _folder_of(uri), here)
        return f"{match[1]}{address}{match[3]}" if address else match[0]

    parts = _FENCED.split(markdown)
    # Text, block, fence of the block, text, …
    return "".join(_LINK.sub(link, part) if i % 3 == 0 else part for i, part in enumerate(parts) if i % 3 < 2)


def _folder_of(uri: str) -> str:
    """Return the folder in the repository that the links of a page start from."""
    return os.path.dirname(uri.removeprefix(SOURCE) if uri.startswith(SOURCE) else f"docs/{uri}")


def _outside(text: str, folder: str) -> Iterator[str]:
    for match in _LINK.finditer(_FENCED.sub("", text)):
        path = _target(match[2], folder)
        if path and not path.startswith("docs/"):
            yield path


def _target(link: str, folder: str) -> str | None:
    """Return the path in the repository that a link leads to, if there is such a file or folder."""
    if ":" in link:
        return None
    path = os.path.normpath(os.path.join(folder, link))
    return path if (ROOT / path).exists() else None


def _address(link: str, folder: str, here: str) -> str | None:
    """Return a link as MkDocs wants it; ``None`` if it is to stay as it is."""
    path = _target(link, folder)
    if not path or (path.startswith("docs/") and folder.startswith("docs")):
        return None
    page = path.removeprefix("docs/") if path.startswith("docs/") else f"{SOURCE}{path}.md"
    return os.path.relpath(page, here or ".")


def _page_of(path: Path) -> str:
    """Return a page as it is; another file, or the files of a folder, as one that the search leaves out."""
    name = path.relative_to(ROOT).as_posix()
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    head = "---\nsearch:\n  exclude: true\n---\n"
    tracked = subprocess.run(
        ["git", "ls-files", "--", name], cwd=ROOT, capture_output=True, text=True, check=True
    )
    listed = tracked.stdout.splitlines() if path.is_dir() else [name]
    blocks = [f"# {name}"]
    for one in listed:
        if path.is_dir():
            blocks.append(f"## {Path(one).name}")
        language = {".py": "python", ".json": "json"}.get(Path(one).suffix, "text")
        text = (ROOT / one).read_text(encoding="utf-8")
        blocks.append(f"~~~~~{language}\n{text.rstrip()}\n~~~~~")
    return head + "\n\n".join(blocks) + "\n"
