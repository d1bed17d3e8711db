"""One task of the emulated Manus account: what happened to it, in the words of neither API version.

``wire`` writes the same history in the forms of both, so that a task made
through one version is the same task in the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from remote_tasks_sandbox.manus.files import OutputFile
from remote_tasks_sandbox.manus.questions import Question, parse_questions
from remote_tasks_sandbox.manus.schemas import fitting_value, zero_value
from remote_tasks_sandbox.manus.websites import Website
from remote_tasks_sandbox.progression import Script, check_seconds
from remote_tasks_sandbox.tasks import Task

__all__ = [
    "AFTER_ANSWER",
    "WAITING_WORDS",
    "Attachment",
    "Entry",
    "ManusTask",
    "Received",
    "as_list",
    "v1_word",
    "v2_word",
]

#: What a task does when it is spoken to and its script has nothing more.
AFTER_ANSWER: Script = (("running", 2.0), ("stopped", None))

WAITING_WORDS = frozenset({"pending", "waiting"})

#: Words of one version that the other has another word for. A word in neither table is the same in both.
_V1_WORDS = {"waiting": "pending", "stopped": "completed"}
_V2_WORDS = {"pending": "waiting", "completed": "stopped", "failed": "error"}

_EXTRACTION_FAILED = "Failed to extract structured output"


def v1_word(word: str) -> str:
    """Return a status word as v1 has it; failure stays ``failed`` or ``error``, as the script spells it."""
    return _V1_WORDS.get(word, word)


def v2_word(word: str) -> str:
    """Return a status word as v2 has it."""
    return _V2_WORDS.get(word, word)


@dataclass(frozen=True)
class Attachment:
    """A file that a client sent along with a message, by id, by address or as data."""

    name: str
    mime_type: str
    url: str | None = None


@dataclass(frozen=True)
class Received:
    """What a client sent to a task that was there already.

    :param kind: ``message`` or ``confirmation``
    :param version: ``v1`` or ``v2``
    :param at: sandbox time, unix seconds
    :param position: place in the timeline at which it came
    :param event_id: what a confirmation is for
    :param confirmed: whether it was used
    """

    kind: str
    version: str
    at: float
    position: int
    body: Mapping[str, Any]
    text: str = ""
    event_id: str | None = None
    input: Mapping[str, Any] | None = None
    confirmed: bool | None = None
    schema: Mapping[str, Any] | None = None
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One thing that happened.

    :param kind: ``user``, ``agent``, ``error``, ``status``, ``plan``, ``user_stop``, ``structured``, or
        ``raw`` for what only v2 tells, as a test wrote it into ``result``
    :param key: unique among the entries of the task
    :param at: unix seconds
    """

    kind: str
    key: str
    at: float
    text: str = ""
    word: str = ""
    question: Question | None = None
    event_id: str = ""
    is_progress: bool = False
    files: tuple[OutputFile, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    result: Mapping[str, Any] | None = None


@dataclass(eq=False, kw_only=True)
class ManusTask(Task):
    """One task; ``created_at`` is in whole unix seconds, ``added_at`` in exact ones.

    :param prompt: what the user asked
    :param answer: what the agent says when it finishes
    :param question: what the agent asks while it waits
    :param waiting: what it waits for: a type, ``{"type", "description", "schema", "event_id", "options",
        "multiple", "unconfirmed"}``, or a list of these; default ``messageAskUser`` with ``question``
    :param progress: what the agent says when it begins; makes v2 tell progress and result apart
    :param files: names, or ``{"name", "content", "mime_type", "size"}``, attached when it finishes
    :param structured: the structured result, ``{"success", "value", "error"}``; what is left out is made up
    :param website: whether the agent builds a website, ready when it first finishes: ``True``, or what
        becomes of each of its publications, words of ``publish_status`` with seconds
    :param output_lag: seconds by which answer, files and structured result come after the end
    :param background_jobs: seconds for which background jobs run after the end; ``None`` leaves the field
        out, as older servers do
    :param stopped_by_user: the end is that of a user who pressed stop: an event says so, and no answer comes
    :param hidden_for: seconds for which the API does not know the task
    :param credits_per_second: credits used for each second of running, on top of ``credit_usage``
    :param extra_events: v2 events at the start, as they are; ``id`` and ``timestamp`` are made up
    """

    title: str = ""
    prompt: str = ""
    answer: str = ""
    question: str = ""
    waiting: Any = None
    progress: tuple[str, ...] = ()
    files: tuple[Any, ...] = ()
    structured: Mapping[str, Any] | None = None
    website: Any = None
    output_lag: float = 0.0
    background_jobs: float | None = None
    stopped_by_user: bool = False
    hidden_for: float = 0.0
    credit_usage: int = 0
    credits_per_second: float = 0.0
    project_id: str | None = None
    model: str = "manus-1.6-agent"
    metadata: Mapping[str, str] = field(default_factory=dict)
    extra_events: tuple[Mapping[str, Any], ...] = ()
    # What a request that created it said.
    schema: Mapping[str, Any] | None = field(default=None, init=False)
    attachments: tuple[Attachment, ...] = field(default=(), init=False)
    share_visibility: str = field(default="private", init=False)
    api_key_name: str | None = field(default=None, init=False)
    locale: str = field(default="", init=False)
    # What came later.
    received: list[Received] = field(default_factory=list, init=False)
    cut_short: dict[int, bool] = field(default_factory=dict, init=False)
    #: The last position in the timeline that webhooks were told of; ``None`` when not even its creation was.
    told: int | None = field(default=None, init=False)
    #: The last form it was sent in, with what that form depended on; kept by ``wire``.
    rendered: tuple[tuple[object, ...], bytes] | None = field(default=None, repr=False, init=False)

    def __post_init__(self) -> None:
        self.questions = parse_questions(self.waiting)
        self.website = Website(self.website) if self.website else None
        for name in ("output_lag", "hidden_for", "background_jobs", "credits_per_second"):
            check_seconds(name, getattr(self, name) or 0.0)
        self.files = tuple(OutputFile.parse(item) for item in as_list("files", self.files))
        self.progress = as_list("progress", self.progress)
        self.extra_events = as_list("extra_events", self.extra_events)
        title, prompt = self.title, self.prompt
        self.title = title or prompt or f"Sandbox task {self.id}"
        self.prompt = prompt or title or "Do the work."
        self.answer = self.answer or "Done."
        self.question = self.question or "How shall I go on?"
        self.error = self.error or "The agent could not finish the task."

    @property
    def agent_profile(self) -> str:
        """Return the profile of the latest turn."""
        return self.model.removesuffix("-agent")

    def updated_at(self, now: float) -> int:
        """Return when the status last changed, in whole unix seconds."""
        return int(max(self.timeline.since(now), self.created_at))

    def is_hidden(self, now: float) -> bool:
        """Whether the service does not know the task yet, though it was created."""
        return now < self.added_at + self.hidden_for

    def works_in_background(self, now: float) -> bool:
        """Whether jobs still run though the agent has stopped."""
        stopped = v2_word(self.timeline.word(now)) == "stopped"
        return stopped and now < self.timeline.since(now) + (self.background_jobs or 0.0)

    def credits(self, now: float) -> int:
        """Return the credits used so far: a fixed number, and some for each second of running."""
        if not self.credits_per_second:
            return self.credit_usage
        visited = self.timeline.visited(self.timeline.index(now))
        ends = [start for start, _ in visited[1:]] + [now]
        seconds = sum(
            end - start for (start, word), end in zip(visited, ends, strict=True) if word == "running"
        )
        return self.credit_usage + int(self.credits_per_second * seconds)

    def describe(self, now: float) -> dict[str, Any]:
        """Return the task as the control plane shows it."""
        waits = self.waits_for(now)
        asks = None if waits is None else waits[1].type
        return super().describe(now) | {"title": self.title, "asks": asks}

    def waits_for(self, now: float) -> tuple[str, Question] | None:
        """Return the event that waits for an answer and what it asks, or ``None``."""
        index = self.timeline.index(now)
        words = [word for _, word in self.timeline.visited(index)]
        if words[-1] not in WAITING_WORDS:
            return None
        return self._asked(index, sum(word in WAITING_WORDS for word in words))

    def take(self, kind: str, version: str, now: float, body: Mapping[str, Any], **fields: Any) -> None:
        """Keep what a client sent, and continue if it was waited for.

        A message answers a question in words and wakes a finished task; one that comes while the agent
        works, or while an action waits for its confirmation, changes nothing.

        :param fields: further fields of :class:`Received`
        """
        position = self.timeline.index(now)
        received = Received(kind=kind, version=version, at=now, position=position, body=body, **fields)
        asked, word = self.waits_for(now), v2_word(self.timeline.word(now))
        self.received.append(received)
        self.timeline.version += 1
        if received.kind == "confirmation":
            if received.confirmed:
                self.timeline.go_on(AFTER_ANSWER, now)
        elif asked is not None and asked[1].in_words:
            self.timeline.go_on(AFTER_ANSWER, now)
        elif word in ("stopped", "error"):
            self._settle_stops(now)
            self.timeline.run(AFTER_ANSWER, now)

    def stop(self, now: float, *, by_user: bool) -> None:
        """End the task now, without an answer; a finished task stays as it is."""
        if v2_word(self.timeline.word(now)) in ("stopped", "error"):
            return
        self._settle_stops(now)
        self.timeline.run([("stopped", None)], now)
        self.cut_short[self.timeline.index(now)] = by_user

    def _settle_stops(self, now: float) -> None:
        # "stopped_by_user" means the end that its script leads to, not those of later turns.
        if self.stopped_by_user:
            self.cut_short |= {
                position: True
                for position, (_, word) in enumerate(self.timeline.visited(self.timeline.index(now)))
                if v2_word(word) == "stopped" and position not in self.cut_short
            }
            self.stopped_by_user = False

    def history(self, index: int, now: float) -> list[Entry]:
        """Return what happened up to timeline position ``index``, oldest first.

        :param now: what comes later than this is left out
        """
        past = (entry for entry in self._entries(index) if entry.at <= now)
        return sorted(past, key=lambda entry: entry.at)

    def _entries(self, index: int) -> Iterator[Entry]:
        visited = self.timeline.visited(index)
        yield Entry("user", "start", visited[0][0], self.prompt, attachments=self.attachments)
        for number, event in enumerate(self.extra_events):
            yield Entry("raw", f"raw-{number}", visited[0][0], result=event)
        # A result that a test set up is due once, also where no schema asks for it.
        armed = {} if self.schema is None and self.structured is not None else self.schema
        asked, previous = 0, ""
        for position, (start, raw) in enumerate(visited):
            word = v2_word(raw)
            begins_turn = previous in ("waiting", "stopped") and word not in ("waiting", "stopped")
            # A test moved the task on by hand: the user must have said something.
            if begins_turn and not any(one.position == position - 1 for one in self.received):
                yield Entry("user", f"nudge-{position}", start, "Go on.")
            if word == "waiting":
                asked += 1
                yield from self._waiting(position, start, raw, asked)
            elif word == "stopped":
                yield from self._stopped(position, start, raw, armed)
                armed = None if position not in self.cut_short else armed
            else:
                yield from self._working(position, start, raw)
            for number, one in enumerate(self.received):
                if one.position == position and one.kind == "message":
                    armed = one.schema or armed
                    key = f"message-{number}"
                    yield Entry("user", key, one.at, one.text, attachments=one.attachments)
            previous = word

    def _asked(self, position: int, number: int) -> tuple[str, Question]:
        question = self.questions[min(number, len(self.questions)) - 1] if self.questions else Question()
        return question.event_id or f"evt_{self.number}_{position}", question

    def _waiting(self, position: int, start: float, raw: str, number: int) -> Iterator[Entry]:
        event_id, question = self._asked(position, number)
        text = question.description or (
            self.question if question.in_words else f"May I continue with {question.type}?"
        )
        yield Entry("agent", f"ask-{position}", start, text, question=question)
        yield Entry("status", f"status-{position}", start, text, raw, question=question, event_id=event_id)

    def _stopped(
        self, position: int, start: float, raw: str, schema: Mapping[str, Any] | None
    ) -> Iterator[Entry]:
        status = Entry("status", f"status-{position}", start, word=raw)
        by_user = self.cut_short.get(position, self.stopped_by_user or None)
        if by_user is not None:
            if by_user:
                yield Entry("user_stop", f"user_stop-{position}", start)
            yield status
            return
        at = start + self.output_lag
        yield Entry("agent", f"answer-{position}", at, self.answer, files=self.files)
        yield status
        result = self._result(schema)
        if result is not None:
            yield Entry("structured", f"structured-{position}", at, result=result)

    def _working(self, position: int, start: float, raw: str) -> Iterator[Entry]:
        if raw in ("failed", "error"):
            yield Entry("error", f"error-{position}", start, self.error)
        yield Entry("status", f"status-{position}", start, word=raw)
        if position == 0:
            yield Entry("plan", "plan", start)
            for number, text in enumerate(self.progress):
                yield Entry("agent", f"progress-{number}", start, text, is_progress=True)

    def _result(self, schema: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if schema is None:
            return None
        given = dict(self.structured or {})
        success = given.get("success", True)
        made = fitting_value if success else zero_value
        error = None if success else _EXTRACTION_FAILED
        return {"success": success, "value": made(schema) if schema else {}, "error": error} | given


def as_list(name: str, given: Any) -> tuple[Any, ...]:
    """Return the items of an option that takes a list; a text or an object alone is a list of one."""
    if isinstance(given, str | Mapping):
        return (given,)
    if isinstance(given, Iterable):
        return tuple(given)
    raise ValueError(f"{name} must be a list")
