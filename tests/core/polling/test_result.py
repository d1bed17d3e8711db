"""How a wait ended: which error or success, in which words, and across the trigger's event."""

from __future__ import annotations

import json
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
        assert str(error) == "The wait gave up 1 of 2 tasks. Example task t2: no answer"
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


class TestLargeEvents:
    def test_records_that_can_be_fetched_again_are_left_out(self) -> None:
        report = _report(*["completed"] * 98, "failed", "running", None)
        event = json.loads(json.dumps(report.to_event()))

        assert event["records"] == {"t100": report.records["t100"], "t101": None}
        assert event["omitted"] == [f"t{number}" for number in range(1, 100)]
        assert _report(*["completed"] * 100).to_event()["omitted"] == []

    def test_omitted_tasks_are_completed_with_another_result(self) -> None:
        report = _report(*["completed"] * 101)
        small = WaitResult.from_event(report.to_event())
        assert small.records == {}
        lost = {"t100": an_api_error(NotFoundError, 404).to_json()}
        again = WaitResult({**report.records, "t100": None}, lost, None, 0.0)
        whole = small.completed_with(again)

        assert whole.omitted == []
        assert whole.records["t1"] == report.records["t1"]
        assert (whole.records["t100"], whole.errors["t100"]["type"]) == (None, "NotFoundError")
        assert (whole.waited, whole.timed_out) == (report.waited, None)
