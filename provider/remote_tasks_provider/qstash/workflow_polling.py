"""How workflow runs are polled with few requests.

The logs answer for ten runs at once, if one knows when each was created: runs may share an id, one after
the other (https://upstash.com/docs/workflow, *List Workflow Run Logs*). So a run is first asked for by
itself, and from then on together with others. One that such a list does not show is asked for by itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from remote_tasks_provider.core.errors import InvalidRequestError, RemoteTaskError
from remote_tasks_provider.core.polling.strategy import (
    OneByOne,
    PollPlan,
    PollRequest,
    PollResult,
    Rotation,
    batches,
    result_of,
)
from remote_tasks_provider.core.states import TaskSnapshot
from remote_tasks_provider.qstash.api import workflows
from remote_tasks_provider.qstash.api.workflow_models import QStashWorkflowRun, run_snapshot

__all__ = ["QStashWorkflowPollStrategy"]

log = logging.getLogger(__name__)

# Others would be read as several: pairs are separated by commas.
_LISTABLE = re.compile(r"[A-Za-z0-9_.-]+")


class QStashWorkflowPollStrategy:
    """Polls workflow runs; remembers when each was created."""

    def __init__(self) -> None:
        self._created: dict[str, int] = {}
        self._rotation = Rotation()
        self._singles = OneByOne(workflows.get_run, self._learn)
        self._lists = True

    def plan(self, request: PollRequest) -> PollPlan:
        """Plan one poll; see :class:`~remote_tasks_provider.core.polling.strategy.PollStrategy`."""
        wanted = request.wanted
        self._created = {one: at for one, at in self._created.items() if one in wanted}
        self._rotation.keep(wanted)
        self._singles.keep(wanted)
        due = self._listable(request.due)
        # Others are covered too as long as they need no further request.
        others = self._listable(wanted.keys() - set(request.due))
        covered = [*due, *others[: -len(due) % workflows.MOST_RUNS]]
        told: set[str] = set()
        for page in batches(covered, workflows.MOST_RUNS):
            (answer,) = yield [workflows.read_runs([(one, self._created[one]) for one in page])]
            if isinstance(answer, InvalidRequestError):
                log.info("QStash refuses to list workflow runs by id; asking for each: %s", answer)
                self._lists = False
                break
            if isinstance(answer, RemoteTaskError):
                # It would meet the others, too.
                yield {one: answer for one in request.due if one not in told}
                return
            found = self._results(page, answer)
            # A service that does not know this filter shows any runs.
            self._lists &= bool(found) or len(page) == 1
            self._rotation.note(page)
            told |= found.keys()
            yield found
        yield from self._singles.ask([one for one in request.due if one not in told])

    def _listable(self, run_ids: Sequence[str] | set[str]) -> list[str]:
        """Return the runs that can be asked for with others, those first that were not asked for longest."""
        known = [one for one in run_ids if one in self._created and _LISTABLE.fullmatch(one)]
        return self._rotation.longest_waiting(known) if self._lists else []

    def _results(self, page: Sequence[str], runs: Sequence[QStashWorkflowRun]) -> dict[str, PollResult]:
        return {
            run.workflow_run_id: result_of(run.workflow_run_id, self._learn, run)
            for run in runs
            if run.workflow_run_id in page and run.created_ms == self._created[run.workflow_run_id]
        }

    def _learn(self, run: QStashWorkflowRun) -> TaskSnapshot:
        if run.created_ms is not None:
            self._created[run.workflow_run_id] = run.created_ms
        return run_snapshot(run)
