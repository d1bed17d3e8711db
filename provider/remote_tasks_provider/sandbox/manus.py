"""The emulated Manus account: its tasks, their order, and how a task looks on the wire.

Which behaviour is documented, observed or assumed stands in ``docs/sandbox.md``. HTTP is left to
``manus_api``. Lists stay sorted by creation and rendered tasks are kept, so that ten thousand of them are no
burden.
"""

from __future__ import annotations

import base64
import hashlib
import math
import secrets
import string
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from remote_tasks_provider.sandbox.messages import dump_json
from remote_tasks_provider.sandbox.progression import Script, Timeline

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from remote_tasks_provider.sandbox.clock import Clock

__all__ = ["ListQuery", "ManusTask", "ManusTasks", "OutputFile", "file_signature"]

DEFAULT_SCRIPT: Script = (("running", 5.0), ("completed", None))

_ALPHABET = string.ascii_letters + string.digits
_SOUND_WORDS = frozenset({"running", "pending", "completed"})
_MIME_TYPES = {"md": "text/markdown", "txt": "text/plain", "csv": "text/csv", "json": "application/json"}

_Key = tuple[int, int, str]


@dataclass(frozen=True)
class OutputFile:
    """A file that a task leaves behind when it completes."""

    name: str
    mime_type: str
    content: bytes

    @classmethod
    def parse(cls, raw: str | Mapping[str, str] | OutputFile) -> OutputFile:
        """Accept a bare name or ``{"name": ..., "content": ..., "mime_type": ...}``."""
        if isinstance(raw, OutputFile):
            return raw
        given = {"name": raw} if isinstance(raw, str) else dict(raw)
        name = given.get("name", "")
        if not name:
            raise ValueError("a file needs a name")
        mime_type = given.get("mime_type") or _MIME_TYPES.get(
            name.rpartition(".")[2], "application/octet-stream"
        )
        return cls(name, mime_type, given.get("content", f"Sandbox content of {name}\n").encode())


@dataclass(eq=False)
class ManusTask:
    """One task; ``created_at`` is in whole unix seconds, ``added_at`` in exact ones."""

    id: str
    number: int
    created_at: int
    added_at: float
    title: str
    prompt: str
    answer: str
    question: str
    error: str
    credit_usage: int
    project_id: str | None
    model: str
    metadata: Mapping[str, str]
    files: tuple[OutputFile, ...]
    extra: Mapping[str, Any]
    timeline: Timeline
    reads: int = 0
    last_read_at: float | None = None
    _rendered: tuple[tuple[object, ...], bytes] | None = field(default=None, repr=False)

    @property
    def key(self) -> _Key:
        """Return the place in the order by creation."""
        return self.created_at, self.number, self.id

    def updated_at(self, now: float) -> int:
        """Return when the status last changed, in whole unix seconds."""
        return int(max(self.timeline.since(now), self.created_at))

    def note_read(self, now: float) -> None:
        """Count that a client was shown this task."""
        self.reads += 1
        self.last_read_at = now
        self.timeline.note_read(now)

    def conversation(self, index: int, base_url: str, expires_in: float) -> list[dict[str, Any]]:
        """Return the messages up to timeline position ``index``, oldest first."""
        messages = [_message(self.id, 0, "user", [_text(self.prompt)])]
        for start, word in self.timeline.visited(index):
            number = len(messages)
            if word == "pending":
                messages.append(_message(self.id, number, "assistant", [_text(self.question)]))
            elif word == "completed":
                parts = [_text(self.answer)]
                parts += [_file(self.id, item, base_url, int(start + expires_in)) for item in self.files]
                messages.append(_message(self.id, number, "assistant", parts))
            elif messages[-1]["role"] == "assistant":
                messages.append(_message(self.id, number, "user", [_text("Go on.")]))
        return messages

    def wire(self, now: float, *, shown: int, base_url: str, expires_in: float) -> dict[str, Any]:
        """Return the task as the API shows it.

        :param shown: timeline position whose output is shown, which may lag behind the status
        """
        word = self.timeline.word(now)
        full = {
            "id": self.id,
            "object": "task",
            # proto3 JSON writes 64-bit integers as strings, whatever the reference says.
            "created_at": str(self.created_at),
            "updated_at": str(self.updated_at(now)),
            "status": word,
            "error": "" if word in _SOUND_WORDS else self.error,
            "model": self.model,
            "metadata": {
                "task_title": self.title,
                "task_url": f"{base_url}/manus/app/{quote(self.id, safe='')}",
            }
            | dict(self.metadata),
            "output": self.conversation(shown, base_url, expires_in),
            "credit_usage": self.credit_usage,
        }
        # proto3 JSON leaves out what is empty or zero.
        return {name: value for name, value in full.items() if value} | dict(self.extra)

    def rendered(self, now: float, *, lags: bool, base_url: str, expires_in: float) -> bytes:
        """Return the task as JSON, written anew only when it changed."""
        index = self.timeline.index(now)
        shown = max(index - 1, 0) if lags else index
        state = (self.timeline.version, index, shown, self.error, base_url, expires_in)
        if self._rendered is None or self._rendered[0] != state:
            wire = self.wire(now, shown=shown, base_url=base_url, expires_in=expires_in)
            self._rendered = state, dump_json(wire)
        return self._rendered[1]


@dataclass(frozen=True)
class ListQuery:
    """The filters of the task list, checked; see ``GET /v1/tasks``."""

    after: str | None = None
    limit: int = 100
    ascending: bool = False
    by_update: bool = False
    text: str = ""
    statuses: frozenset[str] = frozenset()
    created_after: int | None = None
    created_before: int | None = None
    project_id: str | None = None

    def admits(self, task: ManusTask, now: float) -> bool:
        """Whether the task passes every filter; both time bounds are exclusive."""
        if self.created_after is not None and task.created_at <= self.created_after:
            return False
        if self.created_before is not None and task.created_at >= self.created_before:
            return False
        if self.project_id is not None and task.project_id != self.project_id:
            return False
        if self.statuses and task.timeline.word(now) not in self.statuses:
            return False
        return (
            not self.text or self.text.casefold() in f"{task.title}\n{task.prompt}\n{task.answer}".casefold()
        )


class ManusTasks:
    """All tasks of the account; thread safe.

    :param clock: what time it is
    :param lock: shared with the rest of the sandbox
    """

    def __init__(self, clock: Clock, lock: threading.RLock) -> None:
        self._clock = clock
        self._lock = lock
        self._tasks: dict[str, ManusTask] = {}
        self._order: list[_Key] = []
        self._numbers = count()

    def add_task(
        self,
        task_id: str | None = None,
        script: Iterable[Any] = DEFAULT_SCRIPT,
        title: str | None = None,
        *,
        error: str | None = None,
        credit_usage: int | None = None,
        project_id: str | None = None,
        created_at: float | None = None,
        prompt: str | None = None,
        answer: str | None = None,
        question: str | None = None,
        files: Iterable[str | Mapping[str, str] | OutputFile] = (),
        model: str = "manus-1.6-agent",
        metadata: Mapping[str, str] | None = None,
        advance_after_reads: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Add a task to the account.

        :param task_id: its id; 22 letters and digits by default
        :param script: status words with seconds, counted from now; any word is allowed
        :param error: text shown while the status is none of running, pending, completed
        :param created_at: unix seconds; default now
        :param prompt: what the user asked
        :param answer: what the agent says when it completes
        :param question: what the agent asks while ``pending``
        :param files: names, or ``{"name", "content", "mime_type"}``, attached when it completes
        :param advance_after_reads: go by reads instead of by time
        :param extra: fields laid over the task on the wire, as they are
        :returns: the task's id
        :raises ValueError: for an id in use or a bad script
        """
        with self._lock:
            now = self._clock.now()
            chosen = _random_id() if task_id is None else task_id
            if not chosen or chosen in self._tasks:
                raise ValueError(f"the id {chosen!r} is empty or in use")
            created = now if created_at is None else float(created_at)
            timeline = Timeline(script, now=now, began_at=created, advance_after_reads=advance_after_reads)
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
                project_id=project_id,
                model=model,
                metadata=dict(metadata or {}),
                files=tuple(OutputFile.parse(item) for item in files),
                extra=dict(extra or {}),
                timeline=timeline,
            )
            insort(self._order, task.key)
            return chosen

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

    def delete_task(self, task_id: str) -> None:
        """Remove a task.

        :raises KeyError: when there is no such task
        """
        with self._lock:
            task = self._tasks.pop(task_id)
            del self._order[bisect_left(self._order, task.key)]

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
        """Remove all tasks."""
        with self._lock:
            self._tasks.clear()
            self._order.clear()

    def select(
        self, query: ListQuery, now: float, left_out: Callable[[ManusTask], bool]
    ) -> tuple[list[ManusTask], bool]:
        """Return one page and whether more follow; the caller holds the lock.

        :param left_out: tells which tasks the list must not show
        :raises KeyError: when ``query.after`` names no task
        """
        page: list[ManusTask] = []
        for task in self._in_order(query, now):
            if left_out(task) or not query.admits(task, now):
                continue
            if len(page) == query.limit:
                return page, True
            page.append(task)
        return page, False

    def _in_order(self, query: ListQuery, now: float) -> Iterator[ManusTask]:
        order = self._order
        if query.by_update:
            order = sorted((task.updated_at(now), task.number, task.id) for task in self._tasks.values())
        low, high = 0, len(order)
        if not query.by_update:
            # Only a short cut past tasks that ``admits`` would refuse one by one.
            if query.created_after is not None:
                low = bisect_right(order, (query.created_after, math.inf, ""))
            if query.created_before is not None:
                high = bisect_left(order, (query.created_before, -1, ""))
        if query.after is not None:
            last = self._tasks[query.after]
            place = bisect_left(
                order, (last.updated_at(now), last.number, last.id) if query.by_update else last.key
            )
            low, high = (max(low, place + 1), high) if query.ascending else (low, min(high, place))
        places = range(low, high) if query.ascending else range(high - 1, low - 1, -1)
        return (self._tasks[order[place][2]] for place in places)


def file_signature(task_id: str, name: str, expires: int) -> str:
    """Return the signature that opens an output file; it looks like the real thing and protects nothing."""
    return base64.urlsafe_b64encode(hashlib.sha512(f"{task_id}/{name}?{expires}".encode()).digest()).decode()


def _random_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(22))


def _message(task_id: str, number: int, role: str, content: list[dict[str, str]]) -> dict[str, Any]:
    digest = hashlib.sha256(f"{task_id} {number}".encode()).digest()
    message_id = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:22])
    return {"id": message_id, "status": "completed", "role": role, "type": "message", "content": content}


def _text(text: str) -> dict[str, str]:
    return {"type": "output_text", "text": text}


def _file(task_id: str, item: OutputFile, base_url: str, expires: int) -> dict[str, str]:
    policy = base64.urlsafe_b64encode(
        dump_json({"Statement": [{"Condition": {"Expires": expires}}]})
    ).decode()
    signature = quote(file_signature(task_id, item.name, expires))
    address = f"{base_url}/manus/files/{quote(task_id, safe='')}/{quote(item.name, safe='')}"
    signed = f"Expires={expires}&Policy={quote(policy)}&Signature={signature}&Key-Pair-Id=KSANDBOX"
    return {
        "type": "output_file",
        "fileUrl": f"{address}?{signed}",
        "fileName": item.name,
        "mimeType": item.mime_type,
    }
