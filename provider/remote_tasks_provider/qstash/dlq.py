"""Retrying and deleting DLQ messages once each, whatever answer is lost on the way.

QStash publishes a DLQ message again as a new message with a new id, and removes it from the dead letter queue
(https://upstash.com/docs/qstash/features/dlq). If the new message fails, it is a new DLQ message, which the
same filters match. So the DLQ messages that match are listed first, and are then named by their ids: a
request that is repeated finds only those that are left. What the list showed and what each request led to is
noted page by page, so that a later attempt resumes.

An answer names the new messages. If it is lost, the logs have them: they were accepted after the request, and
have the same destination and body. Nothing else links a DLQ message to the message that replaces it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import repeat
from typing import TYPE_CHECKING, Any

from remote_tasks_provider.bases.origin import Origin
from remote_tasks_provider.bases.records import TaskRecord
from remote_tasks_provider.core.clocks import rounds
from remote_tasks_provider.core.errors import (
    InvalidResponseError,
    NotFoundError,
    OrphanedStartError,
    RemoteTaskError,
)
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.submission import may_have_submitted
from remote_tasks_provider.qstash.api import v2
from remote_tasks_provider.qstash.api.filters import DLQ_FILTERS, Filters, dlq_queries, filters_of, narrowing
from remote_tasks_provider.qstash.api.v2_models import CreatedMessage, DlqMessage
from remote_tasks_provider.qstash.submission import CLOCK_SKEW

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "DlqEntry",
    "DlqPage",
    "DlqPages",
    "DlqRetry",
    "StoredPages",
    "delete_entries",
    "iter_messages",
    "list_entries",
    "still_there",
]

log = logging.getLogger(__name__)

_BETWEEN_SEARCHES = 5.0
_NAMED = 20


@dataclass(frozen=True, slots=True)
class DlqEntry:
    """What identifies a DLQ message.

    :param message_id: the message that failed.
    :param content: a hash of its destination and body, either of which may hold a secret.
    """

    dlq_id: str
    message_id: str
    content: str

    @classmethod
    def of(cls, message: DlqMessage) -> DlqEntry:
        """Return what identifies ``message``."""
        return cls(message.dlq_id or "", message.message_id, message.content)


@dataclass(slots=True)
class DlqPage:
    """Up to 100 DLQ messages, and what became of them; plain JSON values.

    :param left: those that no request is for as yet.
    :param open: those that a request is for whose answer is not known.
    :param sent_at: when that request was about to be sent; Unix seconds.
    :param lost_at: when it was known that its answer was lost.
    :param answered: the new messages that an incomplete answer to it named.
    :param messages: the new messages.
    """

    left: list[DlqEntry]
    open: list[DlqEntry] = field(default_factory=list)
    sent_at: float = 0.0
    lost_at: float | None = None
    answered: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DlqPage:
        """Return the page that :func:`dataclasses.asdict` wrote."""
        entries = {name: [DlqEntry(**one) for one in data[name]] for name in ("left", "open")}
        return cls(**{**data, **entries})


class DlqPages:
    """The pages of one retry, kept in memory; a subclass keeps them for later attempts."""

    def __init__(self) -> None:
        self.pages: list[DlqPage] = []
        self.is_resumed = False
        """Whether an earlier attempt has begun."""

    def begin(self, entries: Sequence[DlqEntry]) -> None:
        """Note which DLQ messages are to be retried."""
        size = v2.MAX_PAGE_SIZE
        self.pages = [DlqPage(list(entries[start : start + size])) for start in range(0, len(entries), size)]

    def save(self, number: int, *, is_intent: bool = False) -> None:
        """Note what became of a page's DLQ messages.

        :param is_intent: whether a request follows, which must not be sent unless this is kept.
        """

    @property
    def messages(self) -> list[str]:
        """The new messages that are known."""
        return [message_id for page in self.pages for message_id in (*page.messages, *page.answered)]

    @property
    def has_sent(self) -> bool:
        """Whether a request was sent."""
        return any(page.open or page.messages for page in self.pages)


def iter_messages(
    client: Client, filters: Filters, *, page_size: int = v2.MAX_PAGE_SIZE
) -> Iterator[DlqMessage]:
    """Yield the DLQ messages that match; lazy."""
    for some in dlq_queries(filters):
        yield from client.items(v2.list_dlq_messages(some, page_size=page_size))


def list_entries(client: Client, dlq_id: str | None, filters: Filters) -> list[DlqEntry]:
    """Return the DLQ messages that match, or the one.

    :raises NotFoundError: if the one is not there.
    """
    if dlq_id is not None:
        return [DlqEntry.of(client.send(v2.get_dlq_message(dlq_id)))]
    asked_for = {value for name, value in narrowing(filters) if name == DLQ_FILTERS["dlq_ids"]}
    found = map(DlqEntry.of, iter_messages(client, filters))
    return [one for one in found if one.dlq_id and (not asked_for or one.dlq_id in asked_for)]


def still_there(client: Client, entries: Sequence[DlqEntry]) -> list[DlqEntry]:
    """Return those that are in the dead letter queue now."""
    try:
        if len(entries) == 1:
            found = [client.send(v2.get_dlq_message(entries[0].dlq_id))]
        else:
            filters = filters_of({"dlq_ids": [one.dlq_id for one in entries]}, DLQ_FILTERS)
            found = list(client.items(v2.list_dlq_messages(filters)))
    except NotFoundError:
        return []
    known = {(one.dlq_id, one.message_id) for one in found}
    return [one for one in entries if (one.dlq_id, one.message_id) in known]


def delete_entries(client: Client, entries: Sequence[DlqEntry]) -> int:
    """Delete DLQ messages; return how many are gone, those of a lost answer included."""
    deleted = 0
    for start in range(0, len(entries), v2.MAX_PAGE_SIZE):
        page = entries[start : start + v2.MAX_PAGE_SIZE]
        try:
            if len(page) == 1:
                client.send(v2.delete_dlq_message(page[0].dlq_id))
                found = 1
            else:
                found = client.send(v2.delete_dlq_messages([one.dlq_id for one in page]))
        except NotFoundError:
            found = 0
        deleted += len(page) - (len(still_there(client, page)) if found < len(page) else 0)
    return deleted


class StoredPages(DlqPages):
    """The DLQ messages that a task retries or deletes, kept for its later attempts where Airflow can.

    :param key: what for.
    """

    def __init__(self, context: Context, log: Any, key: str = "qstash_dlq_retry") -> None:
        super().__init__()
        self._record = TaskRecord(context, key, log)
        self._max_tries = Origin.of(context).max_tries
        self._load()

    @property
    def remembers(self) -> bool:
        """Whether a later attempt will know them."""
        return self._record.is_kept

    def begin(self, entries: Sequence[DlqEntry]) -> None:
        """Note which DLQ messages are to be retried, a page a value."""
        super().begin(entries)
        for number in range(len(self.pages)):
            self.save(number, is_intent=True)
        self._record.intend({"max_tries": self._max_tries, "pages": len(self.pages)})

    def _load(self) -> None:
        saved = self._record.read()
        if isinstance(saved, dict) and saved.get("max_tries") == self._max_tries:
            self.is_resumed = True
            self.pages = [DlqPage.from_json(self._record.read(number)) for number in range(saved["pages"])]

    def save(self, number: int, *, is_intent: bool = False) -> None:
        """Note what became of a page's DLQ messages."""
        keep = self._record.intend if is_intent else self._record.note
        keep(asdict(self.pages[number]), number)


class DlqRetry:
    """Publishes DLQ messages again, each once.

    :param pages: what is to be retried, and what became of it as far as is known.
    :param grace: seconds for which the logs may have no entry of a new message.
    """

    def __init__(self, client: Client, pages: DlqPages, *, grace: float = 300.0) -> None:
        self._client = client
        self._pages = pages
        self._grace = grace

    def run(self) -> list[str]:
        """Return the ids of all new messages.

        :raises OrphanedStartError: when the logs do not tell what a request led to whose answer was lost.
        """
        for number, page in enumerate(self._pages.pages):
            if page.open:
                self._settle(number, page)
            if self._pages.is_resumed:
                self._drop_missing(number, page)
            while page.left:
                self._send(number, page)
        return self._pages.messages

    def _drop_missing(self, number: int, page: DlqPage) -> None:
        """Leave out what has left the queue since it was listed, and not by a request of ours."""
        there = still_there(self._client, page.left) if page.left else []
        if missing := [one for one in page.left if one not in there]:
            log.warning("DLQ messages that have left the queue meanwhile: %s.", _names(missing))
            page.left = there
            self._pages.save(number)

    def _send(self, number: int, page: DlqPage) -> None:
        page.open, page.left = page.left, []
        page.sent_at, page.lost_at, page.answered = time.time(), None, []
        self._pages.save(number, is_intent=True)
        failure: RemoteTaskError | None = None
        refusals: list[str] = []
        try:
            answers = self._request([one.dlq_id for one in page.open])
            page.answered = [one.message_id for one in answers if one.message_id]
            refusals = [one.error for one in answers if one.error]
        except NotFoundError:
            # None is there: an answer before this one was lost.
            pass
        except RemoteTaskError as error:
            if not may_have_submitted(error):
                page.open, page.left = [], page.open
                self._pages.save(number)
                raise
            log.warning("It is not known whether this request retried DLQ messages: %s", error)
            failure = error
        if len(page.answered) >= len(page.open):
            self._close(number, page, page.answered)
            return
        page.lost_at = time.time()
        self._pages.save(number)
        before = len(page.open)
        self._settle(number, page)
        if page.left and (failure or len(page.left) == before):
            raise failure or InvalidResponseError(
                f"QStash published {before - len(page.left)} of {before} DLQ messages again, and left "
                f"{_names(page.left)}. {'; '.join(refusals[:5])}".rstrip()
            )

    def _request(self, dlq_ids: Sequence[str]) -> list[Any]:
        if len(dlq_ids) == 1:
            return [self._client.send(v2.retry_dlq_message(dlq_ids[0]))]
        return self._client.send(v2.retry_dlq_messages(dlq_ids))

    def _settle(self, number: int, page: DlqPage) -> None:
        """Find out what a request led to whose answer was lost, or did not name all."""
        there = still_there(self._client, page.open)
        gone = [one for one in page.open if one not in there]
        found = page.answered
        if len(gone) > len(found):
            log.info("%d DLQ messages were retried by a request whose answer was lost.", len(gone))
            found = self._search(page, gone)
        page.left = [*there, *page.left]
        self._close(number, page, found)

    def _close(self, number: int, page: DlqPage, found: Sequence[str]) -> None:
        page.messages += found
        page.open, page.answered = [], []
        self._pages.save(number)

    def _search(self, page: DlqPage, gone: Sequence[DlqEntry]) -> list[str]:
        """Return the messages that replace DLQ messages, once the logs show one for each."""
        wanted = Counter(one.content for one in gone)
        for left in rounds(time.time() + self._grace, repeat(_BETWEEN_SEARCHES), time):
            found = list(self._candidates(page, gone))
            shown = Counter(one.content for one in found)
            ids = [one.message_id for one in found]
            if shown == wanted and set(page.answered) <= set(ids):
                return ids
            if shown - wanted or not left:
                break
        raise OrphanedStartError(_unknown(gone, ids, page.sent_at))

    def _candidates(self, page: DlqPage, gone: Sequence[DlqEntry]) -> Iterator[CreatedMessage]:
        """Yield the messages in the logs that may replace DLQ messages, oldest first."""
        last = page.sent_at + self._client.longest_send if page.lost_at is None else page.lost_at
        operation = v2.list_created(page.sent_at - CLOCK_SKEW, last + CLOCK_SKEW)
        contents = {one.content for one in gone}
        # Those that failed were accepted before; and what an earlier request led to is known.
        known = {*self._pages_messages(page), *(one.message_id for one in gone)}
        found: dict[str, CreatedMessage] = {}
        for entry in self._client.items(operation):
            if entry.content in contents and entry.message_id not in known:
                found[entry.message_id] = entry
        return reversed(found.values())

    def _pages_messages(self, page: DlqPage) -> set[str]:
        """Return what is known of other requests."""
        others = (one for one in self._pages.pages if one is not page)
        named = {message_id for one in others for message_id in (*one.messages, *one.answered)}
        return named | set(page.messages)


def _names(entries: Sequence[DlqEntry]) -> str:
    more = f" and {len(entries) - _NAMED} more" if len(entries) > _NAMED else ""
    return ", ".join(one.dlq_id for one in entries[:_NAMED]) + more


def _unknown(gone: Sequence[DlqEntry], found: Sequence[str], since: float) -> str:
    moment = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
    candidates = f" They may be {', '.join(found[:_NAMED])}." if found else ""
    return (
        f"An answer was lost. {len(gone)} DLQ messages have left the queue, and the logs do not tell which "
        f"new messages they became: {_names(gone)}.{candidates} Nothing was sent again. Look in QStash's "
        f"logs for messages to the same destinations since {moment}. Then mark this task successful, or "
        "clear it to retry the DLQ messages that match then."
    )
