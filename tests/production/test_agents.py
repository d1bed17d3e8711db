"""Agents that speak A2A, played by the official server: nothing is lost, and nothing is asked twice."""

from __future__ import annotations

from collections.abc import Callable

from tests.production.deployment import Account, Deployment
from tests.production.test_killed_components import until_waiting

Figure = Callable[..., None]
COUNT = 8


def test_agent_is_asked_once_whatever_is_lost(
    deployment: Deployment, account: Account, figure: Figure
) -> None:
    account.agent.control("faults", {"match": "/message:send", "when": "after", "status": 503, "times": 2})
    run = deployment.run("agents", conn_id=account.agent_conn_id, name=account.name, count=COUNT)
    waits = until_waiting(deployment, run, COUNT)
    run.mark("failed", map_index=0)
    run.mark("success", map_index=1)

    def cancelled() -> list[str] | None:
        found = [one for one in account.asked if account.agent_state(one) == "TASK_STATE_CANCELED"]
        return found if len(found) == 2 else None

    ended = deployment.until(cancelled, "two tasks of the agent are cancelled")
    account.agent.control("faults", {"match": "/tasks", "status": 503, "times": 10})
    lost = max(waits, key=waits.__getitem__)
    deployment.kill(lost)
    for task_id in account.asked:
        account.agent.release(task_id)
    run.until_states("success", COUNT - 1)
    texts = sorted(account.asked.values())
    assert texts == [f"hold; say {account.name} {number}" for number in range(COUNT)]
    assert {account.asked[one][-1] for one in ended} == {"0", "1"}
    assert {one: account.agent_state(one) for one in account.asked if one not in ended} == dict.fromkeys(
        set(account.asked) - set(ended), "TASK_STATE_COMPLETED"
    )
    figure(waits=waits, killed=lost, seconds=run.seconds)
