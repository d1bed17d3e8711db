"""What long work says of itself, by a clock that a test moves."""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.core.progress_log import ProgressLog
from tests.core.shared_poller import Log


class Work:
    """Takes some time for each thing it does."""

    def __init__(self, doing: str, **what: Any) -> None:
        self.now = 1000.0
        self.log = Log()
        self.progress = ProgressLog(self.log, doing, monotonic=lambda: self.now, **what)

    def go_on(self, times: int, seconds: float, **done: int) -> list[str]:
        for _ in range(times):
            self.now += seconds
            self.progress.add(**done)
        return self.log.infos


def test_line_comes_every_ten_seconds_with_items_bytes_and_rate() -> None:
    assert Work("Writing a.jsonl", noun="item").go_on(6000, 0.0051, number=1, size=250) == [
        "Writing a.jsonl: 1,961 items, 490.2 kB so far, 196 items/s.",
        "Writing a.jsonl: 3,922 items, 980.5 kB so far, 196 items/s.",
        "Writing a.jsonl: 5,883 items, 1.5 MB so far, 196 items/s.",
    ]


def test_short_work_says_nothing() -> None:
    assert Work("Writing", noun="item").go_on(9, 1.0, number=1) == []


def test_number_that_is_known_is_said_and_the_rate_is_in_bytes() -> None:
    assert Work("Saving", noun="file", of=3).go_on(1, 20.0, number=1, size=40_000_000) == [
        "Saving: 1 of 3 files, 40.0 MB so far, 2.0 MB/s."
    ]


def test_bytes_alone_are_counted_where_there_is_one_thing() -> None:
    work = Work("Uploading a.bin")
    work.now += 10
    work.progress.add_bytes(5000)

    assert work.log.infos == ["Uploading a.bin: 5.0 kB so far, 500 bytes/s."]


def test_work_that_hangs_is_told_when_it_goes_on() -> None:
    work = Work("Writing", noun="item")

    assert work.go_on(1, 95.0, number=1) == ["Writing: 1 item, 0 bytes so far, 0 items/s."]
    assert work.go_on(1, 1.0, number=1) == ["Writing: 1 item, 0 bytes so far, 0 items/s."]
