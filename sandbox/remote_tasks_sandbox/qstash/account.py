"""The emulated QStash account as a test sees it: v1 tasks, messages, URL groups, schedules, what was sent.

HTTP is left to ``router``, ``v1_api`` and ``v2_*``, what becomes of messages to ``engine``. All methods are
thread safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from remote_tasks_sandbox.calls import Refused
from remote_tasks_sandbox.delivery import Response
from remote_tasks_sandbox.progression import Script, parse_script
from remote_tasks_sandbox.qstash.engine import QStashEngine
from remote_tasks_sandbox.qstash.message import (
    Delivery,
    DlqMessage,
    Message,
    Published,
    milliseconds,
)
from remote_tasks_sandbox.qstash.options import PLANS, PublishOptions, read_again, read_options
from remote_tasks_sandbox.qstash.parsing import check_url
from remote_tasks_sandbox.qstash.schedules import Schedules
from remote_tasks_sandbox.qstash.settings import QStashSettings
from remote_tasks_sandbox.qstash.tasks import QStashTasks
from remote_tasks_sandbox.qstash.workflow_runs import WorkflowRuns
from remote_tasks_sandbox.tasks import random_id
from remote_tasks_sandbox.vendor import Context, ControlCall, Handler

__all__ = ["Accepted", "QStashAccount", "Topic"]

DEFAULT_MESSAGE_SCRIPT: Script = (("CREATED", 0.0), ("ACTIVE", 2.0), ("DELIVERED", None))

_WINDOW_SECONDS = 600.0
_DAY = 86400

#: The id of a message, where it goes, and whether it was there before.
Accepted = tuple[str, str, bool]


class Topic:
    """A URL group: its endpoints, address to name, in their order."""

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.created_at = self.updated_at = now
        self.endpoints: dict[str, str | None] = {}

    def wire(self) -> dict[str, Any]:
        """Return the group with its facts."""
        endpoints = [
            {"url": url} if name is None else {"name": name, "url": url}
            for url, name in self.endpoints.items()
        ]
        times = {"createdAt": milliseconds(self.created_at), "updatedAt": milliseconds(self.updated_at)}
        return {"name": self.name, **times, "endpoints": endpoints}


class QStashAccount(QStashTasks):
    """Everything of the account."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings: QStashSettings = context.settings
        self.engine = QStashEngine(context)
        self.schedules = Schedules(self.engine, self._send)
        self.workflows = WorkflowRuns(context)
        self.topics: dict[str, Topic] = {}
        #: Accepted requests, oldest first, duplicates included.
        self.published: list[Published] = []
        #: Bulk cancellations, oldest first: their filters (none: everything) and how many messages they hit.
        self.bulk_cancels: list[dict[str, Any]] = []
        self._known: dict[tuple[str, str], tuple[str, float]] = {}
        self._today = (0, 0)

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """Hold the lock, and do what is due before and after."""
        with self._lock:
            self.engine.settle()
            yield
            self.engine.settle()

    @property
    def messages(self) -> list[Message]:
        """Return all messages as they are now, callbacks included, oldest first."""
        with self._settled():
            return list(self.engine.messages.values())

    @property
    def deliveries(self) -> list[Delivery]:
        """Return all attempts that were answered, oldest first."""
        with self._settled():
            return list(self.engine.deliveries)

    @property
    def dlq_messages(self) -> list[DlqMessage]:
        """Return what is in the dead letter queue, oldest first."""
        with self._settled():
            since = milliseconds(self._clock.now() - self._settings.qstash_dlq_retention)
            return [
                dlq_message for dlq_message in self.engine.dlq_messages.values() if dlq_message.at_ms >= since
            ]

    def get_message(self, message_id: str) -> Message | None:
        """Return a message as it is now, finished or not."""
        with self._settled():
            return self.engine.messages.get(message_id)

    def publish(
        self,
        destination: str,
        body: str | bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        queue: str | None = None,
    ) -> list[str]:
        """Publish as a client would.

        :param destination: a URL, or the name of a URL group
        :param headers: ``Upstash-*`` and others
        :param queue: the queue it goes through
        :returns: the ids of the messages: one, or one for each member of a URL group
        """
        lower = {name.lower(): value for name, value in (headers or {}).items()}
        try:
            accepted = self.submit(destination, _raw(body), lower, queue=queue, via="test")
        except Refused as refused:
            raise ValueError(refused.message) from None
        return [message_id for message_id, _, _ in accepted]

    def add_message(
        self,
        message_id: str | None = None,
        script: Iterable[Any] = DEFAULT_MESSAGE_SCRIPT,
        *,
        url: str = "https://example.com/hook",
        labels: Iterable[str] = (),
        response_status: int = 500,
        response_body: str | bytes = b"",
        error: str | None = None,
        body: str | bytes = b"",
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> str:
        """Add a message that follows a script instead of being delivered.

        :param message_id: its id; ``msg_`` and 63 letters and digits by default
        :param script: states with seconds, counted from now; each is an entry of the log, any word is allowed
        :param response_status: what failed attempts were answered, in ``ERROR`` entries and the DLQ message
        :param error: why they failed; default ``HTTP status`` and the number
        :param headers: those passed on to the destination
        :param options: ``method``, ``max_retries``, ``queue``, ``topic``, ``schedule_id``
        """
        steps = _message_script(script)
        with self._settled():
            now = self._clock.now()
            chosen = random_id(63, "msg_") if message_id is None else message_id
            if not chosen or chosen in self.engine.messages:
                raise ValueError(f"the message id {chosen!r} is empty or in use")
            lower = {name.lower(): value for name, value in (headers or {}).items()}
            published = PublishOptions(url, body=_raw(body), headers=lower, labels=tuple(labels), **options)
            message = Message(chosen, published, now, now)
            message.scripted_response = Response(response_status, _raw(response_body), error=error or "")
            self.engine.add_scripted(message, steps, now)
            return chosen

    def set_message_script(self, message_id: str, script: Iterable[Any]) -> None:
        """Let a message follow a new script from now on."""
        steps = _message_script(script)
        with self._settled():
            self.engine.add_scripted(self.engine.messages[message_id], steps, self._clock.now())

    def set_message_state(self, message_id: str, state: str) -> None:
        """Give a message a state from now on, for ever."""
        self.set_message_script(message_id, [(state, None)])

    def plan_delivery(self, pattern: str, outcomes: Any = (200,), *, latency: float = 0.0) -> None:
        """Decide what destinations answer; the newest plan that fits counts.

        :param pattern: shell pattern of the whole address; ``*`` also spans slashes
        :param outcomes: for each attempt of a message a status, ``"error"``, ``"timeout"``, or ``{"status",
            "body", "headers", "latency"}``; the last one goes for all further attempts
        :param latency: sandbox seconds that an attempt takes
        """
        with self._lock:
            self.engine.plans.add(pattern, outcomes, latency=latency)

    def submit(
        self, destination: str, body: bytes, headers: Mapping[str, str], *, queue: str | None, via: str
    ) -> list[Accepted]:
        """Take a message in, once for each destination, unless it is a duplicate.

        :param headers: lower-case names, the token left out
        """
        with self._settled():
            now = self._clock.now()
            targets = self.targets(destination)
            limits = PLANS[self._settings.qstash_plan]
            options = read_options(targets[0].url, headers, body, limits, now, queue=queue)
            self._count_today(now, len(targets))
            taken = self.workflows.taken(headers)
            if taken is not None:
                accepted = [(taken.message_id, options.url, True)]
            else:
                accepted = [self._accept_once(_to(options, target), now) for target in targets]
                message_id, _, is_known = accepted[0]
                if not is_known:
                    self.workflows.begin_published(options, headers, message_id)
            self.published.append(
                Published(
                    *(destination, body, dict(headers), tuple(one[0] for one in accepted)),
                    *(all(one[2] for one in accepted), queue, via, now),
                )
            )
            return accepted

    def targets(self, destination: str) -> list[PublishOptions]:
        """Return where a destination leads: itself, or the members of a URL group."""
        topic = self.topics.get(destination)
        if topic is None:
            return [PublishOptions(check_url("destination", destination))]
        return [PublishOptions(url, topic=topic.name, endpoint=name) for url, name in topic.endpoints.items()]

    def retry(self, dlq_message: DlqMessage, overrides: dict[str, str]) -> Message:
        """Send the message of a DLQ message again, as a new one; the DLQ message leaves the queue.

        :param overrides: ``Upstash-*`` headers that override those it was published with
        """
        now = self._clock.now()
        old = dlq_message.message.options
        # Neither its delay nor its deduplication id is meant for a second life.
        options = replace(old, deduplication_id=None, delay=0, not_before=None)
        if overrides:
            limits = PLANS[self._settings.qstash_plan]
            changed = read_again(old, overrides, limits, now)
            options = replace(_to(changed, old), schedule_id=old.schedule_id)
        del self.engine.dlq_messages[dlq_message.id]
        return self.engine.accept(options, now)

    def clear(self) -> None:
        """Remove everything."""
        with self._lock:
            super().clear()
            self.engine.clear()
            self.schedules.clear()
            self.workflows.clear()
            for kept in (self.topics, self.published, self.bulk_cancels, self._known):
                kept.clear()
            self._today = (0, 0)

    def _accept_once(self, options: PublishOptions, now: float) -> Accepted:
        key = options.deduplication_key()
        if key is not None and key in self._known:
            message_id, since = self._known[key]
            if now < since + _WINDOW_SECONDS:
                return message_id, options.url, True
        message = self.engine.accept(options, now)
        if key is not None:
            self._known[key] = (message.id, now)
        return message.id, options.url, False

    def _send(self, destination: str, options: PublishOptions, at: float) -> list[Message]:
        """Send the message of a schedule."""
        try:
            targets = self.targets(destination)
        except Refused:
            return []  # Its URL group is gone.
        return [self.engine.accept(_to(options, target), at) for target in targets]

    def _count_today(self, now: float, messages: int) -> None:
        limit = self._settings.qstash_daily_limit
        day = int(now // _DAY)
        sent = self._today[1] if self._today[0] == day else 0
        if limit is not None and sent + messages > limit:
            reset = str((day + 1) * _DAY)
            raise Refused(
                429,
                "daily message limit exceeded",
                {"RateLimit-Limit": str(limit), "RateLimit-Remaining": "0", "RateLimit-Reset": reset},
            )
        self._today = (day, sent + messages)

    def control(self) -> dict[str, Handler]:
        """Return the routes of the control plane: tasks, messages, runs, plans, and what was sent."""
        return (
            super().control()
            | self.workflows.control()
            | {
                "GET messages": lambda _: {"messages": [one.describe() for one in self.messages]},
                "POST messages": lambda call: (
                    201,
                    {"ids": [self.add_message(**one) for one in call.objects()]},
                ),
                "GET messages/": self._show_message_by_control,
                "POST messages/": self._change_message_by_control,
                "POST publish": lambda call: (201, {"ids": [self.publish(**one) for one in call.objects()]}),
                "GET plans": lambda _: {"plans": [plan.describe() for plan in self.engine.plans.all()]},
                "POST plans": self._plan_by_control,
                "GET published": lambda _: {"published": [_plain(one) for one in self.published]},
                "GET deliveries": lambda _: {"deliveries": [_plain(one) for one in self.deliveries]},
                "GET bulk-cancels": lambda _: {"bulk-cancels": self.bulk_cancels},
            }
        )

    def _show_message_by_control(self, call: ControlCall) -> Any:
        message = self.get_message(call.id)
        if message is None:
            raise KeyError(call.id)
        return message.describe()

    def _change_message_by_control(self, call: ControlCall) -> Any:
        body = call.object()
        if len(body) != 1 or not body.keys() <= {"state", "script"}:
            raise ValueError('a message is changed with {"state": word} or {"script": steps}')
        self.set_message_script(call.id, body["script"] if "script" in body else [(body["state"], None)])
        return self._show_message_by_control(call)

    def _plan_by_control(self, call: ControlCall) -> Any:
        for item in call.objects():
            self.plan_delivery(**item)
        return 201, {"plans": [plan.describe() for plan in self.engine.plans.all()]}


def _plain(record: Published | Delivery) -> dict[str, Any]:
    """Return a record as JSON-ready data; bytes that are no text are shown as far as they are."""
    return {**asdict(record), "body": record.body.decode(errors="replace")}


def _to(options: PublishOptions, target: PublishOptions) -> PublishOptions:
    return replace(options, url=target.url, topic=target.topic, endpoint=target.endpoint)


def _raw(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _message_script(raw: Iterable[Any]) -> tuple[tuple[str, float | None], ...]:
    steps = parse_script(raw)
    if any(seconds is None for _, seconds in steps[:-1]):
        raise ValueError("a step that lasts for ever (null) must be the last one")
    return steps
