"""Publishing once, however many attempts Airflow makes: a deduplication id for QStash, a record for Airflow.

QStash remembers a deduplication id for ten minutes
(https://upstash.com/docs/qstash/features/deduplication), and only the id: not the destination, not the body.
So the id is made of who asks (:class:`~remote_tasks_provider.bases.origin.Origin`), of the destination, and
of the place in a batch. The body is left out: a retry whose template renders another time of day is a repeat.

From Airflow 3.3 on a record in the task's state store has what each message was asked for with, before the
request, and what became of it, after it. So a later attempt re-attaches to what was accepted, repeats a lost
request only while QStash would recognise it, and leaves the decision to a person where nothing tells.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import repeat
from typing import TYPE_CHECKING, Any, Protocol

from remote_tasks_provider.bases.compat import first_try_number
from remote_tasks_provider.bases.origin import Origin, is_first_attempt
from remote_tasks_provider.bases.records import TaskRecord
from remote_tasks_provider.core.clocks import rounds
from remote_tasks_provider.core.errors import OrphanedStartError, RemoteTaskError
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.submission import may_have_submitted
from remote_tasks_provider.qstash.api import v2
from remote_tasks_provider.qstash.api.options import PublishOptions
from remote_tasks_provider.qstash.api.v2_models import PublishedMessage
from remote_tasks_provider.qstash.models import public_url

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

__all__ = ["CLOCK_SKEW", "Order", "Part", "Publisher", "deduplication_id", "recall"]

CLOCK_SKEW = 60.0
"""Seconds by which this clock and QStash's may differ."""
_RECORD = "qstash_messages"
_PAGE = 100
# QStash remembers an id for ten minutes. A request may begin up to a minute before, and end shortly before.
_WINDOW = 540.0
_LAST_REPEAT = 590.0
# QStash keeps its logs for three days at least.
_LOGS_KEPT = 2.5 * 24 * 60 * 60
_BETWEEN_SEARCHES = 15.0


class Send(Protocol):
    """Publishes with one request; stops repeating it at a moment of the monotonic clock."""

    def __call__(
        self, some: Sequence[PublishOptions], /, *, give_up_at: float | None
    ) -> Sequence[Sequence[PublishedMessage]]:
        """Return the messages of each."""


def deduplication_id(origin: Origin, destination: str, queue: str | None = None, part: str = "") -> str:
    """Return an id that is the same on every attempt of a task instance, and another after it was cleared.

    :param destination: the URL or the URL group.
    :param part: distinguishes several messages of one task.
    """
    return f"af-{origin.digest(str(origin.max_tries), destination, queue or '', part)[:40]}"


def recall(task: BaseOperator, context: Context) -> list[PublishedMessage]:
    """Return the messages that an earlier attempt has published, as older versions have recorded them."""
    saved = TaskRecord(context, _RECORD, task.log).read()
    if not isinstance(saved, dict) or saved.get("first_try") != first_try_number(context, task):
        return []
    task.log.info("An earlier attempt has published the messages; re-attaching to them.")
    return [PublishedMessage(one["message_id"], True, one["url"]) for one in saved["messages"]]


@dataclass(frozen=True, slots=True)
class Order:
    """A message that is asked for, or one for each URL of a group.

    :param options: all but the default deduplication id.
    :param part: its place in a batch, if it is to have the default id; ``None`` for no such id.
    """

    options: PublishOptions
    part: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """What an order was published with, and what became of it; plain JSON values.

    :param target: a hash of the destination and the queue.
    :param body: a hash of the body.
    :param content: a hash of all that QStash compares where it deduplicates by content.
    :param key: the deduplication id.
    :param is_keyed: whether QStash would recognise a repeat: by that id, or by the content.
    :param sent_at: when the first request was about to be sent whose outcome is not known; Unix seconds.
    :param messages: those that were accepted: ``message_id``, ``url``, and whether they are ``own``.
    :param error: why QStash refused it, or a message of it.
    """

    target: str
    body: str
    key: str | None
    is_keyed: bool
    content: str | None = None
    sent_at: float | None = None
    messages: tuple[Mapping[str, Any], ...] = ()
    error: str | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether all its messages were accepted."""
        return bool(self.messages) and self.error is None

    @property
    def is_lost(self) -> bool:
        """Whether a request was sent and nothing is known of it."""
        return self.sent_at is not None and not self.messages and self.error is None

    def is_recognised(self, now: float) -> bool:
        """Whether QStash recognises a repeat of it now."""
        return self.is_keyed and self.sent_at is not None and now - self.sent_at < _WINDOW

    def recalled(self) -> list[PublishedMessage]:
        """Return the messages, for an attempt that did not publish them itself."""
        return [PublishedMessage(one["message_id"], True, one["url"]) for one in self.messages]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Part:
        """Return the part that :func:`dataclasses.asdict` wrote."""
        return cls(**{**data, "messages": tuple(data["messages"])})


class Publisher:
    """Publishes what one task asks for, and remembers it for later attempts.

    :param grace: seconds for which the logs may have no entry of a message.
    """

    def __init__(self, task: BaseOperator, context: Context, client: Client, *, grace: float = 300.0) -> None:
        self._log = task.log
        self._client = client
        self._grace = grace
        self._origin = Origin.of(context)
        self._record = TaskRecord(context, _RECORD, task.log)
        # Without a record, any attempt but the first may find what an earlier one has sent.
        self._may_repeat = not (self._record.is_kept or is_first_attempt(task, context))
        self._is_retry = False
        self._parts: list[Part] = []

    @property
    def are_own(self) -> bool:
        """Whether this task instance has published all the messages itself, so that it may cancel them."""
        return all(one["own"] for part in self._parts for one in part.messages)

    def publish(self, orders: Sequence[Order], send: Send) -> list[list[PublishedMessage]]:
        """Return the messages of each order: those of an earlier attempt, or new ones.

        :param send: publishes orders with one request.
        :raises OrphanedStartError: when it is not known whether an earlier request published something.
        """
        wanted = [self._part(order) for order in orders]
        self._parts = self._planned(wanted)
        found = [part.recalled() if part.is_accepted else [] for part in self._parts]
        open_ones = [number for number, part in enumerate(self._parts) if not part.is_accepted]
        if len(open_ones) < len(orders):
            self._log.info(
                "%d of %d were published before; re-attaching.", len(orders) - len(open_ones), len(orders)
            )
        if self._is_retry:
            self._judge({number: orders[number] for number in open_ones if self._parts[number].is_lost})
        if open_ones:
            answers = self._send([orders[number] for number in open_ones], open_ones, send)
            for number, messages in zip(open_ones, answers, strict=True):
                found[number] = list(messages)
        return found

    # ----------------------------------------------------------------------------------- what is asked for

    def _part(self, order: Order) -> Part:
        options = order.options
        key = options.deduplication_id or None
        if order.part is not None:
            key = deduplication_id(self._origin, options.target, options.queue, order.part)
        content = None
        if options.content_based_deduplication:
            headers = (text for header in options.sent_headers for text in header)
            content = _hash(options.target, options.content, *headers)
        return Part(
            _hash(options.target, options.queue or ""),
            _hash(options.content),
            key,
            is_keyed=bool(key or content),
            content=content,
        )

    def _planned(self, wanted: Sequence[Part]) -> list[Part]:
        """Return the parts as earlier attempts have left them."""
        saved, self._is_retry = self._read()
        if not self._is_retry and all(part.is_accepted for part in saved):
            # A user has cleared a task that had published all: all are wanted once more.
            return list(wanted)
        now = time.time()
        planned = [
            _resumed(part, saved[place] if place is not None else None, now, is_retry=self._is_retry)
            for part, place in zip(wanted, _matched(wanted, saved), strict=True)
        ]
        self._warn(wanted, planned, saved)
        return planned

    def _warn(self, wanted: Sequence[Part], planned: Sequence[Part], saved: Sequence[Part]) -> None:
        if any(new.body != old.body for new, old in zip(wanted, planned, strict=True)):
            self._log.warning("A body is not the one that an earlier attempt has sent. It is not sent again.")
        ids = {one["message_id"] for part in planned for one in part.messages}
        others = [
            one["message_id"] for part in saved for one in part.messages if one["message_id"] not in ids
        ]
        if others:
            self._log.warning(
                "An earlier attempt has published messages to other destinations: %s.", ", ".join(others[:20])
            )

    # ----------------------------------------------------------------------------------------- the request

    def _send(self, orders: Sequence[Order], numbers: Sequence[int], send: Send) -> Any:
        before = [self._parts[number] for number in numbers]
        now = time.time()
        for number, part in zip(numbers, before, strict=True):
            self._parts[number] = replace(part, sent_at=part.sent_at or now, messages=(), error=None)
        self._keep(self._record.intend)
        taken = self._client.taken
        first = min((part.sent_at or now for part in before if part.is_keyed), default=now)
        give_up_at = time.monotonic() + first + _LAST_REPEAT - now
        keyed = [
            order.options if order.part is None else order.options.keyed(part.key or "")
            for order, part in zip(orders, before, strict=True)
        ]
        try:
            answers = send(keyed, give_up_at=give_up_at)
        except RemoteTaskError as error:
            if not may_have_submitted(error):
                for number, part in zip(numbers, before, strict=True):
                    self._parts[number] = part
                self._keep(self._record.note)
            raise
        is_repeat = self._may_repeat or self._client.taken > taken + 1
        for number, order, part, messages in zip(numbers, orders, before, answers, strict=True):
            may_be_own = order.part is not None and (is_repeat or part.sent_at is not None)
            self._parts[number] = self._answered(self._parts[number], order, messages, may_be_own=may_be_own)
        self._keep(self._record.note)
        return answers

    def _answered(
        self, part: Part, order: Order, messages: Sequence[PublishedMessage], *, may_be_own: bool
    ) -> Part:
        accepted = [one for one in messages if one.message_id]
        strange = [one.message_id for one in accepted if one.deduplicated and not may_be_own]
        if strange and order.part is not None:
            self._log.warning(
                "QStash had message %s before this task asked for it: another Airflow with the same "
                "deployment_id may have sent it. This task sent nothing, and a kill does not cancel it. Set "
                "[remote_tasks] deployment_id.",
                ", ".join(strange),
            )
        errors = [one.error for one in messages if one.error and one.error != v2.UNREADABLE]
        return replace(
            part,
            messages=tuple(
                {
                    "message_id": one.message_id,
                    "url": public_url(one.url),
                    "own": may_be_own or not one.deduplicated,
                }
                for one in accepted
            ),
            error="; ".join(errors) or None,
        )

    # ---------------------------------------------------------------------------------------- lost requests

    def _would_be_recognised(self, order: Order, lost: Part, now: float) -> bool:
        """Whether QStash would recognise what is asked for now as a repeat of a lost request."""
        asked = self._part(order)
        is_same = order.part is not None or (asked.key, asked.content) == (lost.key, lost.content)
        return lost.is_recognised(now) and is_same

    def _judge(self, lost: Mapping[int, Order]) -> None:
        """Let those that QStash would not recognise be sent again only if the logs show no such message."""
        now = time.time()
        blind = {n: one for n, one in lost.items() if not self._would_be_recognised(one, self._parts[n], now)}
        if not blind:
            return
        moments = [self._parts[number].sent_at or now for number in blind]
        first, last = min(moments), max(moments)
        created = v2.list_created(first - CLOCK_SKEW, last + self._client.longest_send + CLOCK_SKEW)
        targets = {public_url(order.options.target) for order in blind.values()}
        for _ in rounds(last + self._grace, repeat(_BETWEEN_SEARCHES), time):
            found = {
                entry.message_id
                for entry in self._client.items(created)
                if public_url(entry.url) in targets or entry.url_group in targets
            }
            if found or now - first > _LOGS_KEPT:
                raise OrphanedStartError(_unknown(targets, found, first))
        self._log.info("QStash's logs have no message of the lost request: publishing.")
        for number in blind:
            self._parts[number] = replace(self._parts[number], sent_at=None)

    # ------------------------------------------------------------------------------------------ the record

    def _read(self) -> tuple[list[Part], bool]:
        """Return the parts of the last attempt, and whether no user has cleared the task since."""
        saved: Any = self._record.read()
        if not isinstance(saved, dict) or "parts" not in saved:
            return [], False
        pages = [saved, *map(self._record.read, range(1, saved["pages"]))]
        parts = [Part.from_json(one) for page in pages for one in page["parts"]]
        return parts, saved["max_tries"] == self._origin.max_tries

    def _keep(self, keep: Callable[[Any, int | None], None]) -> None:
        """Keep the parts, a page a value.

        :param keep: how: as an intent or as a note.
        """
        # The store takes JSON's own types only.
        parts = [{**asdict(part), "messages": list(part.messages)} for part in self._parts]
        pages = [parts[start : start + _PAGE] for start in range(0, len(parts), _PAGE)]
        for number, page in enumerate(pages[1:], 1):
            keep({"parts": page}, number)
        keep({"max_tries": self._origin.max_tries, "parts": pages[0], "pages": len(pages)}, None)


def _resumed(part: Part, saved: Part | None, now: float, *, is_retry: bool) -> Part:
    """Return an order as an earlier attempt has left it."""
    if saved is None:
        return part
    if is_retry or saved.is_accepted:
        return saved
    # A user has cleared the task, and so has judged; but a repeat that QStash recognises harms nobody.
    return replace(saved, error=None) if saved.is_recognised(now) else part


def _matched(wanted: Sequence[Part], saved: Sequence[Part]) -> list[int | None]:
    """Return the place in ``saved`` of each order that is asked for, as far as it is there.

    An order is the same if it has the same destination and body, wherever it is now, or the same destination
    at the same place.
    """
    free = set(range(len(saved)))
    found: list[int | None] = [None] * len(wanted)

    def take(number: int, place: int | None) -> None:
        if found[number] is None and place is not None and place in free:
            free.remove(place)
            found[number] = place

    for number, part in enumerate(wanted):
        if number in free and _same(part, saved[number]):
            take(number, number)
    places: dict[tuple[str, str], list[int]] = {}
    for place in sorted(free, reverse=True):
        places.setdefault((saved[place].target, saved[place].body), []).append(place)
    for number, part in enumerate(wanted):
        if found[number] is None and (left := places.get((part.target, part.body))):
            take(number, left.pop())
    for number, part in enumerate(wanted):
        if number in free and part.target == saved[number].target:
            take(number, number)
    return found


def _same(one: Part, other: Part) -> bool:
    return (one.target, one.body) == (other.target, other.body)


def _hash(*parts: str | bytes) -> str:
    raw = b"\0".join(part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(raw).hexdigest()[:16]


def _unknown(targets: set[str | None], found: set[str], since: float) -> str:
    moment = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
    places = ", ".join(sorted(map(str, targets))[:5])
    shown = f" It may be {', '.join(sorted(found)[:20])}." if found else ""
    return (
        f"The answer to a request of {moment} was lost, and QStash would not recognise a repeat any more. It "
        f"is not known whether it published a message to {places}.{shown} Nothing was sent again. Look in "
        "QStash's logs. Then mark this task successful, or clear it to send the message."
    )
