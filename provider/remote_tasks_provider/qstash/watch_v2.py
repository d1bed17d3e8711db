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
from remote_tasks_provider.core.messages import Call, Page
from remote_tasks_provider.core.states import TaskSnapshot, TaskState
from remote_tasks_provider.core.watching import Finding, Look
from remote_tasks_provider.qstash.api_v2 import (
    MAX_PAGE_SIZE,
    letter_filters,
    list_dead_letters,
    list_logs,
    message_filters,
)
from remote_tasks_provider.qstash.models_v2 import (
    DeadLetter,
    LogEntry,
    MessageOutcome,
    outcome_of,
    snapshot_of,
)

__all__ = ["MessageWatch"]

log = logging.getLogger(__name__)

_FEW = 20
_MOST_PAGES = 5
# Dead letters that are asked for one by one in one look.
_MOST_LETTERS = 40
# The documentation and the vendor's own clients spell the last one differently.
_FIRST_AND_LAST = tuple(
    ("state", word) for word in ("CREATED", "DELIVERED", "FAILED", "CANCELLED", "CANCELED")
)


class MessageWatch:
    """The looks of one group of waits for messages."""

    def __init__(self) -> None:
        self._seen: dict[str, MessageOutcome] = {}
        """Messages that the logs know, with what was last told of them."""
        self._most_at_once = MAX_PAGE_SIZE

    def look(self, due: Sequence[str], free: Collection[str] = ()) -> Look:
        """Plan one look; see :class:`~remote_tasks_provider.core.watching.Watch`."""
        wanted = dict.fromkeys([*due, *free])
        self._seen = {one: outcome for one, outcome in self._seen.items() if one in wanted}
        # Others come along for nothing as long as there are no more calls for it.
        asked = list(wanted)[: max(len(due), -(-len(due) // MAX_PAGE_SIZE) * MAX_PAGE_SIZE)]
        ended = [one for one in asked if one in self._seen and self._seen[one].state.is_terminal]
        findings: dict[str, Finding] = {one: snapshot_of(self._seen[one]) for one in ended}
        for chunk in _chunks([one for one in asked if one not in findings], self._most_at_once):
            found: dict[str, Finding] = yield from self._chunk(chunk)
            findings |= found
            trouble = next((one for one in found.values() if _concerns_all(one)), None)
            if trouble is not None:
                # What was told before it came holds; failures wait for their letters until the next look.
                kept = {one: told for one, told in findings.items() if not _has_failed(told)}
                return dict.fromkeys([one for one in asked if one not in findings], trouble) | kept
        yield from self._with_letters(findings)
        return findings

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
        return self._findings(ids, told, is_whole=is_whole)

    def _in_smaller_chunks(self, ids: Sequence[str], error: InvalidRequestError) -> Any:
        """Ask without the filter for states, which may not be known, or for each of a few by itself."""
        size = 1
        if len(ids) > _FEW:
            log.info("QStash refuses to filter so many logs by state; reading all steps instead: %s", error)
            self._most_at_once = size = _FEW
        findings: dict[str, Finding] = {}
        for chunk in _chunks(ids, size):
            findings |= yield from self._chunk(chunk)
        return findings

    def _read(self, ids: Sequence[str], states: tuple[tuple[str, str], ...]) -> Any:
        """Return entries, newest first, and whether they are all there are; or the error."""
        call: Call[Page[LogEntry]] | None = list_logs((*message_filters(ids), *states))
        found: list[LogEntry] = []
        for _ in range(_MOST_PAGES):
            (page,) = yield [call]
            if isinstance(page, InvalidRequestError) and found:
                # The vendor's own client never sends messages' ids and a cursor together.
                break
            if isinstance(page, RemoteTaskError):
                return page
            found += page.items
            call = page.next
            if call is None or (found and _is_enough(ids, found, all_steps=not states)):
                break
        return found, call is None

    def _findings(
        self, ids: Sequence[str], told: Mapping[str, list[LogEntry]], *, is_whole: bool
    ) -> dict[str, Finding]:
        findings: dict[str, Finding] = {}
        for one in ids:
            if one in told:
                self._seen[one] = outcome_of(one, told[one])
            if one in told or (is_whole and one in self._seen):
                findings[one] = snapshot_of(self._seen[one])
            elif is_whole:
                findings[one] = _not_seen(one)
        return findings

    def _with_letters(self, findings: dict[str, Finding]) -> Any:
        """Ask for the dead letters of the messages that have failed, and add what they tell."""
        failed = [one for one, found in findings.items() if _has_failed(found)]
        letters: dict[str, DeadLetter] = {}
        if len(failed) > 1:
            chunks = _chunks(failed, MAX_PAGE_SIZE)
            answers = yield [list_dead_letters(letter_filters(one), page_size=len(one)) for one in chunks]
            letters = _by_message(answers)
        # That a filter may be repeated is documented for all lists at once, and not for this one.
        singly = [one for one in failed if one not in letters]
        if singly:
            asked = singly[:_MOST_LETTERS]
            answers = yield [list_dead_letters(letter_filters([one]), page_size=1) for one in asked]
            letters |= _by_message(answers)
        for one in singly[_MOST_LETTERS:]:
            del findings[one]
        for one, letter in letters.items():
            # Without its letter, which may be gone, a failure is one all the same.
            if one in self._seen:
                self._seen[one] = self._seen[one].with_letter(letter)
                findings[one] = snapshot_of(self._seen[one])


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


def _by_message(answers: Sequence[Any]) -> dict[str, DeadLetter]:
    pages = [answer for answer in answers if not isinstance(answer, RemoteTaskError)]
    return {letter.message_id: letter for page in pages for letter in page.items}


def _has_failed(finding: Finding) -> bool:
    return isinstance(finding, TaskSnapshot) and finding.state is TaskState.FAILED


def _concerns_all(finding: Finding) -> bool:
    return isinstance(finding, RemoteTaskError) and finding.concerns_service


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
