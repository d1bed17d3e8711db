"""The site that `make docs` builds: its navigation, and the links that leave ``docs``."""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from markdown import Markdown
from markdown_it import MarkdownIt
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from dev import docs_site
from dev.docs_site import navigation
from tests.docs import pages

DOCS = pages.ROOT / "docs"
SECTIONS = ["Get started", "How-to", "Concepts", "Reference", "Contribute", "Project"]


@pytest.fixture(scope="module")
def config() -> MkDocsConfig:
    config = load_config(str(pages.ROOT / "mkdocs.yml"))
    config.plugins._current_plugin = "the test"  # MkDocs sets it while a hook runs
    return config


class Entry(NamedTuple):
    """A page that the navigation names.

    :param address: its path in ``docs``.
    """

    section: str
    title: str
    address: str


def entries() -> list[Entry]:
    """Return what the navigation names, without the home page."""
    sections = navigation((DOCS / "index.md").read_text(encoding="utf-8"))[1:]
    return [
        Entry(section, title, address)
        for entry in sections
        for section, listed in entry.items()
        for one in listed
        for title, address in one.items()
    ]


class TestNavigation:
    def test_navigation_has_the_sections_in_their_order(self) -> None:
        assert list(dict.fromkeys(entry.section for entry in entries())) == SECTIONS

    def test_navigation_names_every_page_once(self) -> None:
        written = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"index.md"}
        named = [entry.address for entry in entries()]
        assert len(named) == len(set(named))
        assert written == {address for address in named if not address.startswith(docs_site.SOURCE)}, (
            "docs/index.md lists every page; a new page needs a line there"
        )

    def test_page_lies_in_the_folder_of_its_section(self) -> None:
        for section, _, address in entries():
            folder = Path(address).parent.as_posix()
            assert section == "Project" or folder == section.casefold().replace(" ", "-"), address

    def test_page_has_the_title_that_the_navigation_gives_it(self) -> None:
        for _, title, address in entries():
            if not address.startswith(docs_site.SOURCE):
                text = (DOCS / address).read_text(encoding="utf-8")
                assert re.search(rf"^# {re.escape(title)}$", text, re.MULTILINE), address


class TestLinksOutside:
    def build(self, config: MkDocsConfig, uri: str, markdown: str) -> tuple[str, Files]:
        file = File.generated(config, uri, content=markdown)
        files = docs_site.on_files(Files([file]), config)
        return docs_site.on_page_markdown(markdown, Page(None, file, config)), files

    def test_link_to_a_file_outside_leads_to_its_page(self, config: MkDocsConfig) -> None:
        text, files = self.build(config, "how-to/a.md", "See [it](../../Makefile#L1).")

        assert text == "See [it](../source/Makefile.md#L1)."
        page = files.get_file_from_path("source/Makefile.md")
        assert page
        assert "SHELL := bash" in page.content_string

    def test_link_to_a_folder_leads_to_the_files_that_it_holds(self, config: MkDocsConfig) -> None:
        _, files = self.build(config, "a.md", "[it](../dev/reference)")

        page = files.get_file_from_path("source/dev/reference.md")
        assert page
        assert "## docstrings.py" in page.content_string

    def test_page_outside_keeps_its_links_into_docs(self, config: MkDocsConfig) -> None:
        _, files = self.build(config, "a.md", "[it](../README.md)")

        file = files.get_file_from_path("source/README.md.md")
        assert file
        text = docs_site.on_page_markdown(file.content_string, Page(None, file, config))
        assert "](../changelog.md)" in text
        assert "](LICENSE.md)" in text

    @pytest.mark.parametrize(
        "text",
        [
            "[a](b.md)",
            "[a](#b)",
            "[a](https://example.com/x)",
            "[a](../nowhere.md)",
            "```text\n[a](../Makefile)\n```",
        ],
    )
    def test_link_elsewhere_stays_as_it_is(self, config: MkDocsConfig, text: str) -> None:
        assert self.build(config, "a.md", text)[0] == text


class TestMarkdown:
    """The site and GitHub read Markdown by different rules; the pages keep to what both read alike."""

    PARTS = re.compile(r"<(li|tr|td|th|h[1-6]|pre|ol|ul|blockquote|img|a href|code|em|strong)\b")

    @pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
    def test_page_has_the_same_parts_on_site_and_github(self, page: Path, config: MkDocsConfig) -> None:
        text = page.read_text(encoding="utf-8")
        site = Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
        html = re.sub(r'<a class="headerlink".*?</a>', "", site.convert(text))

        github = MarkdownIt("gfm-like").render(text)
        assert Counter(self.PARTS.findall(html)) == Counter(self.PARTS.findall(github))


class TestConfiguration:
    def test_warnings_fail_and_every_check_of_links_is_on(self, config: MkDocsConfig) -> None:
        assert config.strict
        for checks in (config.validation.nav, config.validation.links):
            assert set(dict(checks).values()) == {logging.WARNING}
