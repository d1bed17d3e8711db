"""A component is lost: nothing that it did is lost, or done twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.production.deployment import Account, Deployment, Run

Figure = Callable[..., None]


def start(
    deployment: Deployment, account: Account, count: int, dag_id: str = "paid_deferred", name: str = "ask"
) -> Run:
    """Start tasks that run until the test lets them complete.

    :param name: what their prompts begin with; of each run another.
    """
    account.manus.plan(default=True, script=[("running", None)])
    return deployment.run(dag_id, conn_id=account.conn_id, name=name, count=count)


def until_waiting(deployment: Deployment, run: Run, count: int) -> dict[str, int]:
    """Wait until so many waits are in triggerers; return how many each has."""
    run.until_states("deferred", count)

    def all_run() -> dict[str, int] | None:
        waits = deployment.waits(run)
        return waits if sum(waits.values()) == count else None

    return deployment.until(all_run, "a triggerer has each wait")


def assert_all_succeed(run: Run, account: Account, count: int) -> None:
    account.finish()
    assert run.until_over() == "success", run.states()
    assert run.states() == {"success": count}
    assert account.statuses == {"completed": count}


@pytest.mark.parametrize("count", [pytest.param(12, marks=pytest.mark.short), 100])
def test_killed_triggerer_loses_no_wait(
    deployment: Deployment, account: Account, figure: Figure, count: int
) -> None:
    run = start(deployment, account, count)
    before = until_waiting(deployment, run, count)
    lost = max(before, key=before.__getitem__)
    deployment.kill(lost)
    assert_all_succeed(run, account, count)
    figure(waits=before, killed=lost, seconds=run.seconds)


@pytest.mark.short
def test_worker_killed_after_a_lost_answer_to_its_submission_pays_once(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    account.sandbox.faults.add("drop_after", "*/task.create", times=1)
    # Until the worker is dead, it must not find out itself what became of its request.
    hidden = account.sandbox.faults.add("omit", "*/task*")
    run = start(deployment, account, 1)
    deployment.until(lambda: account.created or None, "the remote task is made", every=0.05)
    worker = deployment.host_of(run)
    deployment.kill(worker)
    account.sandbox.faults.remove(hidden)
    until_waiting(deployment, run, 1)
    assert_all_succeed(run, account, 1)
    figure(killed=worker, attempts=run.instances()[0].try_number, seconds=run.seconds)


@pytest.mark.parametrize("name", ["scheduler-1", "api-server", "worker-1", "dag-processor"])
def test_killed_component_loses_no_task(
    deployment: Deployment, account: Account, figure: Figure, name: str
) -> None:
    run = start(deployment, account, 12)
    deployment.until(lambda: account.created or None, "the first task is submitted")
    deployment.kill(name)
    until_waiting(deployment, run, 12)
    assert_all_succeed(run, account, 12)
    figure(killed=name, seconds=run.seconds)


def test_killed_broker_loses_no_task(deployment: Deployment, account: Account, figure: Figure) -> None:
    run = start(deployment, account, 12)
    deployment.until(lambda: account.created or None, "the first task is submitted")
    deployment.redis.kill()
    deployment.redis.start()
    until_waiting(deployment, run, 12)
    assert_all_succeed(run, account, 12)
    figure(seconds=run.seconds)


@pytest.mark.parametrize("how", ["cut_connections", "restart"])
def test_database_trouble_loses_no_task(
    deployment: Deployment, account: Account, figure: Figure, how: str
) -> None:
    run = start(deployment, account, 12)
    deployment.until(lambda: len(account.created) > 5 or None, "half of the tasks are submitted")
    deployment.forget_restarts()
    trouble: Any = getattr(deployment.postgresql, how)
    trouble()
    until_waiting(deployment, run, 12)
    trouble()
    assert_all_succeed(run, account, 12)
    figure(how=how, restarted=sorted(set(deployment.restarts)), seconds=run.seconds)


@pytest.mark.short
def test_trigger_handed_to_another_triggerer_cancels_no_task(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    run = start(deployment, account, 8)
    before = until_waiting(deployment, run, 8)
    stalled = max(before, key=before.__getitem__)

    def handed_over() -> bool | None:
        waits = deployment.waits(run)
        return True if stalled not in waits and sum(waits.values()) == 8 else None

    with deployment.stalled(stalled):
        deployment.until(handed_over, "the other triggerer has all waits")
    # Airflow 3.3 takes the handover for a user's kill when the first one wakes up.
    killed = deployment.until(lambda: run.told("invoking on_kill") or None, "Airflow calls on_kill")
    deployment.until(
        lambda: run.told("are left as they are: this task is deferred") >= killed or None,
        "each trigger has asked for the state of its task",
    )
    assert [one.path for one in account.sandbox.requests if one.path.endswith("task.stop")] == []
    assert account.statuses == {"running": 8}
    assert_all_succeed(run, account, 8)
    figure(waits=before, stalled=stalled, on_kill=killed, seconds=run.seconds)


def test_task_that_celery_hands_out_twice_pays_once(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    run = start(deployment, account, 2, "paid_on_a_worker")
    deployment.until(lambda: len(account.created) == 2 or None, "both tasks are submitted")
    deployment.until(lambda: deployment.redelivered(run) or None, "Celery hands them out again")
    account.finish()
    state = run.until_over()
    figure(state=state, attempts=[one.try_number for one in run.instances()], seconds=run.seconds)
    assert state == "success", run.states()
    assert account.statuses == {"completed": 2}
