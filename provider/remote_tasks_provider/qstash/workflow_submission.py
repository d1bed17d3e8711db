"""How a workflow run is triggered once and found again; see :mod:`remote_tasks_provider.bases.submission`.

The id of a run is made of who asks, of Airflow's ``max_tries``, by which a clear is known, and of what is
asked for. So all attempts that ask for the same name one run: until it has finished, Upstash refuses another
one (https://upstash.com/docs/workflow/howto/singleton), and then the logs show it. A label, the same for
all runs of a task instance, finds those that were asked for something else.

Upstash takes the id of a finished run for a new one. Then the logs would show both, so such a run gets a
number behind its id.
"""

from __future__ import annotations

import hashlib
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from remote_tasks_provider.bases.submission import HookSubmission
from remote_tasks_provider.core.errors import InvalidRequestError, NotFoundError
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import Candidate, CorrelationTag, inputs_of
from remote_tasks_provider.qstash.api import workflows
from remote_tasks_provider.qstash.api.workflow_models import QStashWorkflowRun, TriggeredRun
from remote_tasks_provider.qstash.api.workflow_options import WorkflowOptions, resume_headers
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.submission import CLOCK_SKEW

__all__ = ["ResumeSubmission", "TriggerSubmission", "WorkflowSubmission"]

log = logging.getLogger(__name__)


class WorkflowSubmission(HookSubmission, ABC):
    """Begins one run, with an id and a label by which it is found.

    :param key: the same for all attempts of the Airflow task instance.
    :param max_tries: Airflow's.
    """

    _hook: QStashHook
    finds_tags = True
    sees_all = True

    def __init__(self, hook: QStashHook, key: str, max_tries: int) -> None:
        super().__init__(hook)
        self._tag = CorrelationTag(key, None, max_tries, inputs_of(self.fingerprint))
        self._run_id = self._id(0)
        self.was_there = False
        """Whether a run with its id was at work before it was triggered."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of what is asked for."""

    @abstractmethod
    def operation(self, run_id: str, labels: Sequence[str]) -> Operation[TriggeredRun]:
        """Return the operation that begins the run."""

    def prepare(self) -> None:
        """Find the id of the run: the first one that no run has had which has finished."""
        for number in count():
            self._run_id = self._id(number)
            run = self._found(self._run_id)
            if run is None or not run.state.is_terminal:
                break

    def submit(self, tag: CorrelationTag) -> Candidate:
        """Begin the run; an unfinished one with its id is that run, no matter who began it."""
        own = replace(tag, attempt=None)
        try:
            run = self._hook.client.send(self.operation(self._run_id, [_label(own.key), _text(own)]))
        except InvalidRequestError as error:
            if not workflows.exists_already(error):
                raise
            log.info("QStash workflow run %s is running already; re-attaching to it.", self._run_id)
            self.was_there = True
            return Candidate(self._run_id, None, TaskState.RUNNING, own)
        self.was_there = run.deduplicated
        return Candidate(run.workflow_run_id, None, TaskState.RUNNING, own)

    def _id(self, number: int) -> str:
        return f"wfr_{_text(self._tag)}" + (f"-{number}" if number else "")

    def read(self, task_id: str) -> Candidate:
        """Return a run as it is now."""
        return _candidate(self._hook.get_workflow_run(task_id), self._tag.key)

    def search(self, key: str, since: float) -> Sequence[Candidate]:
        """Return the runs whose label has this key, and the one that is asked for now."""
        asked = self._found(f"wfr_{_text(replace(self._tag, key=key))}")
        found = {run.workflow_run_id: run for run in self._labelled(key, since)}
        if asked is not None and _is_since(asked, since):
            found.setdefault(asked.workflow_run_id, asked)
        candidates = (_candidate(run, key) for run in found.values())
        return [one for one in candidates if one.tag is not None]

    def listed(self, task_id: str, since: float) -> Candidate | None:
        """Return a run, if the logs have it by its label."""
        runs = (run for run in self._labelled(self._tag.key, since) if run.workflow_run_id == task_id)
        return next((_candidate(run, self._tag.key) for run in runs), None)

    def cancel(self, task_id: str) -> None:
        """Cancel a run that another one replaces."""
        try:
            self._hook.cancel_workflow_run(task_id)
        except NotFoundError:
            log.info("QStash workflow run %s does not run any more.", task_id)

    def _found(self, run_id: str) -> QStashWorkflowRun | None:
        try:
            return self._hook.get_workflow_run(run_id)
        except NotFoundError:
            return None

    def _labelled(self, key: str, since: float) -> Iterator[QStashWorkflowRun]:
        runs = self._hook.iter_workflow_runs(labels=_label(key), from_date=int(since - CLOCK_SKEW))
        return (run for run in runs if _is_since(run, since))


class TriggerSubmission(WorkflowSubmission):
    """Triggers a workflow."""

    def __init__(self, hook: QStashHook, options: WorkflowOptions, key: str, max_tries: int) -> None:
        self._options = options
        super().__init__(hook, key, max_tries)

    @property
    def fingerprint(self) -> str:
        """A hash of the URL, the body and the headers for the workflow."""
        return self._options.fingerprint

    def operation(self, run_id: str, labels: Sequence[str]) -> Operation[TriggeredRun]:
        """Return the trigger."""
        return workflows.trigger(self._options, run_id, labels)


class ResumeSubmission(WorkflowSubmission):
    """Resumes or restarts a failed run; the new one keeps its labels.

    :param restart: whether to begin again.
    :param changes: what is otherwise than before: ``retries``, ``flow_control``.
    """

    def __init__(
        self,
        hook: QStashHook,
        dlq_id: str,
        key: str,
        max_tries: int,
        *,
        restart: bool,
        changes: Mapping[str, Any],
    ) -> None:
        self._dlq_id = dlq_id
        self._restart = restart
        self._changes = changes
        self._labels: list[str] = []
        super().__init__(hook, key, max_tries)

    @property
    def fingerprint(self) -> str:
        """A hash of the DLQ message and of what becomes of it."""
        return hashlib.sha256(f"{self._restart}\0{self._dlq_id}".encode()).hexdigest()

    def prepare(self) -> None:
        """Find the id of the run, and read the labels of the failed one."""
        super().prepare()
        label = self._hook.client.send(workflows.get_dlq_message(self._dlq_id)).label or ""
        self._labels = [one.strip() for one in label.split(",") if one.strip() and not _is_own(one)]

    def operation(self, run_id: str, labels: Sequence[str]) -> Operation[TriggeredRun]:
        """Return the resumption."""
        headers = resume_headers(run_id, [*labels, *self._labels], **self._changes)
        return workflows.resume(self._dlq_id, headers, restart=self._restart)


def _label(key: str) -> str:
    return f"af-{key}"


def _text(tag: CorrelationTag) -> str:
    return f"{_label(tag.key)}-{tag.max_tries}-{tag.inputs}"


def _is_own(label: str) -> bool:
    """Whether a label is one that :class:`WorkflowSubmission` gives, to this or to another run."""
    return re.fullmatch(r"af-[0-9a-f]{10}(-\d+-[0-9a-f]{8})?", label.strip()) is not None


def _is_since(run: QStashWorkflowRun, since: float) -> bool:
    return run.created_at is None or run.created_at.timestamp() >= since - CLOCK_SKEW


def _candidate(run: QStashWorkflowRun, key: str) -> Candidate:
    return Candidate(
        run.workflow_run_id, None, run.state, _tag_in([run.workflow_run_id, run.label or ""], key)
    )


def _tag_in(texts: Iterable[str], key: str) -> CorrelationTag | None:
    """Return the tag with this key: in the id or, where Upstash has given another one, in the label."""
    form = re.compile(rf"{re.escape(_label(key))}-(\d+)-([0-9a-f]+)")
    found = next((match for text in texts if (match := form.search(text))), None)
    return None if found is None else CorrelationTag(key, None, int(found[1]), found[2])
