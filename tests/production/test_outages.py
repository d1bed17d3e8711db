"""The service is away, or refuses: no wait fails for it, and nothing is submitted twice."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.production.deployment import Account, Deployment
from tests.production.test_killed_components import assert_all_succeed, start, until_waiting

Figure = Callable[..., None]
COUNT = 10


@pytest.mark.parametrize("seconds", [30, 300])
def test_waits_survive_a_service_that_is_down(
    deployment: Deployment, account: Account, figure: Figure, seconds: int
) -> None:
    run = start(deployment, account, COUNT)
    until_waiting(deployment, run, COUNT)
    fault = account.sandbox.faults.add("drop_before", "*")
    asked, began = len(account.sandbox.requests), time.monotonic()
    deployment.let_pass(seconds)
    account.finish()
    account.sandbox.faults.remove(fault)
    requests = len(account.sandbox.requests) - asked
    assert_all_succeed(run, account, COUNT)
    figure(down=round(time.monotonic() - began), requests_while_down=requests, seconds=run.seconds)


def test_submissions_and_waits_survive_a_storm_of_429(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    fault = account.sandbox.faults.add("status", "*", status=429, headers={"Retry-After": "5"})
    run = start(deployment, account, COUNT)
    deployment.let_pass(60)
    asked = len(account.sandbox.requests)
    account.sandbox.faults.remove(fault)
    until_waiting(deployment, run, COUNT)
    fault = account.sandbox.faults.add("status", "*", status=429, headers={"Retry-After": "5"})
    before = len(account.sandbox.requests)
    deployment.let_pass(60)
    requests = len(account.sandbox.requests) - before
    account.sandbox.faults.remove(fault)
    assert_all_succeed(run, account, COUNT)
    figure(requests_in_60_s_of_submissions=asked, requests_in_60_s_of_waits=requests, seconds=run.seconds)


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
