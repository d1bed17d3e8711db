"""Tasks of a sandboxed Manus account, and the calls of a poll."""

from __future__ import annotations

from typing import Any

from remote_tasks_sandbox import Sandbox
from tests.poll_driver import PollDriver

__all__ = ["FOREVER", "LIST", "add", "is_full_listing", "many", "query"]

FOREVER = [("running", None)]
LIST = "/manus/v1/tasks"


def add(sandbox: Sandbox, *ids: str, created_ago: float = 0.0, **facts: Any) -> list[str]:
    for task_id in ids:
        created = sandbox.clock.now() - created_ago
        sandbox.manus.add_task(task_id, script=FOREVER, created_at=created, **facts)
    return list(ids)


def many(sandbox: Sandbox, count: int, prefix: str = "t", **facts: Any) -> list[str]:
    return add(sandbox, *[f"{prefix}{number}" for number in range(count)], **facts)


def query(driver: PollDriver, operation: int = 0) -> dict[str, Any]:
    """The parameters of one of the last poll's calls; a repeated one is a list."""
    found: dict[str, Any] = {}
    for name, value in driver.calls[operation].query:
        found.setdefault(name, []).append(value)
    return {name: value if len(value) > 1 else value[0] for name, value in found.items()}


def is_full_listing(driver: PollDriver) -> bool:
    return driver.asked[:1] == ["tasks"] and "status" not in query(driver)
