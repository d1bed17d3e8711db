from __future__ import annotations

import json
import random

import pytest

from remote_tasks_provider.core.polling.reports import is_free, pack_report, unpack_report

SEEN = {"state": "running", "credits": 12, "at": 1000.5}


class TestReport:
    def test_report_is_read_as_it_was_written(self) -> None:
        waits = {7: SEEN, 8: {"state": "pending", "credits": None, "at": 900.0}}

        assert unpack_report(json.loads(json.dumps(pack_report("me", 1000.0, waits)))) == waits

    def test_report_of_very_many_waits_fits_into_one_value(self) -> None:
        numbers = random.Random(1)
        waits = {
            one: {"state": "running", "credits": numbers.randrange(10**6), "at": numbers.random() * 1e9}
            for one in range(20_000)
        }

        report = pack_report("me", 1000.0, waits)

        assert len(json.dumps(report)) < 65_535
        assert unpack_report(report).keys() <= waits.keys()
        assert len(unpack_report(report)) > 2000

    @pytest.mark.parametrize(
        "value", [None, {}, [], "text", {"waits": None}, {"waits": "AAAA"}, {"waits": "eJw="}]
    )
    def test_value_that_is_no_report_says_nothing(self, value: object) -> None:
        assert unpack_report(value) == {}


class TestSlot:
    @pytest.mark.parametrize(
        "report", [None, "text", {"by": "me", "at": 999.0}, {"by": "other"}, {"by": "other", "at": 600.0}]
    )
    def test_slot_is_free_without_the_report_of_another_process_that_lives(self, report: object) -> None:
        assert is_free(report, "me", 1000.0)

    def test_slot_of_another_process_is_not_free(self) -> None:
        assert not is_free({"by": "other", "at": 990.0}, "me", 1000.0)
