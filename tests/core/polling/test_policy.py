"""How a wait polls and when it gives up: the one place where deadlines are derived."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from remote_tasks_provider.core.polling.policy import TRIGGERER_GRACE, PollPolicy, WaitLimits
from tests.core.build import START, a_policy


class TestLimits:
    @pytest.mark.parametrize(
        ("execution_timeout", "shorter"),
        [(None, "timeout"), (600, "timeout"), (601, "timeout"), (599, "execution_timeout")],
    )
    def test_shorter_limit_is_named(self, execution_timeout: float | None, shorter: str) -> None:
        assert WaitLimits(600, execution_timeout).shorter == shorter

    def test_deadlines_count_from_the_first_attempt_and_from_this_one(self) -> None:
        assert WaitLimits(600, 60).deadlines(START, START + 100) == {
            "deadline": START + 600,
            "execution_deadline": START + 160,
        }
        assert WaitLimits(600).deadlines(START, START)["execution_deadline"] is None

    @pytest.mark.parametrize("execution_timeout", [None, 60, 10_000])
    def test_start_is_derived_from_the_timeout_of_the_deferral(self, execution_timeout: float | None) -> None:
        limits = WaitLimits(600, execution_timeout)
        ends = START + min(limits.deferral, execution_timeout or limits.deferral)

        assert limits.deferral == 600 + TRIGGERER_GRACE
        assert limits.started_at(ends) == START


class TestPolicy:
    @pytest.mark.parametrize(
        ("wrong", "name"),
        [
            ({"on_waiting": "explode"}, "on_waiting"),
            ({"outage_tolerance": -1}, "outage_tolerance"),
            ({"outage_tolerance": float("nan")}, "outage_tolerance"),
            ({"poll_interval": -1}, "poll_interval"),
            ({"not_found_grace": -1}, "not_found_grace"),
        ],
    )
    def test_invalid_value_is_refused_under_its_parameter_name(
        self, wrong: dict[str, Any], name: str
    ) -> None:
        with pytest.raises(ValueError, match=name):
            a_policy(**wrong)

    def test_defaults_wait_patiently(self) -> None:
        policy = PollPolicy(started_at=START, poll_interval=30)

        assert (policy.deadline, policy.on_waiting, policy.outage_tolerance) == (None, "wait", 900)
        assert (policy.not_found_grace, policy.max_poll_interval) == (90, None)

    def test_policy_survives_json(self) -> None:
        policy = a_policy(deadline=START + 9, on_waiting="fail", max_credits=5)

        assert PollPolicy(**json.loads(json.dumps(asdict(policy)))) == policy


class TestDeadlines:
    def test_time_left_is_that_of_the_next_deadline(self) -> None:
        assert a_policy().seconds_left(START) is None
        assert a_policy(deadline=START + 9).seconds_left(START) == 9
        assert a_policy(deadline=START + 9, execution_deadline=START + 5).seconds_left(START) == 5
        assert a_policy(deadline=START + 9).seconds_left(START + 10) == 0

    def test_deferral_times_out_later_than_the_deadline(self) -> None:
        assert a_policy().deferral_timeout(START) is None
        assert a_policy(deadline=START + 9).deferral_timeout(START) == 9 + TRIGGERER_GRACE
