"""A local server that emulates the APIs of Manus and QStash, to test DAGs without a key.

The sandbox is an independent witness: it is written from the vendors' documents alone and imports neither
Airflow nor the provider. A mistake in the provider's reading of an API therefore shows up as a disagreement
instead of being copied.
"""

from __future__ import annotations

from remote_tasks_sandbox.app import SandboxApp
from remote_tasks_sandbox.clock import Clock, ManualClock, WallClock
from remote_tasks_sandbox.journal import RequestRecord
from remote_tasks_sandbox.server import SandboxServer
from remote_tasks_sandbox.state import Sandbox

__all__ = ["Clock", "ManualClock", "RequestRecord", "Sandbox", "SandboxApp", "SandboxServer", "WallClock"]
