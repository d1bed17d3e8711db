"""No link of the documentation leads nowhere. Links to other sites are not followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import pages


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.name)
def test_every_relative_link_and_image_exists(page: Path) -> None:
    dead = []
    for link in pages.links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in pages.anchors(target)):
            dead.append(link)
    assert not dead


def test_the_index_leads_to_every_page() -> None:
    index = pages.ROOT / "docs" / "index.md"
    linked = {link.partition("#")[0] for link in pages.links(index)}
    assert {page.name for page in (pages.ROOT / "docs").glob("*.md")} - {"index.md"} <= linked
