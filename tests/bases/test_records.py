"""What is kept for later attempts, and what becomes of it where Airflow cannot keep it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from remote_tasks_provider.bases.records import TaskRecord
from tests.bases.stores import Store


def record_in(store: Store | None) -> TaskRecord:
    context: Any = {} if store is None else {"task_state_store": store}
    return TaskRecord(context, "key", logging.getLogger(__name__))


class TestTaskRecord:
    def test_value_and_its_parts_are_read_by_a_later_attempt(self) -> None:
        store = Store()
        record_in(store).intend({"pages": 2})
        record_in(store).note({"page": 1}, 1)

        later = record_in(store)

        assert (later.read(), later.read(1), later.read(2)) == ({"pages": 2}, {"page": 1}, None)
        assert store.keys() == {"key", "key_1"}

    def test_intent_that_cannot_be_kept_is_an_error(self) -> None:
        store = Store()
        store.fails_at = 1

        with pytest.raises(ConnectionError):
            record_in(store).intend(1)

    def test_note_that_cannot_be_kept_is_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        store = Store()
        store.fails_at = 1

        record_in(store).note({"task_id": "t1"})

        assert "t1" in caplog.text
        assert store == {}

    def test_record_without_a_store_is_kept_nowhere(self) -> None:
        record = record_in(None)
        record.intend(1)
        record.note(1)

        assert (record.is_kept, record.read()) == (False, None)
