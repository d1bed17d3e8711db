"""Hundreds of waits at once."""

from __future__ import annotations

from collections.abc import Callable

from tests.production.deployment import Account, Deployment
from tests.production.test_killed_components import until_waiting

Figure = Callable[..., None]


def test_mapped_waits_of_two_hundred_tasks_end(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    count = 200
    for number in range(count):
        account.manus.add_task(f"{account.name}-{number}", [("running", None)])
    run = deployment.run("mapped_waits", conn_id=account.conn_id, name=account.name, count=count)
    waits = until_waiting(deployment, run, count)
    for number in range(count):
        account.manus.set_status(f"{account.name}-{number}", "completed")
    assert run.until_over() == "success", run.states()
    figure(waits=waits, requests=len(account.sandbox.requests), seconds=run.seconds)


def test_thousand_waits_in_twenty_dags_run_at_once(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    dags = [[f"many-{dag}-{wait}" for wait in range(50)] for dag in range(20)]
    for ids in dags:
        for task_id in ids:
            account.manus.add_task(task_id, [("running", None)])
    runs = [deployment.run(f"many_{number}", conn_id=account.conn_id) for number in range(20)]
    deployment.until(lambda: deployment.deferred(runs) == 1000 or None, "all waits run")
    waiting = runs[0].seconds
    before = len(account.sandbox.requests)
    deployment.let_pass(60)
    requests = len(account.sandbox.requests) - before
    # Each wait that ends takes a worker, and a thousand would take half an hour.
    for ids in dags:
        for task_id in ids[:5]:
            account.manus.set_status(task_id, "completed")
    deployment.until(lambda: deployment.succeeded(runs) == 100 or None, "5 waits of each DAG end")
    assert deployment.deferred(runs) == 900
    for run in runs:
        run.mark_run("success")
    deployment.until(lambda: deployment.deferred(runs) == 0 or None, "the other waits are given up")
    figure(waits=1000, all_wait_after=waiting, requests_in_60_s=requests, seconds=runs[0].seconds)
