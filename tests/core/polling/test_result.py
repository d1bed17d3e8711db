"""How a wait ended: which error or success, in which words, and across the trigger's event."""

from __future__ import annotations

import json
import random
import string
from dataclasses import replace
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    NotFoundError,
    RemoteTaskError,
    TaskCancelledError,
    TaskFailedError,
    TaskNeedsInputError,
    TransportError,
    WaitTimeoutError,
)
from remote_tasks_provider.core.polling.result import WaitResult
from tests.core.build import a_snapshot, an_api_error
from tests.core.shared_poller import Log

LOST = an_api_error(NotFoundError, 404, message="gone", endpoint="GET /x", hint="Hm.").to_json()


def _report(*states: str | None, errors: Any = None, timed_out: Any = None, **facts: Any) -> WaitResult:
    """Task ``t1`` in the first state, ``t2`` in the second, and so on; ``None`` was never seen."""
    records = {
        f"t{number}": a_snapshot(state, f"t{number}", **facts).to_record() if state else None
        for number, state in enumerate(states, 1)
    }
    return WaitResult(records, errors or {}, timed_out, 75.4)


def _failure(
    report: WaitResult, raise_on_failure: bool = True, on_waiting: str = "wait"
) -> RemoteTaskError | None:
    return report.failure("Example task", raise_on_failure=raise_on_failure, on_waiting=on_waiting)


class TestOutcome:
    @pytest.mark.parametrize(
        ("report", "options", "kind"),
        [
            (_report("completed"), {}, None),
            (_report("completed", "completed"), {}, None),
            (_report("failed"), {}, TaskFailedError),
            (_report("cancelled"), {}, TaskCancelledError),
            (_report("failed"), {"raise_on_failure": False}, None),
            (_report("cancelled"), {"raise_on_failure": False}, None),
            (_report("waiting"), {"on_waiting": "return"}, None),
            (_report("waiting"), {"on_waiting": "fail"}, TaskNeedsInputError),
            (_report("waiting"), {"on_waiting": "fail", "raise_on_failure": False}, TaskNeedsInputError),
            (_report(None, errors={"t1": LOST}), {}, NotFoundError),
            (_report(None, errors={"t1": LOST}), {"raise_on_failure": False}, NotFoundError),
            (_report("running", timed_out="timeout"), {}, WaitTimeoutError),
            (_report("running", timed_out="timeout"), {"raise_on_failure": False}, WaitTimeoutError),
            (_report("running", timed_out="execution_timeout"), {}, WaitTimeoutError),
            # Several reasons at once: the first of failed, cancelled, waiting, lost, timeout.
            (_report("cancelled", "failed", "waiting"), {"on_waiting": "fail"}, TaskFailedError),
            (_report("waiting", "cancelled"), {"on_waiting": "fail"}, TaskCancelledError),
            (_report(None, "waiting", errors={"t1": LOST}), {"on_waiting": "fail"}, TaskNeedsInputError),
            (_report(None, "failed", errors={"t1": LOST}), {}, TaskFailedError),
            (_report(None, "failed", errors={"t1": LOST}), {"raise_on_failure": False}, NotFoundError),
            (_report(None, "running", errors={"t1": LOST}, timed_out="timeout"), {}, NotFoundError),
            (_report("failed", "running", timed_out="timeout"), {}, TaskFailedError),
            (
                _report("failed", "running", timed_out="timeout"),
                {"raise_on_failure": False},
                WaitTimeoutError,
            ),
        ],
    )
    def test_outcomes_follow_the_table(
        self, report: WaitResult, options: dict[str, Any], kind: type[RemoteTaskError] | None
    ) -> None:
        error = _failure(report, **options)

        assert (type(error) if error else None) is kind


class TestText:
    def test_failed_task_is_named_with_reason_and_url(self) -> None:
        error = _failure(_report("failed", error="out of credits", url="https://x/t1"))

        assert str(error) == "Example task t1 failed: out of credits (https://x/t1)"

    def test_failed_task_without_reason_and_url_is_named_briefly(self) -> None:
        assert str(_failure(_report("cancelled"))) == "Example task t1 was cancelled"

    def test_waiting_task_is_named_as_waiting(self) -> None:
        error = _failure(_report("waiting", url="https://x/t1"), on_waiting="fail")

        assert str(error) == "Example task t1 waits for an answer (https://x/t1)"

    def test_first_five_of_many_are_named(self) -> None:
        error = _failure(_report("completed", *["failed"] * 7))

        assert str(error) == (
            "7 of 8: Example task t2 failed; Example task t3 failed; Example task t4 failed; "
            "Example task t5 failed; Example task t6 failed; and 2 more"
        )

    def test_exactly_five_are_all_named(self) -> None:
        text = str(_failure(_report(*["failed"] * 5)))

        assert text.startswith("5 of 5: Example task t1 failed;")
        assert text.endswith("Example task t5 failed")

    def test_single_failure_of_two_is_counted(self) -> None:
        assert str(_failure(_report("completed", "failed"))) == "1 of 2: Example task t2 failed"

    def test_single_lost_task_gives_its_own_error(self) -> None:
        assert str(_failure(_report(None, errors={"t1": LOST}))) == "GET /x: HTTP 404: gone. Hm."

    def test_lost_task_of_several_is_named(self) -> None:
        lost = TransportError("no answer", sent=False).to_json()
        error = _failure(_report("completed", None, errors={"t2": lost}))

        assert isinstance(error, TransportError)
        assert str(error) == "The wait gave up 1 of 2 Example tasks. Example task t2: no answer"
        assert error.sent is False

    @pytest.mark.parametrize("timed_out", ["timeout", "execution_timeout"])
    def test_timeout_names_limit_time_and_unfinished_tasks(self, timed_out: str) -> None:
        error = _failure(_report("completed", "running", None, timed_out=timed_out))

        assert str(error) == (
            f"Gave up after 75 s ({timed_out}) waiting for 2 of 3: Example task t2 (running); "
            "Example task t3 (never seen). The remote side was left as it is and may still be running."
        )


class TestEvent:
    def test_event_survives_json(self) -> None:
        report = _report("failed", None, errors={"t2": LOST}, timed_out="timeout", error="x")

        back = WaitResult.from_event(json.loads(json.dumps(report.to_event())))
        assert replace(back, omitted=()) == report
        assert back.omitted == []

    @pytest.mark.parametrize(
        "event",
        [
            None,
            {},
            "done",
            ["records"],
            {"status": "success"},
            {"records": {}, "errors": {}, "timed_out": None},
        ],
        ids=str,
    )
    def test_foreign_event_is_an_error_with_advice(self, event: Any) -> None:
        with pytest.raises(RemoteTaskError, match="clear the task"):
            WaitResult.from_event(event)


class TestInOrder:
    def test_records_follow_the_order_of_the_ids(self) -> None:
        report = _report("completed", None)

        assert report.in_order(["t2", "t1", "t1"]) == [None, report.records["t1"], report.records["t1"]]

    def test_first_url_is_that_of_the_first_task_with_one(self) -> None:
        report = _report(None, "completed", "completed", url="https://example.com/t")

        assert report.first_url == "https://example.com/t"
        assert _report(None, "completed").first_url is None


def _realistic(count: int, unfinished: int = 3, lost: int = 2) -> WaitResult:
    """Records such as a list of Manus tasks gives, hard to compress; the last ones are not finished."""
    chance = random.Random(7)

    def word(length: int) -> str:
        return "".join(chance.choices(string.ascii_letters + string.digits, k=length))

    ids = [word(22) for _ in range(count)]
    records: dict[str, Any] = {}
    for number, task_id in enumerate(ids):
        state = "completed" if number < count - unfinished - lost else "running"
        records[task_id] = a_snapshot(
            state, task_id, url=f"https://manus.im/app/{task_id}", title=word(30), credit_usage=number
        ).to_record()
    lost_ids = ids[count - lost :]
    records |= dict.fromkeys(lost_ids)
    return WaitResult(records, dict.fromkeys(lost_ids, LOST), "timeout", 75.4)


def _reordered(event: Any) -> Any:
    """Return the event as a JSONB column gives it back: the keys of each object in another order."""
    if isinstance(event, dict):
        return {key: _reordered(event[key]) for key in sorted(event, key=lambda key: (len(key), key[::-1]))}
    return event


class TestLargeEvents:
    @pytest.mark.parametrize("count", [5, 50, 101, 300, 1000, 5000])
    def test_event_fits_into_the_smallest_column_and_comes_back(self, count: int) -> None:
        report = _realistic(count)
        text = json.dumps(report.to_event())
        back = WaitResult.from_event(_reordered(json.loads(text)), report.records)

        assert len(text) < 48_000
        assert {*back.records, *back.omitted} == {*report.records}
        assert not set(back.omitted) & set(back.records)
        assert {task_id: report.records[task_id] for task_id in back.records} == back.records
        assert (back.errors, back.timed_out, back.waited) == (report.errors, "timeout", 75.4)

    @pytest.mark.parametrize(("count", "omits"), [(50, False), (101, False), (5000, True)])
    def test_records_are_left_out_only_where_they_do_not_fit(self, count: int, omits: bool) -> None:
        report = _realistic(count)
        event = report.to_event()
        back = WaitResult.from_event(event, [*report.records, *report.records])

        assert event["omitted"] == ("rest" if omits else [])
        assert bool(back.omitted) is omits
        assert len(back.omitted) == len(report.records) - len(back.records)
        # The omitted ones come in the order of the wait; each once.
        assert list(back.omitted) == [task_id for task_id in report.records if task_id not in back.records]

    def test_event_up_to_the_limit_is_plain(self) -> None:
        report = _report(*["completed"] * 100)
        length = len(json.dumps(report.to_event()))
        fitting = replace(
            report, errors={"t1": {"message": "x" * (24_000 - length - len('"t1": {"message": ""}'))}}
        )

        assert len(json.dumps(fitting.to_event())) == 24_000
        assert fitting.to_event()["records"] == report.records
        assert "packed" not in fitting.to_event()
        longer = replace(fitting, waited=75.45)
        assert "packed" in longer.to_event()

    def test_records_that_may_change_and_errors_are_kept(self) -> None:
        report = _realistic(5000, unfinished=20, lost=20)
        back = WaitResult.from_event(report.to_event(), report.records)

        assert back.omitted
        assert set(list(report.records)[-40:]) <= set(back.records)
        assert len(back.errors) == 20

    def test_error_of_a_task_that_had_finished_is_kept_before_records(self) -> None:
        report = _realistic(5000)
        late = list(report.records)[2000:2100]
        report = replace(report, errors=dict.fromkeys(late, LOST))
        back = WaitResult.from_event(report.to_event(), report.records)

        assert back.errors == report.errors

    def test_packed_records_leave_room_for_the_rest_of_the_event(self) -> None:
        assert len(_realistic(5000).to_event()["packed"]) <= 40_000

    def test_many_tasks_that_were_given_up_alike_fit(self) -> None:
        ids = [f"task-{number}" for number in range(1000)]
        report = WaitResult(dict.fromkeys(ids), dict.fromkeys(ids, LOST), None, 1.0)
        back = WaitResult.from_event(report.to_event(), ids)

        assert (back.omitted, len(back.errors)) == ([], 1000)

    def test_event_of_an_earlier_version_is_still_read(self) -> None:
        report = _report("running", "completed")
        event = {
            "records": {"t1": report.records["t1"]},
            "errors": {},
            "timed_out": None,
            "waited": 1.0,
        }

        assert WaitResult.from_event({**event, "omitted": ["t2"]}, ["t1", "t2"]).omitted == ["t2"]
        assert WaitResult.from_event(event, ["t1", "t2"]).omitted == ()

    def test_omitted_tasks_are_completed_with_another_result(self) -> None:
        report = _report(*["completed"] * 101)
        small = replace(report, records={}, omitted=list(report.records))
        lost = {"t100": an_api_error(NotFoundError, 404).to_json()}
        again = WaitResult({**report.records, "t100": None}, lost, None, 0.0)
        whole = small.completed_with(again)

        assert whole.omitted == []
        assert whole.records["t1"] == report.records["t1"]
        assert (whole.records["t100"], whole.errors["t100"]["type"]) == (None, "NotFoundError")
        assert (whole.waited, whole.timed_out) == (report.waited, None)


class TestLines:
    def test_line_of_a_task_has_the_services_own_word_and_error(self) -> None:
        report = _report("completed", "failed", None, error="no answer")
        delivered = {**(report.records["t1"] or {}), "status": "DELIVERED", "error": None}
        report = replace(report, records={**report.records, "t1": delivered})

        assert report.lines("QStash message") == [
            "QStash message t1 is completed (delivered).",
            "QStash message t2 is failed: no answer",
        ]

    def test_many_tasks_are_counted(self) -> None:
        report = _report(*["completed"] * 20, "failed")

        assert report.lines("QStash message") == ["21 QStash messages: 20 completed, 1 failed."]

    def test_lines_go_to_the_log(self) -> None:
        log = Log()

        _report("completed").report("Manus task", log)

        assert log.infos == ["Manus task t1 is completed."]
