"""A few tasks with telling names, one for each way a wait can end, to try the sandbox with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from remote_tasks_sandbox.state import Sandbox

__all__ = ["DEFAULT_SEED_SECONDS", "seed_demo"]

DEFAULT_SEED_SECONDS = 20.0


def seed_demo(sandbox: Sandbox, seconds: float = DEFAULT_SEED_SECONDS) -> None:
    """Add the demo tasks.

    :param sandbox: where to add them
    :param seconds: how long the demo tasks take, from 0 on
    :raises ValueError: for a negative time, or when the demo tasks are there already
    """
    manus = sandbox.manus
    manus.add_task(
        "demo-completes",
        [("running", seconds), ("completed", None)],
        "Summarise the quarterly numbers",
        prompt="Summarise the quarterly numbers in a table and write a short report.",
        answer="Revenue grew by 8 % over the quarter. The table and the report are attached.",
        files=("report.md", {"name": "numbers.csv", "content": "month,revenue\n2025-07,120\n2025-08,124\n"}),
        credit_usage=22,
    )
    manus.add_task(
        "demo-fails",
        [("running", seconds), ("failed", None)],
        "Read the supplier's price list",
        prompt="Open the supplier's price list and compare it with ours.",
        error="The page asked for a login and the agent had none.",
        credit_usage=7,
    )
    manus.add_task(
        "demo-asks",
        [("running", seconds / 2), ("pending", None)],
        "Book a meeting room",
        prompt="Book a meeting room for twelve people next week.",
        question="There are two free rooms, on Tuesday and on Thursday. Which day shall I book?",
        credit_usage=11,
    )
    manus.add_task(
        "demo-long",
        [("running", None)],
        "Watch the news for a year",
        prompt="Tell me every morning what happened in our market.",
    )
    qstash = sandbox.qstash
    qstash.add_task("tsk_demo_delivered", "msg_demo", [("active", seconds / 4), ("delivered", None)])
    qstash.add_task(
        "tsk_demo_retrying",
        "msg_demo",
        [("active", seconds / 4), ("error", seconds / 2), ("active", seconds / 4), ("delivered", None)],
        url="https://example.com/flaky",
        error="HTTP status 503",
    )
    qstash.add_task(
        "tsk_demo_failed",
        "msg_demo",
        [("active", seconds / 2), ("error", seconds / 2), ("failed", None)],
        url="https://example.com/gone",
        error="HTTP status 410",
        max_retry=1,
    )
    _seed_messages(sandbox, seconds)


def _seed_messages(sandbox: Sandbox, seconds: float) -> None:
    """Add messages, and say what becomes of those that are published to the same destinations."""
    qstash = sandbox.qstash
    qstash.plan_delivery("https://example.com/slow*", [200], latency=seconds)
    qstash.plan_delivery("https://example.com/flaky*", [503, 200], latency=seconds / 4)
    qstash.plan_delivery("https://example.com/gone*", [{"status": 410, "body": "This page is gone."}])
    start = ("CREATED", 0), ("ACTIVE", seconds / 4)
    qstash.add_message("msg_demo_delivered", [*start, ("DELIVERED", None)], labels=["demo"])
    qstash.add_message(
        "msg_demo_retrying",
        [*start, ("ERROR", 0), ("RETRY", seconds / 2), ("ACTIVE", seconds / 4), ("DELIVERED", None)],
        url="https://example.com/flaky",
        response_status=503,
        labels=["demo"],
    )
    qstash.add_message(
        "msg_demo_failed",
        [*start, ("ERROR", 0), ("FAILED", None)],
        url="https://example.com/gone",
        response_status=410,
        response_body="This page is gone.",
        max_retries=0,
        labels=["demo"],
    )
