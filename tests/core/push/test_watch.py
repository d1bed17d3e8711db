"""What a watcher has told: nothing is skipped, and nothing is told for ever."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_tasks_provider.core.errors import ServerError
from remote_tasks_provider.core.http.operation import Operation, Page, Request
from remote_tasks_provider.core.polling.strategy import PollRequest
from remote_tasks_provider.core.push import watch
from remote_tasks_provider.core.push.watch import OVERLAP, Cursor, Listing, Sighting, moment
from tests.core.build import BOUNDED, a_snapshot

NOW = 1_763_501_439.0


def seen(key: str, at: float = NOW, payload: Any = ()) -> Sighting:
    return Sighting(key, at, {"id": key} if payload == () else payload)


def begun(*sightings: Sighting) -> Cursor:
    cursor = Cursor()
    cursor.begin(sightings, NOW)
    return cursor


def told(cursor: Cursor, *sightings: Sighting, now: float = NOW) -> list[str]:
    """Tell what is new, as a watcher does."""
    news, ended = cursor.news(sightings, now)
    cursor.forget(ended)
    for one in news:
        cursor.tell(one.key, one.at, now)
    return [one.key for one in news]


class TestBeginning:
    def test_cursor_that_was_never_saved_has_not_begun(self) -> None:
        assert not Cursor().has_begun
        assert not Cursor(None).has_begun
        assert Cursor().since == 0

    def test_list_at_the_beginning_is_not_told(self) -> None:
        cursor = begun(seen("old", NOW - 5), seen("running", NOW - 5, None))

        assert cursor.has_begun
        assert told(cursor, seen("old", NOW - 5), seen("new", NOW + 1)) == ["new"]

    def test_end_of_a_task_that_ran_at_the_beginning_is_told(self) -> None:
        cursor = begun(seen("task", NOW - 5, None))

        assert told(cursor, seen("task", NOW + 5), now=NOW + 6) == ["task"]


class TestTelling:
    def test_news_come_in_the_order_of_time_and_once(self) -> None:
        cursor = begun()
        some = [seen("b", NOW + 2), seen("a", NOW + 1)]

        assert told(cursor, *some, now=NOW + 3) == ["a", "b"]
        assert told(cursor, *some, now=NOW + 3) == []

    def test_late_thing_is_told(self) -> None:
        cursor = begun()

        assert told(cursor, seen("a", NOW + 500), now=NOW + 500) == ["a"]
        assert told(cursor, seen("late", NOW + 10), now=NOW + 501) == ["late"]

    def test_thing_older_than_the_overlap_is_not_told(self) -> None:
        assert told(begun(), seen("ancient", NOW - OVERLAP - 1)) == []

    def test_task_that_runs_again_and_ends_again_is_told_again(self) -> None:
        cursor = begun()

        assert told(cursor, seen("task", NOW + 1), now=NOW + 2) == ["task"]
        assert told(cursor, seen("task", NOW + 3, None), now=NOW + 4) == []
        assert told(cursor, seen("task", NOW + 5), now=NOW + 6) == ["task"]

    def test_time_in_the_future_is_told_once_and_hides_nothing(self) -> None:
        cursor = begun()

        assert told(cursor, seen("odd", NOW + 1e7), now=NOW + 1) == ["odd"]
        for minute in range(1, 60):
            now = NOW + 60 * minute
            assert told(cursor, seen("odd", NOW + 1e7), seen(f"m{minute}", now), now=now) == [f"m{minute}"]

    def test_keys_of_any_text_are_kept_as_digests(self) -> None:
        cursor = begun()
        told(cursor, seen("\ud800 secret", NOW + 1), now=NOW + 2)

        assert "secret" not in json.dumps(cursor.to_json())


class TestSaving:
    def test_saved_cursor_goes_on_where_it_was(self) -> None:
        cursor = begun(seen("old"))
        told(cursor, seen("a", NOW + 1), now=NOW + 1)
        again = Cursor(json.loads(json.dumps(cursor.to_json())))

        assert again.has_begun
        assert again.since == cursor.since
        assert told(again, seen("old"), seen("a", NOW + 1), seen("b", NOW + 2), now=NOW + 2) == ["b"]

    def test_cursor_fits_into_a_state_store_however_much_happens(self) -> None:
        cursor = begun()
        for number in range(3000):
            cursor.tell(f"key {number}", NOW + number / 100, NOW + number / 100)

        assert len(json.dumps(cursor.to_json())) < 65_535
        assert told(cursor, *(seen(f"key {number}", NOW + number / 100) for number in range(3000))) == []

    @BOUNDED
    @given(
        st.lists(
            st.tuples(st.integers(0, 500), st.integers(0, 400)),
            min_size=1,
            max_size=40,
            unique_by=lambda x: x,
        )
    )
    def test_thing_is_told_once_whatever_the_order_and_the_restarts(
        self, things: list[tuple[int, int]]
    ) -> None:
        cursor, heard = begun(), []
        listed: list[Sighting] = []
        for number, (at, delay) in enumerate(sorted(things, key=lambda one: one[0] + one[1])):
            now = NOW + at + delay
            listed.append(seen(f"{number}", NOW + at + 0.5))
            heard += told(cursor, *listed, now=now + 1)
            cursor = Cursor(json.loads(json.dumps(cursor.to_json())))

        assert sorted(heard) == sorted(one.key for one in listed)


def page(*items: Any, following: Operation[Any] | None = None) -> Page[Any]:
    return Page(items, "more" if following else None, following)


OPERATION: Operation[Any] = Operation("GET /things", Request("GET", "/things"), "things", lambda _: None)


class TestListing:
    @staticmethod
    def _run(listing: Listing, *answers: Any, since: float = 0.0) -> tuple[list[Any], int]:
        plan = listing.plan(PollRequest([repr(since)]))
        results, asked, left = [], 0, list(answers)
        step = next(plan)
        try:
            while True:
                if isinstance(step, list):
                    asked += 1
                    step = plan.send([left.pop(0)])
                else:
                    results.append(step)
                    step = plan.send(None)
        except StopIteration:
            return results, asked

    @staticmethod
    def _listing(*, is_sorted: bool) -> Listing:
        return Listing(
            lambda _since: OPERATION,
            lambda item: None if item is None else seen(*item),
            is_sorted=is_sorted,
        )

    def test_pages_are_all_read_and_odd_items_are_left_out(self) -> None:
        results, asked = self._run(
            self._listing(is_sorted=False),
            page(("a", 5.0), None, following=OPERATION),
            page(("b", 1.0)),
            since=3.0,
        )

        assert asked == 2
        assert [list(one) for one in results] == [["a"], ["b"]]

    def test_sorted_list_is_read_until_it_is_older(self) -> None:
        _, asked = self._run(
            self._listing(is_sorted=True),
            page(("a", 5.0), following=OPERATION),
            page(("b", 2.0), following=OPERATION),
            since=3.0,
        )

        assert asked == 2

    def test_first_of_two_sightings_on_a_page_counts(self) -> None:
        (result,), _ = self._run(self._listing(is_sorted=True), page(("a", 5.0), ("a", 1.0)))

        assert result["a"].at == 5.0

    def test_error_is_told_of_the_moment_that_was_asked_for(self) -> None:
        error = ServerError("no", status_code=500)
        results, _ = self._run(self._listing(is_sorted=True), error, since=3.0)

        assert results == [{"3.0": error}]

    def test_list_without_an_end_is_cut_and_said(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(watch, "_MOST_PAGES", 3)
        _, asked = self._run(
            self._listing(is_sorted=False), *(page(("a", 5.0), following=OPERATION) for _ in range(4))
        )

        assert asked == 3
        assert "more than 3 pages" in caplog.text


def test_moment_is_unix_seconds() -> None:
    assert moment(datetime(1970, 1, 1, 0, 1, tzinfo=UTC)) == 60
    assert moment(None) is None


class TestSighting:
    def test_task_that_has_ended_is_told_with_its_record_and_one_that_runs_is_not(self) -> None:
        time = datetime.fromtimestamp(NOW, UTC)
        ended, runs = a_snapshot("completed"), a_snapshot("running")

        assert Sighting.of_task(ended, time) == Sighting("t1", NOW, ended.to_record())
        assert Sighting.of_task(runs, time) == Sighting("t1", NOW, None)

    def test_task_without_a_time_is_no_sighting(self) -> None:
        assert Sighting.of_task(a_snapshot("completed"), None) is None
