"""The emulated Manus account: its tasks, projects, files and webhooks, and what the next tasks will do.

HTTP is left to ``v1_api`` and ``v2_api``, the form on the wire to ``wire``. Lists stay sorted by creation and
rendered tasks are kept, so that ten thousand of them are no burden. A line of a prompt that begins with
``sandbox:`` is a directive, such as ``sandbox: ask Which day?``; ``docs/reference/sandbox.md`` lists them.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from remote_tasks_sandbox.calls import Refused
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.manus.files import Uploads
from remote_tasks_sandbox.manus.task import WAITING_WORDS, Attachment, ManusTask, Received, as_list, v1_word
from remote_tasks_sandbox.manus.webhooks import Webhooks
from remote_tasks_sandbox.manus.websites import FAILING
from remote_tasks_sandbox.progression import Script, Step, Timeline, parse_script
from remote_tasks_sandbox.tasks import Key, TaskStore, random_id
from remote_tasks_sandbox.vendor import Context, ControlCall, Handler

__all__ = [
    "Created",
    "ListQuery",
    "ManusAccount",
    "NewTask",
    "Project",
    "bare_prompt",
    "in_order",
    "read_directives",
]

_LINE = re.compile(r"^[ \t]*sandbox:[ \t]*(\S+)[ \t]*(.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_SECONDS = 5.0

#: Directives that take a number, and the option of ``add_task`` that it is for.
_NUMBERS = {
    "credits": "credit_usage",
    "burn": "credits_per_second",
    "lag": "output_lag",
    "background": "background_jobs",
    "hide": "hidden_for",
}


def bare_prompt(prompt: str) -> str:
    """Return the prompt without its directives."""
    return _LINE.sub("", prompt).strip()


def read_directives(prompt: str) -> dict[str, Any]:
    """Return the options of ``add_task`` that a prompt asks for; none when it has none.

    A directive that is not understood makes the task fail with an error that names it: a slip must not pass
    for a success.
    """
    options: dict[str, Any] = {}
    waits: list[dict[str, Any]] = []
    seconds, end = None, None
    for word, rest in _LINE.findall(prompt):
        directive = word.lower()
        try:
            if directive == "seconds":
                seconds = _number(rest)
            elif directive in _NUMBERS:
                number = _number(rest)
                options[_NUMBERS[directive]] = int(number) if directive == "credits" else number
            elif directive in ("ask", "action"):
                waits.append(_wait(directive, rest))
            elif directive == "files":
                options["files"] = [name.strip() for name in rest.split(",") if name.strip()]
            elif directive == "website":
                options["website"] = _publication(rest)
            elif directive == "answer":
                options["answer"] = rest
            elif directive in ("fail", "stop"):
                end = "failed" if directive == "fail" else "stopped"
                options |= {"error": rest or None} if directive == "fail" else {"stopped_by_user": True}
            else:
                raise ValueError("there is no such directive")
        except ValueError as error:
            end, options["error"] = "failed", f"sandbox: {word} {rest}".rstrip() + f" ({error})"
    if waits:
        options["waiting"] = waits
    if waits or seconds is not None or end is not None:
        options["script"] = _script(_SECONDS if seconds is None else seconds, len(waits), end or "completed")
    return options


def _script(seconds: float, waits: int, end: str) -> list[Step]:
    """Share the seconds of running evenly between the questions."""
    part = seconds / (waits + 1)
    steps: list[Step] = []
    for _ in range(waits):
        steps += [("running", part), ("pending", None)]
    return [*steps, ("running", part), (end, None)]


def _number(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError("the number is from 0 on")
    return number


def _publication(rest: str) -> Any:
    if rest not in ("", "fail"):
        raise ValueError("nothing follows but the word fail")
    return FAILING if rest else True


def _wait(directive: str, rest: str) -> dict[str, Any]:
    if directive == "ask":
        return {"type": "messageAskUser", "description": rest or None}
    kind, _, description = rest.partition(" ")
    if not kind:
        raise ValueError("an action has a type, such as gmailSendAction")
    return {"type": kind, "description": description or None}


@dataclass(frozen=True)
class ListQuery:
    """The filters of a task list, checked: those of ``GET /v1/tasks``, and v2's cursor.

    :param after: id of the last task of the page before (v1)
    :param after_key: place of the last task of the page before; the task need not be there any more (v2)
    """

    after: str | None = None
    after_key: Key | None = None
    limit: int = 100
    ascending: bool = False
    by_update: bool = False
    text: str = ""
    statuses: frozenset[str] = frozenset()
    created_after: int | None = None
    created_before: int | None = None
    project_id: str | None = None
    standard_only: bool = False

    def admits(self, task: ManusTask, now: float) -> bool:
        """Whether the task passes every filter; both time bounds are exclusive."""
        if self.created_after is not None and task.created_at <= self.created_after:
            return False
        if self.created_before is not None and task.created_at >= self.created_before:
            return False
        if self.project_id is not None and task.project_id != self.project_id:
            return False
        if self.standard_only and task.project_id:
            return False
        if self.statuses and v1_word(task.timeline.word(now)) not in self.statuses:
            return False
        return (
            not self.text or self.text.casefold() in f"{task.title}\n{task.prompt}\n{task.answer}".casefold()
        )


def in_order(
    tasks: Mapping[str, ManusTask], order: Sequence[Key], query: ListQuery, now: float
) -> Iterator[ManusTask]:
    """Return the tasks from the query's cursor on, in its order, unfiltered.

    :param order: all tasks by creation
    """
    if query.by_update:
        order = sorted((task.updated_at(now), task.number, task.id) for task in tasks.values())
    low, high = 0, len(order)
    if not query.by_update:
        # Only a short cut past tasks that ``admits`` would refuse one by one.
        if query.created_after is not None:
            low = bisect_right(order, (query.created_after, math.inf, ""))
        if query.created_before is not None:
            high = bisect_left(order, (query.created_before, -1, ""))
    last = _cursor(tasks, query, now)
    if last is not None:
        if query.ascending:
            low = max(low, bisect_right(order, last))
        else:
            high = min(high, bisect_left(order, last))
    places = range(low, high) if query.ascending else range(high - 1, low - 1, -1)
    return (tasks[order[place][2]] for place in places)


def _cursor(tasks: Mapping[str, ManusTask], query: ListQuery, now: float) -> Key | None:
    if query.after is None:
        return query.after_key
    last = tasks[query.after]
    return (last.updated_at(now), last.number, last.id) if query.by_update else last.key


DEFAULT_SCRIPT: Script = (("running", 5.0), ("completed", None))
ASKING_SCRIPT: Script = (("running", 2.0), ("pending", None), ("running", 2.0), ("completed", None))

_TITLE_LENGTH = 80
#: The title of a task that was given files and no text.
_UNTITLED = "New task"


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


class ManusAccount(TaskStore[ManusTask]):
    """The tasks of the account, its projects and files, and what the next tasks will do."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, ManusTask)
        self._created: list[Created] = []
        self._plans: deque[dict[str, Any]] = deque()
        #: By shell pattern of the prompt, newest first.
        self._patterns: list[tuple[str, dict[str, Any]]] = []
        self._default_plan: dict[str, Any] = {}
        #: Newest last.
        self.projects: dict[str, Project] = {}
        self.uploads = Uploads(context.clock)
        self.webhooks = Webhooks(context, self._tasks)

    def add_task(
        self,
        task_id: str | None = None,
        script: Iterable[Any] | None = None,
        title: str = "",
        *,
        created_at: float | None = None,
        advance_after_reads: int | None = None,
        **options: Any,
    ) -> str:
        """Add a task to the account.

        :param task_id: its id; 22 letters and digits by default
        :param script: status words with seconds, counted from now; those of both versions mean the same
            (``pending`` and ``waiting``, ``completed`` and ``stopped``, ``failed`` and ``error``), and any
            other word is allowed; a waiting step may last for ever (``None``) and have steps after it
        :param created_at: unix seconds; default now
        :param advance_after_reads: go by reads instead of by time
        :param options: fields of :class:`ManusTask`
        """
        default = ASKING_SCRIPT if options.get("waiting") else DEFAULT_SCRIPT
        with self._lock:
            now = self._clock.now()
            created = now if created_at is None else float(created_at)
            timeline = Timeline(
                default if script is None else script,
                now=now,
                began_at=created,
                advance_after_reads=advance_after_reads,
                holds=WAITING_WORDS,
            )
            task = ManusTask(
                id=self._check_id(random_id(22) if task_id is None else task_id),
                number=next(self._numbers),
                created_at=int(created),
                added_at=now,
                timeline=timeline,
                title=title,
                **options,
            )
            self._insert(task)
            timeline.on_change = partial(self.webhooks.watch, task)
            self.webhooks.watch(task)
            return task.id

    def plan(self, *, default: bool = False, pattern: str | None = None, **options: Any) -> None:
        """Say what a task that is created through the API will do: the next one, in a queue.

        :param default: say it for every task for which nothing else is planned
        :param pattern: say it for every task whose prompt fits this shell pattern, in any case, if none is
            queued; the newest pattern that fits counts
        :param options: those of :meth:`add_task`; ``prompt`` and what else a request says come from there
        """
        if "prompt" in options:
            raise ValueError("the prompt of a task comes from the request")
        self._check_options(options)
        if "script" in options:
            options["script"] = parse_script(options["script"])
        for name in {"progress", "extra_events", "files"} & set(options):
            options[name] = as_list(name, options[name])
        # Tried out elsewhere, so that a mistake shows in the test and not as an error of the API.
        ManusAccount(self._context).add_task(**options)
        with self._lock:
            if pattern is not None:
                self._patterns.insert(0, (pattern.casefold(), options))
            elif default:
                self._default_plan = options
            else:
                self._plans.append(options)

    def create(self, new: NewTask) -> ManusTask:
        """Create the task that a request asks for; the caller holds the lock.

        What it does is what the next plan says, changed by the directives in its prompt.
        """
        options = self._planned(new.prompt) | read_directives(new.prompt)
        title = new.title or options.pop("title", None) or _title(new.prompt)
        options = {"model": f"{new.profile}-agent", "project_id": new.project_id} | options
        task = self._tasks[self.add_task(**options | {"prompt": new.prompt, "title": title})]
        if self._plans:
            self._plans.popleft()
        task.prompt = new.prompt
        task.schema = new.schema
        task.attachments = new.attachments
        task.locale = new.locale
        task.share_visibility = new.share_visibility
        task.api_key_name = new.api_key_name
        self._created.append(Created(task.id, new.version, new.body, self._clock.now()))
        return task

    def _planned(self, prompt: str) -> dict[str, Any]:
        if self._plans:
            return self._plans[0]
        text = prompt.casefold()
        fits = (plan for pattern, plan in self._patterns if fnmatchcase(text, pattern))
        return next(fits, self._default_plan)

    @property
    def created(self) -> list[Created]:
        """Return the tasks that were created through the API, oldest first, deleted ones included."""
        with self._lock:
            return list(self._created)

    def answers(self, task_id: str) -> list[Received]:
        """Return the messages and confirmations that a task received through the API, oldest first."""
        with self._lock:
            return list(self._tasks[task_id].received)

    def visible(self, task_id: str, plan: Plan) -> ManusTask:
        """Return the task that a request names; the caller holds the lock."""
        now = self._clock.now()
        task = self._tasks.get(task_id)
        if task is None or task.is_hidden(now) or plan.hides(task.id, task.added_at, now):
            raise Refused(404, "task not found")
        return task

    def listed(self, query: ListQuery, plan: Plan) -> tuple[list[ManusTask], bool]:
        """Return one page of a list and whether more follow; the caller holds the lock."""
        now = self._clock.now()
        page: list[ManusTask] = []
        for task in in_order(self._tasks, self._order.get("", []), query, now):
            left_out = bool(plan.shaping) and plan.unlisted(task.id, task.added_at, now)
            if task.is_hidden(now) or left_out or not query.admits(task, now):
                continue
            if len(page) == query.limit:
                return page, True
            page.append(task)
        return page, False

    def stop_as_user(self, task_id: str) -> None:
        """Stop a task as its owner does in the web app; a finished task stays as it is."""
        with self._lock:
            self._tasks[task_id].stop(self._clock.now(), by_user=True)

    def add_project(self, name: str, instruction: str = "") -> str:
        """Add a project and return its id."""
        with self._lock:
            project = Project(random_id(22), name, instruction, int(self._clock.now()))
            self.projects[project.id] = project
            return project.id

    def clear(self) -> None:
        """Remove everything: tasks, plans, projects, files."""
        with self._lock:
            super().clear()
            self._created.clear()
            self._plans.clear()
            self._patterns.clear()
            self._default_plan = {}
            self.projects.clear()
            self.uploads.clear()
            self.webhooks.clear()

    def control(self) -> dict[str, Handler]:
        """Return the routes of the control plane: tasks, plans, and what clients sent."""
        return super().control() | {
            "POST plans": self._plan_by_control,
            "GET created": lambda _: {"created": [asdict(one) for one in self.created]},
            "GET answers/": lambda call: {"answers": [asdict(one) for one in self.answers(call.id)]},
            "POST stop/": self._stop_by_control,
            "GET deliveries": lambda _: {"deliveries": [one.describe() for one in self.webhooks.deliveries]},
        }

    def _plan_by_control(self, call: ControlCall) -> Any:
        items = call.objects()
        for item in items:
            self.plan(**item)
        return 201, {"planned": len(items)}

    def _stop_by_control(self, call: ControlCall) -> Any:
        self.stop_as_user(call.id)
        return {"stopped": call.id}


def _title(prompt: str) -> str:
    """Return a title as the vendor makes one: a short form of the prompt."""
    text = bare_prompt(prompt) or prompt.strip()
    return text.splitlines()[0][:_TITLE_LENGTH] if text else _UNTITLED
