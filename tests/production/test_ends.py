"""A user, or a time limit, ends the Airflow task: the remote task is cancelled, however many there are."""

from __future__ import annotations

from collections.abc import Callable

from tests.production.deployment import Account, Deployment
from tests.production.test_killed_components import start, until_waiting

Figure = Callable[..., None]
#: What the vendor documents.
CANCELS_A_MINUTE = 40
EACH = 12


def test_sixty_paid_tasks_are_cancelled_at_forty_cancels_a_minute(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    account.sandbox.settings.update({"rate_limits": {"manus.task.stop": CANCELS_A_MINUTE}})
    names = ("failed", "success", "run_failed", "timeout", "execution_timeout")
    runs = {
        name: start(deployment, account, EACH, f"paid_{name}" if "timeout" in name else "paid_deferred", name)
        for name in names
    }
    ends = {name: run for name, run in runs.items() if "timeout" not in name}
    waits: dict[str, int] = {}
    for run in ends.values():
        for triggerer, count in until_waiting(deployment, run, EACH).items():
            waits[triggerer] = waits.get(triggerer, 0) + count
    for index in range(EACH):
        runs["failed"].mark("failed", map_index=index)
        runs["success"].mark("success", map_index=index)
    runs["run_failed"].mark_run("failed")
    deployment.until(lambda: account.statuses == {"stopped": 5 * EACH} or None, "all tasks are cancelled")
    refused = sum(one.status == 429 for one in account.sandbox.requests if one.path.endswith("task.stop"))
    figure(waits=waits, refused=refused, seconds=max(run.seconds for run in runs.values()))
    assert len(account.created) == 5 * EACH


def test_cleared_tasks_are_not_cancelled_and_not_paid_again(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    run = start(deployment, account, EACH)
    until_waiting(deployment, run, EACH)
    before = {one.map_index: one.try_number for one in run.instances()}
    run.clear()

    def again() -> bool | None:
        now = {one.map_index: one.try_number for one in run.instances() if one.state == "deferred"}
        return True if len(now) == EACH and all(now[at] > before[at] for at in now) else None

    deployment.until(again, "the next attempts wait")
    deployment.let_pass(15)
    assert account.statuses == {"running": EACH}
    account.finish()
    assert run.until_over() == "success", run.states()
    figure(seconds=run.seconds)
