"""How the outcomes of many QStash messages are learnt with few calls: the logs tell of a hundred at once.

The logs list every step of a message. Of many messages only the first and the last step are asked for, one
page for a hundred: it shows which have ended and which are on their way. Those that have ended push others
off the page; they are not asked for again, so the next look shows the others.

* *Is a message in the logs at all?* They lag behind and forget, and they know no 404. A message that a whole
  list does not show is "not seen", which is believed after the wait's grace.
* *Why did it fail?* The dead letter tells, once, when it has.

Twenty messages or fewer are asked for with all their steps, so that a log can say which attempt failed and
when the next one is due.

https://upstash.com/docs/qstash/api/events/list
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from remote_tasks_provider.core.errors import InvalidRequestError, NotFoundError, RemoteTaskError
from remote_tasks_provider.core.http.operation import Operation, Page
from remote_tasks_provider.core.polling.strategy import PollPlan, PollResult
from remote_tasks_provider.core.states import TaskSnapshot, TaskState
from remote_tasks_provider.qstash.api.v2 import (
    MAX_PAGE_SIZE,
    dlq_filters,
    list_dlq_messages,
    list_logs,
    message_filters,
)
from remote_tasks_provider.qstash.api.v2_models import (
    DlqMessage,
    LogEntry,
    MessageOutcome,
    outcome_of,
    snapshot_of,
)

__all__ = ["QStashMessagePollStrategy"]

log = logging.getLogger(__name__)

_FEW = 20
_MOST_PAGES = 5
# Dead letters that are asked for one by one in one look.
_MOST_LETTERS = 40
# The documentation and the vendor's own clients spell the last one differently.
_FIRST_AND_LAST = tuple(
    ("state", word) for word in ("CREATED", "DELIVERED", "FAILED", "CANCELLED", "CANCELED")
)


class QStashMessagePollStrategy:
    """The looks of one group of waits for messages."""

    def __init__(self) -> None:
        self._seen: dict[str, MessageOutcome] = {}
        """Messages that the logs know, with what was last told of them."""
        self._most_at_once = MAX_PAGE_SIZE

    def plan(self, due: Sequence[str], free: Collection[str] = ()) -> PollPlan:
        """Plan one look; see :class:`~remote_tasks_provider.core.polling.strategy.PollStrategy`."""
        wanted = dict.fromkeys([*due, *free])
        self._seen = {one: outcome for one, outcome in self._seen.items() if one in wanted}
        # Others come along for nothing as long as there are no more calls for it.
        asked = list(wanted)[: max(len(due), -(-len(due) // MAX_PAGE_SIZE) * MAX_PAGE_SIZE)]
        ended = [one for one in asked if one in self._seen and self._seen[one].state.is_terminal]
        results: dict[str, PollResult] = {one: snapshot_of(self._seen[one]) for one in ended}
        for chunk in _chunks([one for one in asked if one not in results], self._most_at_once):
            found: dict[str, PollResult] = yield from self._chunk(chunk)
            results |= found
            trouble = next((one for one in found.values() if _concerns_all(one)), None)
            if trouble is not None:
                # What was told before it came holds; failures wait for their letters until the next look.
                kept = {one: told for one, told in results.items() if not _has_failed(told)}
                return dict.fromkeys([one for one in asked if one not in results], trouble) | kept
        yield from self._with_dlq_messages(results)
        return results

    def outcome(self, message_id: str) -> MessageOutcome:
        """Return what the last look told of a message."""
        return self._seen.get(message_id, MessageOutcome(message_id, TaskState.UNKNOWN))

    def _chunk(self, ids: Sequence[str]) -> Any:
        answer = yield from self._read(ids, () if len(ids) <= _FEW else _FIRST_AND_LAST)
        if isinstance(answer, InvalidRequestError) and len(ids) > 1:
            return (yield from self._in_smaller_chunks(ids, answer))
        if isinstance(answer, RemoteTaskError):
            # An id that QStash does not like is to blame, and not the filter for states.
            self._most_at_once = MAX_PAGE_SIZE
            return dict.fromkeys(ids, answer)
        entries, is_whole = answer
        told: dict[str, list[LogEntry]] = {}
        for entry in entries:
            told.setdefault(entry.message_id, []).append(entry)
        return self._results(ids, told, is_whole=is_whole)

    def _in_smaller_chunks(self, ids: Sequence[str], error: InvalidRequestError) -> Any:
        """Ask without the filter for states, which may not be known, or for each of a few by itself."""
        size = 1
        if len(ids) > _FEW:
            log.info("QStash refuses to filter so many logs by state; reading all steps instead: %s", error)
            self._most_at_once = size = _FEW
        results: dict[str, PollResult] = {}
        for chunk in _chunks(ids, size):
            results |= yield from self._chunk(chunk)
        return results

    def _read(self, ids: Sequence[str], states: tuple[tuple[str, str], ...]) -> Any:
        """Return entries, newest first, and whether they are all there are; or the error."""
        operation: Operation[Page[LogEntry]] | None = list_logs((*message_filters(ids), *states))
        found: list[LogEntry] = []
        for _ in range(_MOST_PAGES):
            (page,) = yield [operation]
            if isinstance(page, InvalidRequestError) and found:
                # The vendor's own client never sends messages' ids and a cursor together.
                break
            if isinstance(page, RemoteTaskError):
                return page
            found += page.items
            operation = page.next
            if operation is None or (found and _is_enough(ids, found, all_steps=not states)):
                break
        return found, operation is None

    def _results(
        self, ids: Sequence[str], told: Mapping[str, list[LogEntry]], *, is_whole: bool
    ) -> dict[str, PollResult]:
        results: dict[str, PollResult] = {}
        for one in ids:
            if one in told:
                self._seen[one] = outcome_of(one, told[one])
            if one in told or (is_whole and one in self._seen):
                results[one] = snapshot_of(self._seen[one])
            elif is_whole:
                results[one] = _not_seen(one)
        return results

    def _with_dlq_messages(self, results: dict[str, PollResult]) -> Any:
        """Ask for the dead letters of the messages that have failed, and add what they tell."""
        failed = [one for one, found in results.items() if _has_failed(found)]
        dlq_messages: dict[str, DlqMessage] = {}
        if len(failed) > 1:
            chunks = _chunks(failed, MAX_PAGE_SIZE)
            answers = yield [list_dlq_messages(dlq_filters(one), page_size=len(one)) for one in chunks]
            dlq_messages = _by_message(answers)
        # That a filter may be repeated is documented for all lists at once, and not for this one.
        singly = [one for one in failed if one not in dlq_messages]
        if singly:
            asked = singly[:_MOST_LETTERS]
            answers = yield [list_dlq_messages(dlq_filters([one]), page_size=1) for one in asked]
            dlq_messages |= _by_message(answers)
        for one in singly[_MOST_LETTERS:]:
            del results[one]
        for one, dlq_message in dlq_messages.items():
            # Without its letter, which may be gone, a failure is one all the same.
            if one in self._seen:
                self._seen[one] = self._seen[one].with_dlq_message(dlq_message)
                results[one] = snapshot_of(self._seen[one])


def _is_enough(ids: Sequence[str], newest_first: Sequence[LogEntry], *, all_steps: bool) -> bool:
    """Whether a further page would tell nothing that matters now."""
    newest: dict[str, LogEntry] = {}
    for entry in newest_first:
        newest.setdefault(entry.message_id, entry)
    if not all_steps:
        return newest.keys() >= set(ids) or any(entry.state.is_terminal for entry in newest_first)
    # A step of the same millisecond as the page's last may stand behind it, and be an end.
    last = newest_first[-1].time
    return all(one in newest and newest[one].time != last for one in ids)


def _by_message(answers: Sequence[Any]) -> dict[str, DlqMessage]:
    pages = [answer for answer in answers if not isinstance(answer, RemoteTaskError)]
    return {dlq_message.message_id: dlq_message for page in pages for dlq_message in page.items}


def _has_failed(result: PollResult) -> bool:
    return isinstance(result, TaskSnapshot) and result.state is TaskState.FAILED


def _concerns_all(result: PollResult) -> bool:
    return isinstance(result, RemoteTaskError) and result.concerns_service


def _not_seen(message_id: str) -> NotFoundError:
    return NotFoundError(
        f"no log entry tells of message {message_id}",
        status_code=404,
        endpoint="QStash GET /v2/logs",
        hint="Logs lag behind by up to a minute, and are kept for 3 to 14 days, by plan. Is the id right, "
        "and does the message belong to the region of the connection's host?",
    )


def _chunks(ids: Sequence[str], size: int) -> list[Sequence[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
