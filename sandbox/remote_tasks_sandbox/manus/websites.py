"""A website that the agent has built with a task, and what became of its publications.

https://open.manus.ai/docs/v2/website. ``v2_websites`` has the operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from remote_tasks_sandbox.progression import Script, Timeline, parse_script

__all__ = ["FAILING", "Publication", "Website", "live_version"]

_SUCCEEDING: Script = (("publishing", 5.0), ("published", None))
FAILING: Script = (("publishing", 5.0), ("failed", None))


@dataclass(frozen=True)
class Publication:
    """One publication of a website."""

    version_id: str
    visibility: str
    timeline: Timeline


class Website:
    """The website of one task.

    :param script: what becomes of each publication: words of ``publish_status`` with seconds; ``True`` for
        one that succeeds
    :ivar publications: oldest first
    """

    def __init__(self, script: Any) -> None:
        self.script = parse_script(_SUCCEEDING if script is True else script)
        self.publications: list[Publication] = []

    def publish(self, version_id: str, visibility: str, now: float) -> None:
        """Begin a publication."""
        self.publications.append(Publication(version_id, visibility, Timeline(self.script, now=now)))

    @property
    def began_at(self) -> float:
        """Return when the latest publication began, in unix seconds; 0 when there is none."""
        return self.publications[-1].timeline.visited(0)[0][0] if self.publications else 0.0


def live_version(publications: Sequence[Publication], now: float) -> str:
    """Return the version that visitors see, an empty text while there is none."""
    live = [one.version_id for one in publications if one.timeline.word(now) == "published"]
    return live[-1] if live else ""
