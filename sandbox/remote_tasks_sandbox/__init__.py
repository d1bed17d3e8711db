"""A local server that emulates the APIs of Manus and QStash, to test DAGs without a key.

The sandbox is an independent witness: it is written from the vendors' documents alone, so it imports neither
Airflow nor any other part of this package, and nothing else in the package may import it. A mistake in the
provider's reading of an API therefore shows up as a disagreement instead of being copied.

Names are loaded on first use, because the server needs the extra ``[sandbox]`` (starlette and uvicorn) and a
mere import of this package must not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remote_tasks_sandbox.clock import Clock, ManualClock, WallClock
    from remote_tasks_sandbox.journal import RequestRecord
    from remote_tasks_sandbox.server import SandboxServer
    from remote_tasks_sandbox.settings import Settings
    from remote_tasks_sandbox.state import Sandbox

__all__ = ["Clock", "ManualClock", "RequestRecord", "Sandbox", "SandboxServer", "Settings", "WallClock"]

_HOMES = {
    "Clock": "clock",
    "ManualClock": "clock",
    "RequestRecord": "journal",
    "Sandbox": "state",
    "SandboxServer": "server",
    "Settings": "settings",
    "WallClock": "clock",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
