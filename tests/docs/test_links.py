"""Every link of the documentation leads somewhere. Links to other sites are not followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import pages


@pytest.mark.parametrize(
    "page",
    [*pages.pages(), *pages.reference_pages()],
    ids=lambda page: page.relative_to(pages.ROOT).as_posix(),
)
def test_relative_links_and_images_exist(page: Path) -> None:
    dead = []
    for link in pages.links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in pages.anchors(target)):
            dead.append(link)
    assert not dead


def test_index_leads_to_every_page() -> None:
    index = pages.ROOT / "docs" / "index.md"
    linked = {link.partition("#")[0] for link in pages.links(index)}
    names = {page.relative_to(index.parent).as_posix() for page in index.parent.rglob("*.md")}
    assert names - {"index.md"} <= linked
