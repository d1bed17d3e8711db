"""The blocks of the page: plain data that ``static/page.js`` draws.

Titles, ids and paths are whatever a test or a client sent; the script writes them as text and never as HTML.
Imports neither the sandbox nor a vendor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from remote_tasks_sandbox.tasks import Task

__all__ = ["ROWS", "ago", "lifetime", "next_change", "span", "table"]

#: Rows of a table at most.
ROWS = 100


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str, total: int | None = None
) -> dict[str, Any]:
    """Return a table.

    :param rows: cells: a text, or ``{"text", "tone", "href", "notes", "percent"}``
    :param empty: what stands there when there is no row
    :param total: how many rows there are, if not all are shown
    """
    shown = [list(row) for row in rows]
    count = len(shown) if total is None else total
    return {"title": title, "columns": list(columns), "rows": shown, "empty": empty, "total": count}


def lifetime(task: Task, created_at: float, now: float) -> list[Any]:
    """Return the cells for the columns age, next, last read and reads.

    :param created_at: unix seconds
    """
    read = "-" if task.last_read_at is None else ago(now - task.last_read_at)
    at, since = task.timeline.next_change(now), task.timeline.since(now)
    percent = None if at is None or at <= since else round(100 * (now - since) / (at - since))
    change = {"text": next_change(task, now) or "stays", "percent": percent}
    return [span(now - created_at), change, read, str(task.reads)]


def next_change(task: Task, now: float) -> str | None:
    """Return the next status and when it comes, or ``None`` when none is to come."""
    word, at = task.timeline.next_word(now), task.timeline.next_change(now)
    if word is None:
        return None
    reads = task.timeline.reads_left()
    return f"{word} in {span(at - now)}" if at is not None else f"{word} after {reads} reads"


def ago(seconds: float) -> str:
    """Write how long ago something was."""
    return f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """Write a duration in its largest fitting unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
