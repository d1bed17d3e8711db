"""A bound of the machine's histories, the same ones in each run. ``make model`` makes a million steps."""

from __future__ import annotations

from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import SubmissionMachine, quiet


def test_histories_break_no_promise() -> None:
    before = SubmissionMachine.histories

    run_state_machine_as_test(SubmissionMachine, settings=quiet(100, 25, shorten=True, derandomize=True))

    assert SubmissionMachine.histories - before >= 100
