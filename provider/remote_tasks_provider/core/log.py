"""Where core code reports what happens."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Log"]


class Log(Protocol):
    """What the standard library's loggers and those of Airflow's tasks have in common."""

    def info(self, event: str, /, *arguments: Any) -> Any:
        """Say what happens."""

    def warning(self, event: str, /, *arguments: Any, exc_info: Any = ...) -> Any:
        """Say what a reader should know."""
