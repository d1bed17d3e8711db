"""Example DAGs that poll every second, as nothing that they wait for takes longer in a test."""

from __future__ import annotations

from pathlib import Path

__all__ = ["copy_quick"]

_EXAMPLES = Path(__file__).parents[2] / "example_dags"


def copy_quick(name: str, folder: Path, interval: int = 1) -> Path:
    """Copy an example DAG into a folder; return the copy.

    :param interval: seconds between its polls.
    """
    source = (_EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    copy = folder / f"{name}.py"
    copy.write_text(source.replace("_interval=30", f"_interval={interval}"), encoding="utf-8")
    return copy
