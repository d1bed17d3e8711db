"""A few tasks with telling names, one for each way a wait can end, to try the sandbox with.

The file ``demo.json`` of a vendor holds them, and plans for what a client creates: for each route of its
control plane what to post to it. Times are parts of the time that the demo takes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from remote_tasks_sandbox.state import Sandbox
from remote_tasks_sandbox.vendor import ControlCall

__all__ = ["DEFAULT_SEED_SECONDS", "seed_demo"]

DEFAULT_SEED_SECONDS = 20.0


def seed_demo(sandbox: Sandbox, seconds: float = DEFAULT_SEED_SECONDS) -> None:
    """Add the demo tasks of all vendors.

    :param sandbox: where to add them
    :param seconds: how long the demo tasks take, from 0 on
    """
    for name, vendor in sandbox.vendors.items():
        routes = vendor.account.control()
        for path, items in json.loads((Path(__file__).parent / name / "demo.json").read_text()).items():
            routes[f"POST {path}"](ControlCall("", [_timed(item, seconds) for item in items]))


def _timed(item: dict[str, Any], seconds: float) -> dict[str, Any]:
    if "latency" in item:
        item["latency"] *= seconds
    for name in {"script", "resumed"} & set(item):
        item[name] = [(word, None if part is None else part * seconds) for word, part in item[name]]
    return item
