"""Makes a local executor notice the end of a process late, as a loaded machine does.

It notices it when it has started the task's second process or, at the latest, after some seconds. Airflow
imports this module at start if its folder is on the path.
"""

from __future__ import annotations

import time
from typing import Any

from airflow.executors.local_executor import LocalExecutor

LATE = 6.0
"""Seconds."""

_read, _change = LocalExecutor._read_results, LocalExecutor.change_state
_process = LocalExecutor._process_workloads
_late: dict[Any, tuple[float, Any]] = {}
"""Task instance → when its end is noticed, and what it is."""


def _read_late(self: Any) -> None:
    def keep(key: Any, state: Any, *_: Any, **__: Any) -> None:
        _late[key] = (time.monotonic() + LATE, state)

    self.change_state = keep
    try:
        _read(self)
    finally:
        del self.change_state
    for key in [key for key, (at, _) in _late.items() if at <= time.monotonic()]:
        _change(self, key, _late.pop(key)[1])


def _process_and_notice(self: Any, workloads: Any) -> None:
    _process(self, workloads)
    for one in workloads:
        if one.ti.key in _late:
            _late[one.ti.key] = (0.0, _late[one.ti.key][1])


LocalExecutor._read_results = _read_late
LocalExecutor._process_workloads = _process_and_notice
