"""The service is away, or refuses: no wait fails for it, and nothing is submitted twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.production.conftest import assert_paid_once_and_nothing_told
from tests.production.deployment import Account, Deployment, Run
from tests.production.test_killed_components import assert_all_succeed, start, until_waiting

Figure = Callable[..., None]
COUNT = 10
#: Seconds.
STORM = 40
FIVE_MINUTES = 300


@dataclass
class Outage:
    """A service that is down."""

    account: Account
    run: Run
    fault: str
    began: float
    asked: int


def begin(deployment: Deployment, account: Account) -> Outage:
    """Let tasks wait, and the service be down from then on."""
    run = start(deployment, account, COUNT)
    until_waiting(deployment, run, COUNT)
    fault = account.sandbox.faults.add("drop_before", "*")
    return Outage(account, run, fault, time.monotonic(), len(account.sandbox.requests))


def end(outage: Outage, figure: Figure) -> None:
    """Let the service be there again, with every task completed: no wait has failed meanwhile."""
    account = outage.account
    account.finish()
    account.sandbox.faults.remove(outage.fault)
    requests = len(account.sandbox.requests) - outage.asked
    down = round(time.monotonic() - outage.began)
    assert_all_succeed(outage.run, account, COUNT)
    figure(down=down, requests_while_down=requests, seconds=outage.run.seconds)


@pytest.fixture(scope="module", autouse=True)
def long_outage(deployment: Deployment) -> Outage:
    """An outage that lasts while the other histories of this module run."""
    return begin(deployment, deployment.account("down-for-five-minutes"))


def test_waits_survive_a_service_that_is_down_for_half_a_minute(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    outage = begin(deployment, account)
    deployment.let_pass(30)
    end(outage, figure)


def test_submissions_and_waits_survive_a_storm_of_429(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    fault = account.sandbox.faults.add("status", "*", status=429, headers={"Retry-After": "5"})
    run = start(deployment, account, COUNT)
    deployment.let_pass(STORM)
    asked = len(account.sandbox.requests)
    account.sandbox.faults.remove(fault)
    until_waiting(deployment, run, COUNT)
    fault = account.sandbox.faults.add("status", "*", status=429, headers={"Retry-After": "5"})
    before = len(account.sandbox.requests)
    deployment.let_pass(STORM)
    requests = len(account.sandbox.requests) - before
    account.sandbox.faults.remove(fault)
    assert_all_succeed(run, account, COUNT)
    figure(
        requests_in_the_storm_of_submissions=asked,
        requests_in_the_storm_of_waits=requests,
        seconds=run.seconds,
    )


@pytest.mark.parametrize("first", ["backend", "vendor"])
def test_waits_survive_a_key_that_is_rotated(
    deployment: Deployment, account: Account, figure: Figure, first: str
) -> None:
    run = start(deployment, account, COUNT)
    until_waiting(deployment, run, COUNT)
    former = account.sandbox.settings.manus_key
    account.next_key()
    if first == "backend":
        account.publish()
        coming = account.sandbox.settings.manus_key
        account.sandbox.settings.update({"manus_key": former})
        deployment.let_pass(30)
        account.sandbox.settings.update({"manus_key": coming})
    else:
        deployment.let_pass(30)
        account.publish()
    deployment.let_pass(15)
    refused = sum(one.status == 401 for one in account.sandbox.requests)
    assert_all_succeed(run, account, COUNT)
    figure(first=first, refused=refused, seconds=run.seconds)


def test_waits_survive_a_connection_that_is_deleted_and_made_again(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    run = start(deployment, account, COUNT)
    waits = until_waiting(deployment, run, COUNT)
    deployment.aws.delete_connection(account.conn_id)
    # Whatever reads the connection again meets its absence.
    for name in waits:
        deployment.kill(name)
    deployment.let_pass(45)
    account.publish()
    assert_all_succeed(run, account, COUNT)
    figure(seconds=run.seconds)


def test_waits_survive_a_service_that_is_down_for_five_minutes(
    deployment: Deployment, long_outage: Outage, figure: Figure
) -> None:
    deployment.let_pass(max(0.0, FIVE_MINUTES - (time.monotonic() - long_outage.began)))
    end(long_outage, figure)
    assert_paid_once_and_nothing_told(deployment, long_outage.account)
