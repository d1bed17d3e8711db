"""What the provider says in its logs, whichever of Airflow's two ways a line takes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    import structlog
except ImportError:  # Airflow 2
    structlog = None

__all__ = ["provider_lines"]


class _Handler(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines
        self._last: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        # A record comes twice where Airflow's logger passes it on to the root.
        is_new, self._last = record is not self._last, record
        if is_new and "remote_tasks_provider" in f"{record.name} {record.pathname}":
            self.lines.append(record.getMessage())


@contextmanager
def provider_lines() -> Iterator[list[str]]:
    """Collect the lines of operators, which Airflow 3 logs by structlog, and of modules."""
    lines: list[str] = []

    def collect(_logger: Any, _name: str, event: dict[str, Any]) -> dict[str, Any]:
        lines.append(str(event["event"]) % tuple(event.get("positional_args", ())))
        return event

    handler = _Handler(lines)
    loggers = [logging.getLogger(name) for name in ("", "airflow.task")]
    for logger in loggers:
        logger.addHandler(handler)
    before = structlog.get_config()["processors"] if structlog else []
    if structlog:
        structlog.configure(processors=[collect, *before])
    try:
        yield lines
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        if structlog:
            structlog.configure(processors=before)
