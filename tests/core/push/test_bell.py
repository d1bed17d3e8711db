"""The names and the values of the note that a webhook leaves."""

from __future__ import annotations

from datetime import datetime

import pytest

from remote_tasks_provider.core.push.bell import (
    BellNotStored,
    bell_key,
    event_extra,
    events_asset_name,
    has_rung,
    new_note,
)
from remote_tasks_provider.core.states import TaskState


class TestNote:
    def test_note_differs_from_every_other_one(self) -> None:
        assert len({new_note()["id"] for _ in range(100)}) == 100

    def test_note_has_the_time_for_people(self) -> None:
        assert datetime.fromisoformat(new_note()["at"]).tzinfo is not None

    def test_key_of_a_connection_names_service_and_connection(self) -> None:
        assert bell_key("manus", "manus_default") == "bell:manus:manus_default"

    @pytest.mark.parametrize(
        ("before", "now", "rung"),
        [(None, "a", True), ("a", "b", True), ("a", "a", False), ("a", None, False), (None, None, False)],
    )
    def test_bell_has_rung_when_there_is_another_note(self, before: object, now: object, rung: bool) -> None:
        assert has_rung(before, now) is rung

    def test_error_keeps_its_reason(self) -> None:
        assert BellNotStored("no database").reason == "no database"


class TestEvents:
    def test_asset_of_a_connection_has_a_name_and_a_uri_that_takes_any_id(self) -> None:
        assert events_asset_name("manus", "team/a b") == (
            "remote-tasks-manus-team/a b",
            "remote-tasks://manus/team%2Fa%20b",
        )

    def test_event_holds_ids_and_a_state(self) -> None:
        extra = event_extra("manus", "manus_default", "e1", ("t1",), TaskState.COMPLETED)

        assert extra == {
            "service": "manus",
            "conn_id": "manus_default",
            "event_id": "e1",
            "remote_ids": ["t1"],
            "state": "completed",
        }

    def test_event_without_a_state_has_none(self) -> None:
        assert event_extra("manus", "manus_default", "e1", (), None)["state"] is None
