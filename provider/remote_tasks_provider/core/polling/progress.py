"""What a wait knows of one task, and how that travels to another process.

Trouble is measured in time, so that neither the poll interval nor the number of waits decides how much of it
a wait survives:

* A *failure* (no answer, 5xx, an unreadable answer) is trouble that passes. A task is given up when no good
  answer has come for ``outage_tolerance``.
* A *doubtful* error (404, 401, 403, a redirect, a refused request, an unusable connection) would be final,
  but may be wrong for a moment. It is believed when it has stood for ``not_found_grace``.
  Between two sightings may lie no longer silence than the wait has asked for: polls that 429s held up prove
  nothing.
* A 429 is no trouble.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from remote_tasks_provider.core.errors import RateLimitedError, RemoteTaskError
from remote_tasks_provider.core.polling.policy import PollPolicy
from remote_tasks_provider.core.states import TaskSnapshot, TaskState

__all__ = ["Progress", "read_checkpoint", "write_checkpoint"]

# Seconds by which a poll may come later than it was asked for.
_SLACK = 20.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of one task of a wait.

    :param error: set when the wait gave the task up: why.
    :param trouble_since: since when no good answer has come.
    :param doubt: the class of the doubtful error that stands.
    :param doubt_since: since when it stands.
    :param doubted_at: when it was last seen.
    :param last: the class of the last poll's error, if it failed.
    """

    snapshot: TaskSnapshot | None = None
    error: Mapping[str, Any] | None = None
    trouble_since: float | None = None
    doubt: str | None = None
    doubt_since: float | None = None
    doubted_at: float | None = None
    last: str | None = None

    @property
    def is_clean(self) -> bool:
        """Whether the last poll was good, so that nothing is lost if only the service remembers this task."""
        return self.trouble_since is None

    @property
    def is_answered(self) -> bool:
        """Whether the last poll had an answer, and was not refused to keep a rate limit."""
        return self.snapshot is not None and self.last is None

    @property
    def is_asking(self) -> bool:
        """Whether the task waits for a person."""
        return self.snapshot is not None and self.snapshot.state is TaskState.WAITING

    @property
    def is_finished(self) -> bool:
        """Whether no poll can change it. A task that waits for a person is not finished: it may resume."""
        return self.error is not None or (self.snapshot is not None and self.snapshot.state.is_terminal)

    @property
    def state(self) -> str:
        """Where the task stands, for the log."""
        if self.error is not None:
            return "given up"
        if self.doubt == "NotFoundError":
            return "not visible"
        if self.trouble_since is not None:
            return "in trouble"
        return self.snapshot.state.value if self.snapshot else "not seen"

    def after(self, error: RemoteTaskError, now: float, policy: PollPolicy) -> Progress:
        """Return the progress after a poll that failed with ``error``."""
        trouble = type(error).__name__
        if isinstance(error, RateLimitedError):
            return replace(self, last=trouble)
        # The earlier of both moments: another process's clock may be ahead of this one's.
        trouble_since = min(now if self.trouble_since is None else self.trouble_since, now)
        doubt, doubt_since = None, None
        if not error.retry_helps:
            doubt, doubt_since = trouble, now
            if self.doubt == trouble and self.doubt_since is not None and not self._was_silent(now, policy):
                doubt_since = min(self.doubt_since, now)
        found = Progress(
            self.snapshot, None, trouble_since, doubt, doubt_since, now if doubt else None, trouble
        )
        decided_at = found.decided_at(policy)
        return found if decided_at is None or now < decided_at else replace(found, error=error.to_json())

    def _was_silent(self, now: float, policy: PollPolicy) -> bool:
        """Whether polls were missed since the doubtful error was last seen."""
        seen_at = self.doubt_since if self.doubted_at is None else self.doubted_at
        longest = max(policy.not_found_grace, policy.interval(now))
        return seen_at is not None and now - seen_at > longest + _SLACK

    def decided_at(self, policy: PollPolicy) -> float | None:
        """Return when a poll that fails as the last one did makes the wait give the task up."""
        if self.trouble_since is None or self.error is not None:
            return None
        decided_at = self.trouble_since + policy.outage_tolerance
        if self.doubt_since is not None:
            decided_at = min(decided_at, self.doubt_since + policy.not_found_grace)
        return decided_at

    def trouble(self) -> tuple[float | None, str | None, float | None]:
        """Return what another process must know."""
        return self.trouble_since, self.doubt, self.doubt_since


def write_checkpoint(progress: Mapping[str, Progress]) -> list[dict[str, Any]]:
    """Return the troubles of the tasks as JSON: one entry for all that share one, with ranges of places.

    Its size depends on how many different troubles there are, not on how many tasks: an outage that meets
    five thousand of them is one line.
    """
    places: dict[tuple[float | None, str | None, float | None], list[list[int]]] = {}
    for place, one in enumerate(progress.values()):
        if one.is_clean:
            continue
        ranges = places.setdefault(one.trouble(), [])
        if ranges and ranges[-1][1] == place:
            ranges[-1][1] = place + 1
        else:
            ranges.append([place, place + 1])
    return [
        {"trouble_since": since, "doubt": doubt, "doubt_since": doubt_since, "tasks": ranges}
        for (since, doubt, doubt_since), ranges in places.items()
    ]


def read_checkpoint(ids: Iterable[str], checkpoint: Any) -> dict[str, Progress]:
    """Return the progress of each task as :func:`write_checkpoint` wrote it, duplicates once.

    Also reads the earlier form, which had an entry for each task, with a count of failures.
    """
    progress = dict.fromkeys(ids, Progress())
    if isinstance(checkpoint, Mapping):
        for task_id, known in checkpoint.items():
            since = known.get("missing_since")
            if task_id in progress and since is not None:
                progress[task_id] = Progress(None, None, since, "NotFoundError", since)
        return progress
    names: Sequence[str] = list(progress)
    for entry in checkpoint or ():
        known = Progress(None, None, entry["trouble_since"], entry["doubt"], entry["doubt_since"])
        for start, stop in entry["tasks"]:
            progress.update(dict.fromkeys(names[start:stop], known))
    return progress
