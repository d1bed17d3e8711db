"""What was learnt of an account is believed for a while, and is another account's business never."""

from __future__ import annotations

from dataclasses import replace

from remote_tasks_provider.core.http.account_memory import AccountMemory
from tests.core.build import a_config

MINE = a_config()
OTHER = replace(MINE, secret="another key")


def test_note_holds_for_its_time_and_its_account() -> None:
    memory: AccountMemory[str] = AccountMemory(60.0)

    assert memory.note(MINE, "moved", now=1000.0)
    assert memory.get(MINE, now=1059.0) == "moved"
    assert memory.get(MINE, now=1060.0) is None
    assert memory.get(OTHER, now=1000.0) is None


def test_note_is_news_the_first_time() -> None:
    memory: AccountMemory[str] = AccountMemory(60.0)

    assert [memory.note(one, "moved", now=at) for one, at in ((MINE, 0.0), (OTHER, 0.0), (MINE, 100.0))] == [
        True,
        True,
        False,
    ]


def test_account_may_be_told_apart_by_more() -> None:
    memory: AccountMemory[str] = AccountMemory(60.0, lambda config: (config.account, config.conn_id))
    memory.note(MINE, "moved")

    assert memory.get(MINE) == "moved"
    assert memory.get(replace(MINE, conn_id="other")) is None


def test_accounts_are_forgotten_one_by_one_or_all() -> None:
    memory: AccountMemory[str] = AccountMemory(60.0)
    for one in (MINE, OTHER):
        memory.note(one, "moved")
    memory.forget(MINE)

    assert [memory.get(one) for one in (MINE, OTHER)] == [None, "moved"]
    memory.forget()
    assert memory.get(OTHER) is None
