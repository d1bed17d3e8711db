"""The diagrams of the documentation are those that ``make diagrams`` draws."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from dev.diagrams import DIAGRAMS, FOLDER


@pytest.mark.parametrize("name", DIAGRAMS)
def test_diagram_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == DIAGRAMS[name](), "run: make diagrams"


@pytest.mark.parametrize("name", DIAGRAMS)
def test_diagram_says_in_words_what_it_shows(name: str) -> None:
    names = [re.sub("{.*}", "", part.tag) for part in ElementTree.fromstring(DIAGRAMS[name]())]
    assert {"title", "desc"} <= set(names)
