"""A few tasks with telling names, one for each way a wait can end, to try the sandbox with."""

from __future__ import annotations

from remote_tasks_sandbox.state import Sandbox

__all__ = ["DEFAULT_SEED_SECONDS", "seed_demo"]

DEFAULT_SEED_SECONDS = 20.0


def seed_demo(sandbox: Sandbox, seconds: float = DEFAULT_SEED_SECONDS) -> None:
    """Add the demo tasks of all vendors.

    :param sandbox: where to add them
    :param seconds: how long the demo tasks take, from 0 on
    :raises ValueError: for a negative time, or when the demo tasks are there already
    """
    for vendor in sandbox.vendors.values():
        vendor.seed_demo(seconds)
