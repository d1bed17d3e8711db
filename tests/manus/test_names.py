from __future__ import annotations

import pytest

from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.names import ids_by_name

THERE = [
    {"id": "c1", "name": "Gmail"},
    {"id": "c2", "name": "Notion "},
    {"id": "c3", "name": "Drive"},
    {"id": "c4", "name": "drive"},
]


def test_names_become_ids_in_the_order_that_was_given() -> None:
    assert ids_by_name(["notion", "Gmail"], THERE, "connector") == ["c2", "c1"]


@pytest.mark.parametrize(
    ("name", "there", "words"),
    [
        ("Gmial", THERE, "no connector is called 'Gmial'; there are Drive, Gmail, Notion"),
        ("Drive", THERE, "2 connectors are called 'Drive': give one of the ids c3, c4"),
        ("Gmail", [], "there are none"),
    ],
)
def test_name_that_is_not_that_of_one_lists_what_there_is(
    name: str, there: list[dict[str, str]], words: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        ids_by_name([name], there, "connector")


def test_hook_finds_the_ids_of_connectors_and_skills(manus_conn: str) -> None:
    hook = ManusHook(manus_conn)
    connector, skill = hook.list_connectors()[0], hook.list_skills()[0]

    assert hook.connector_ids(connector["name"].upper()) == [connector["id"]]
    assert hook.skill_ids(skill["name"]) == [skill["id"]]
    with pytest.raises(InvalidArgumentError, match=connector["name"]):
        hook.connector_ids("no such name")
