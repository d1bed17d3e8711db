"""``dev/reference``: docstrings become Markdown, and a page that differs from the code is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dev.reference.__main__ import outdated, write
from dev.reference.classes import HookClass, MissingDocstringError, ModelClass, PublicClass
from dev.reference.docstrings import parse, to_markdown
from dev.reference.pages import NOTICE, Reference
from remote_tasks_provider.get_provider_info import get_provider_info


def no_link(name: str) -> str | None:
    return None


class TestDocstrings:
    def test_docstring_is_split_into_text_and_fields(self) -> None:
        doc = parse(
            """First line.

            More text.

            :param one: begins here
                and ends here. Templated.
            :param two: short.
            :raises ValueError: when it is wrong.
            """
        )

        assert doc.summary == "First line."
        assert doc.text == "First line.\n\nMore text."
        assert doc.params == {"one": "begins here and ends here. Templated.", "two": "short."}
        assert doc.raises == {"ValueError": "when it is wrong."}

    @pytest.mark.parametrize(
        ("text", "markdown"),
        [
            ("``x = 1``", "`x = 1`"),
            (":meth:`~package.Class.method`", "`method`"),
            ("`the page <https://example.com/a>`__", "[the page](https://example.com/a)"),
            ("Like this::\n\n    a b\n\nAnd on.", "Like this:\n\n```text\na b\n```\n\nAnd on."),
            (".. code-block:: python\n\n    a = 1", "```python\na = 1\n```"),
        ],
    )
    def test_markup_becomes_markdown(self, text: str, markdown: str) -> None:
        assert to_markdown(text, no_link) == markdown

    def test_known_name_becomes_a_link(self) -> None:
        def link(name: str) -> str | None:
            return "page.md#known" if name == "Known" else None

        assert to_markdown(":class:`~a.Known` and ``other``", link) == "[`Known`](page.md#known) and `other`"


class TestClasses:
    def make(self, doc: str | None) -> type:
        def __init__(self: Any, *, one: str, two: int = 2, **kwargs: Any) -> None: ...

        names = {"__doc__": doc, "__init__": __init__, "__module__": "remote_tasks_provider.made_up"}
        return type("Made", (), {**names, "template_fields": ("two",)})

    def test_parameter_table_has_default_template_and_meaning(self) -> None:
        kind = self.make("Does it.\n\n:param two: the second. Templated.\n:param one: the first.")

        section = PublicClass(kind, "remote_tasks_provider.made_up").section(no_link)

        assert section[-4:-1] == [
            "| --- | --- | --- | --- |",
            "| `one` |  | required | the first. |",
            "| `two` | yes | `2` | the second. |",
        ]

    def test_parameter_without_a_meaning_is_refused(self) -> None:
        kind = self.make("Does it.\n\n:param one: the first.")

        with pytest.raises(MissingDocstringError, match="Made: parameter two"):
            PublicClass(kind, "remote_tasks_provider.made_up").section(no_link)

    @pytest.mark.parametrize("described", [PublicClass, HookClass, ModelClass])
    def test_class_without_a_docstring_is_refused(self, described: type[PublicClass]) -> None:
        with pytest.raises(MissingDocstringError, match="Made has no docstring"):
            described(self.make(None), "remote_tasks_provider.made_up")


class TestPages:
    def test_page_that_differs_or_is_left_over_is_outdated(self, tmp_path: Path) -> None:
        write({name: f"{NOTICE}\n{name}" for name in ("a.md", "b.md", "c.md")}, tmp_path)

        now = {"a.md": f"{NOTICE}\na.md", "b.md": f"{NOTICE}\nnew", "d.md": f"{NOTICE}\nd.md"}
        assert outdated(now, tmp_path) == ["b.md", "c.md", "d.md"]

    def test_written_pages_are_not_outdated(self, tmp_path: Path) -> None:
        (tmp_path / "old.md").write_text(f"{NOTICE}\nold")
        pages = Reference().pages()

        write(pages, tmp_path)

        assert outdated(pages, tmp_path) == []
        assert len(pages) == 9

    def test_pages_written_by_hand_stay(self, tmp_path: Path) -> None:
        (tmp_path / "by-hand.md").write_text("# By hand")

        write({}, tmp_path)

        assert outdated({}, tmp_path) == []
        assert (tmp_path / "by-hand.md").exists()

    def test_configuration_page_has_every_option_with_its_default(self) -> None:
        page = Reference().pages()["configuration.md"]

        for name, option in get_provider_info()["config"]["remote_tasks"]["options"].items():
            assert f"## {name}" in page
            assert f"AIRFLOW__REMOTE_TASKS__{name.upper()}" in page
            assert not option["default"] or f"| default | `{option['default']}` |" in page
