"""Where core code reports what happens, and the words for it."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Log", "counted", "in_brackets", "in_bytes"]


class Log(Protocol):
    """What the standard library's loggers and those of Airflow's tasks have in common."""

    def info(self, event: str, /, *arguments: Any) -> Any:
        """Say what happens."""

    def warning(self, event: str, /, *arguments: Any, exc_info: Any = ...) -> Any:
        """Say what a reader should know."""


def counted(number: int, noun: str) -> str:
    """Return how many there are: ``1 file``, ``2,000 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def in_brackets(text: object) -> str:
    """Return what stands behind a name: `` (https://…)``, or nothing where there is nothing to say."""
    return f" ({text})" if text else ""


def in_bytes(number: float) -> str:
    """Return an amount of data: ``512 bytes``, ``3.2 MB``."""
    if number < 1000:
        return f"{number:.0f} bytes"
    unit = next(one for one in ("kB", "MB", "GB") if (number := number / 1000) < 999.95 or one == "GB")
    return f"{number:.1f} {unit}"
