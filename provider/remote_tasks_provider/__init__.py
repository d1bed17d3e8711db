"""Apache Airflow provider for tasks that run behind somebody else's REST API.

This module imports nothing, so that Airflow can read the provider's metadata in every process for free.
"""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("airflow-provider-remote-tasks")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
