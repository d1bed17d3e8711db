"""The emulated Manus account: its tasks, projects and files, and what the next tasks will do.

Which behaviour is documented, observed or assumed stands in ``docs/sandbox.md``. HTTP is left to
``manus_v1_api`` and ``manus_v2_api``, the form on the wire to ``manus_v1_wire`` and ``manus_v2_wire``. Lists
stay sorted by creation and rendered tasks are kept, so that ten thousand of them are no burden.
"""

from __future__ import annotations

import inspect
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from remote_tasks_sandbox.manus.files import OutputFile, Uploads, random_id
from remote_tasks_sandbox.manus.listing import Key, ListQuery, in_order
from remote_tasks_sandbox.manus.prompt import bare_prompt, read_directives
from remote_tasks_sandbox.manus.questions import parse_questions
from remote_tasks_sandbox.manus.task import WAITING_WORDS, Attachment, ManusTask, Received
from remote_tasks_sandbox.progression import Script, Timeline, parse_script

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping

    from remote_tasks_sandbox.clock import Clock

__all__ = ["Created", "ManusTask", "ManusTasks", "NewTask", "Project"]

DEFAULT_SCRIPT: Script = (("running", 5.0), ("completed", None))
ASKING_SCRIPT: Script = (("running", 2.0), ("pending", None), ("running", 2.0), ("completed", None))

_TITLE_LENGTH = 80


@dataclass(frozen=True)
class Project:
    """A project; ``created_at`` is in unix seconds."""

    id: str
    name: str
    instruction: str
    created_at: int


@dataclass(frozen=True)
class Created:
    """A task that was created through the API.

    :param version: ``v1`` or ``v2``
    :param body: the request as it came
    :param at: sandbox time, unix seconds
    """

    id: str
    version: str
    body: Mapping[str, Any]
    at: float


@dataclass(frozen=True)
class NewTask:
    """What a request to create a task says, in the words of neither version."""

    version: str
    body: Mapping[str, Any]
    prompt: str
    title: str | None = None
    profile: str = "manus-1.6"
    project_id: str | None = None
    locale: str = ""
    share_visibility: str = "private"
    api_key_name: str | None = None
    schema: Mapping[str, Any] | None = None
    attachments: tuple[Attachment, ...] = ()


class ManusTasks:
    """All tasks of the account; thread safe.

    :param clock: what time it is
    :param lock: shared with the rest of the sandbox
    """

    def __init__(self, clock: Clock, lock: threading.RLock) -> None:
        self._clock = clock
        self._lock = lock
        self._tasks: dict[str, ManusTask] = {}
        self._order: list[Key] = []
        self._numbers = count()
        self._created: list[Created] = []
        self._plans: deque[dict[str, Any]] = deque()
        self._default_plan: dict[str, Any] = {}
        #: Newest last.
        self.projects: dict[str, Project] = {}
        self.uploads = Uploads(clock)

    def add_task(
        self,
        task_id: str | None = None,
        script: Iterable[Any] | None = None,
        title: str | None = None,
        *,
        error: str | None = None,
        credit_usage: int | None = None,
        credits_per_second: float = 0.0,
        project_id: str | None = None,
        created_at: float | None = None,
        prompt: str | None = None,
        answer: str | None = None,
        question: str | None = None,
        waiting: Any = None,
        progress: Iterable[str] = (),
        files: Iterable[str | Mapping[str, Any] | OutputFile] = (),
        structured: Mapping[str, Any] | None = None,
        output_lag: float = 0.0,
        background_jobs: float | None = None,
        stopped_by_user: bool = False,
        hidden_for: float = 0.0,
        model: str = "manus-1.6-agent",
        metadata: Mapping[str, str] | None = None,
        advance_after_reads: int | None = None,
        extra: Mapping[str, Any] | None = None,
        extra_events: Iterable[Mapping[str, Any]] = (),
    ) -> str:
        """Add a task to the account.

        :param task_id: its id; 22 letters and digits by default
        :param script: status words with seconds, counted from now; those of both versions mean the same
            (``pending`` and ``waiting``, ``completed`` and ``stopped``, ``failed`` and ``error``), and any
            other word is allowed; a waiting step may last for ever (``None``) and have steps after it
        :param error: text shown once the task has failed
        :param credits_per_second: credits used for each second of running, on top of ``credit_usage``
        :param created_at: unix seconds; default now
        :param prompt: what the user asked
        :param answer: what the agent says when it ends
        :param question: what the agent asks while it waits
        :param waiting: what it waits for: a type, ``{"type", "description", "schema", "event_id", "options",
            "multiple", "unconfirmed"}``, or a list of these; default ``messageAskUser`` with ``question``
        :param progress: what the agent says when it begins; makes v2 tell progress and result apart
        :param files: names, or ``{"name", "content", "mime_type", "size"}``, attached when it ends
        :param structured: the structured result, ``{"success", "value", "error"}``; what is left out is made
        :param output_lag: seconds by which answer, files and structured result come after the end
        :param background_jobs: seconds for which background jobs run after the end; ``None`` leaves the field
            out, as older servers do
        :param stopped_by_user: the end is that of a user who pressed stop: an event says so, and no answer
            comes
        :param hidden_for: seconds for which the API does not know the task
        :param advance_after_reads: go by reads instead of by time
        :param extra: fields laid over the task on the wire, as they are
        :param extra_events: v2 events told at the start, as they are; ``id`` and ``timestamp`` are made up
        :returns: the task's id
        :raises ValueError: for an id in use, a bad script, or something else that makes no sense
        """
        questions = parse_questions(waiting)
        for name, number in (("output_lag", output_lag), ("hidden_for", hidden_for)):
            _check_seconds(name, number)
        _check_seconds("background_jobs", background_jobs or 0.0)
        _check_seconds("credits_per_second", credits_per_second)
        with self._lock:
            now = self._clock.now()
            chosen = random_id() if task_id is None else task_id
            if not chosen or chosen in self._tasks:
                raise ValueError(f"the id {chosen!r} is empty or in use")
            created = now if created_at is None else float(created_at)
            timeline = Timeline(
                script if script is not None else (ASKING_SCRIPT if questions else DEFAULT_SCRIPT),
                now=now,
                began_at=created,
                advance_after_reads=advance_after_reads,
                holds=WAITING_WORDS,
            )
            self._tasks[chosen] = task = ManusTask(
                id=chosen,
                number=next(self._numbers),
                created_at=int(created),
                added_at=now,
                title=title if title is not None else prompt or f"Sandbox task {chosen}",
                prompt=prompt or title or "Do the work.",
                answer=answer or "Done.",
                question=question or "How shall I go on?",
                error=error or "The agent could not finish the task.",
                credit_usage=credit_usage or 0,
                credits_per_second=credits_per_second,
                project_id=project_id,
                model=model,
                metadata=dict(metadata or {}),
                files=tuple(OutputFile.parse(item) for item in files),
                extra=dict(extra or {}),
                extra_events=tuple(extra_events),
                timeline=timeline,
                questions=questions,
                progress=tuple(progress),
                structured=None if structured is None else dict(structured),
                stopped_by_user=stopped_by_user,
                output_lag=output_lag,
                hidden_for=hidden_for,
                background_jobs=background_jobs,
            )
            insort(self._order, task.key)
            return chosen

    def plan(self, *, default: bool = False, **options: Any) -> None:
        """Say what a task that is created through the API will do: the next one, in a queue.

        :param default: say it for every task for which nothing else is queued
        :param options: those of :meth:`add_task`; ``prompt`` and what else a request says come from there
        :raises ValueError: for an option that ``add_task`` has not, or a bad script
        """
        known = set(inspect.signature(self.add_task).parameters) - {"prompt"}
        if unknown := sorted(set(options) - known):
            raise ValueError(f"unknown fields {unknown}; known are {sorted(known)}")
        if "script" in options:
            options["script"] = parse_script(options["script"])
        for name in {"progress", "extra_events"} & set(options):
            options[name] = tuple(options[name])
        if "files" in options:
            options["files"] = [OutputFile.parse(item) for item in options["files"]]
        # Tried out elsewhere, so that a mistake shows in the test and not as an error of the API.
        ManusTasks(self._clock, self._lock).add_task(**options)
        with self._lock:
            if default:
                self._default_plan = options
            else:
                self._plans.append(options)

    def create(self, new: NewTask) -> ManusTask:
        """Create the task that a request asks for; the caller holds the lock.

        What it does is what the next plan says, changed by the orders in its prompt.
        """
        planned = self._plans[0] if self._plans else self._default_plan
        options = planned | read_directives(new.prompt)
        title = new.title or options.pop("title", None) or _title(new.prompt)
        options = {"model": f"{new.profile}-agent", "project_id": new.project_id} | options
        task = self._tasks[self.add_task(**options | {"prompt": new.prompt, "title": title})]
        if self._plans:
            self._plans.popleft()
        task.schema = new.schema
        task.attachments = new.attachments
        task.locale = new.locale
        task.share_visibility = new.share_visibility
        task.api_key_name = new.api_key_name
        self._created.append(Created(task.id, new.version, new.body, self._clock.now()))
        return task

    @property
    def created(self) -> list[Created]:
        """Return the tasks that were created through the API, oldest first, deleted ones included."""
        with self._lock:
            return list(self._created)

    def answers(self, task_id: str) -> list[Received]:
        """Return the messages and confirmations that a task received through the API, oldest first.

        :raises KeyError: when there is no such task
        """
        with self._lock:
            return list(self._tasks[task_id].received)

    def set_status(self, task_id: str, status: str, *, error: str | None = None) -> None:
        """Give a task a status from now on, for ever.

        :raises KeyError: when there is no such task
        """
        self.set_script(task_id, [(status, None)], error=error)

    def set_script(self, task_id: str, script: Iterable[Any], *, error: str | None = None) -> None:
        """Let a task follow a new script from now on.

        :raises KeyError: when there is no such task
        :raises ValueError: for a bad script
        """
        with self._lock:
            task = self._tasks[task_id]
            task.timeline.run(script, self._clock.now())
            task.error = error or task.error

    def stop_as_user(self, task_id: str) -> None:
        """Stop a task as its owner does in the web app; one that has ended stays as it is.

        :raises KeyError: when there is no such task
        """
        with self._lock:
            self._tasks[task_id].stop(self._clock.now(), by_user=True)

    def delete_task(self, task_id: str) -> None:
        """Remove a task.

        :raises KeyError: when there is no such task
        """
        with self._lock:
            task = self._tasks.pop(task_id)
            del self._order[bisect_left(self._order, task.key)]

    def add_project(self, name: str, instruction: str = "") -> str:
        """Add a project and return its id."""
        with self._lock:
            project = Project(random_id(), name, instruction, int(self._clock.now()))
            self.projects[project.id] = project
            return project.id

    def get(self, task_id: str) -> ManusTask | None:
        """Return a task without counting it as read."""
        return self._tasks.get(task_id)

    def newest(self, limit: int) -> list[ManusTask]:
        """Return the newest tasks, newest first, without counting them as read."""
        with self._lock:
            return [self._tasks[task_id] for _, _, task_id in self._order[: -limit - 1 : -1]]

    def __len__(self) -> int:
        return len(self._tasks)

    def clear(self) -> None:
        """Remove everything: tasks, plans, projects, files."""
        with self._lock:
            self._tasks.clear()
            self._order.clear()
            self._created.clear()
            self._plans.clear()
            self._default_plan = {}
            self.projects.clear()
            self.uploads.clear()

    def select(
        self, query: ListQuery, now: float, left_out: Callable[[ManusTask], bool]
    ) -> tuple[list[ManusTask], bool]:
        """Return one page and whether more follow; the caller holds the lock.

        :param left_out: tells which tasks the list must not show
        :raises KeyError: when ``query.after`` names no task
        """
        page: list[ManusTask] = []
        for task in in_order(self._tasks, self._order, query, now):
            if task.is_hidden(now) or left_out(task) or not query.admits(task, now):
                continue
            if len(page) == query.limit:
                return page, True
            page.append(task)
        return page, False


def _title(prompt: str) -> str:
    """Return a title as the vendor makes one: a short form of the prompt."""
    text = bare_prompt(prompt) or prompt
    return text.splitlines()[0][:_TITLE_LENGTH]


def _check_seconds(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} is a number from 0 on, not {value!r}")
