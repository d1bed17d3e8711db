"""How the outcomes of many QStash messages are learnt with few calls: the logs tell of a hundred at once.

The logs list every step of a message, so a page is asked for ends only: one call for a hundred messages. Two
things need more:

* *Is a message in the logs at all?* They lag behind and forget, and they know no 404. A message that has no
  end and was never seen is looked for by its first step, in every other look, instead of by its end. If that
  is not there either, it is "not seen", which is believed after the wait's grace.
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
from remote_tasks_provider.qstash.api_v2 import MAX_PAGE_SIZE, list_dead_letters, list_logs, message_filters
from remote_tasks_provider.qstash.models_v2 import LogEntry, MessageOutcome, outcome_of, snapshot_of

__all__ = ["MessageWatch"]

log = logging.getLogger(__name__)

_FEW = 20
_MOST_PAGES = 5
# Dead letters that are asked for in one look.
_MOST_LETTERS = 40
_ENDS = (("state", "DELIVERED"), ("state", "FAILED"), ("state", "CANCELLED"))
_FIRST_STEP = (("state", "CREATED"),)


class MessageWatch:
    """The looks of one group of waits for messages."""

    def __init__(self) -> None:
        self._seen: dict[str, MessageOutcome] = {}
        """Messages that the logs know, with what was last told of them."""
        self._looks: dict[str, int] = {}
        """How often a message without any entry was looked for."""
        self._states_can_be_filtered = True

    def look(self, due: Sequence[str], free: Collection[str] = ()) -> Look:
        """Plan one look; see :class:`~remote_tasks_provider.core.watching.Watch`."""
        wanted = list(dict.fromkeys([*due, *free]))
        self._seen = {one: outcome for one, outcome in self._seen.items() if one in set(wanted)}
        self._looks = {one: looks for one, looks in self._looks.items() if one in set(wanted)}
        # Others come along for nothing as long as the call is not longer for it.
        asked = wanted[: max(len(due), -(-len(due) // MAX_PAGE_SIZE) * MAX_PAGE_SIZE)]
        findings: dict[str, Finding] = {}
        for chunk in _chunks(asked):
            findings |= yield from self._chunk(chunk)
            if any(isinstance(one, RemoteTaskError) and one.concerns_service for one in findings.values()):
                return dict.fromkeys(asked, next(iter(findings.values())))
        findings = yield from self._with_letters(findings)
        return findings

    def outcome(self, message_id: str) -> MessageOutcome:
        """Return what the last look told of a message."""
        return self._seen.get(message_id, MessageOutcome(message_id, TaskState.UNKNOWN))

    def _chunk(self, ids: Sequence[str]) -> Any:
        all_steps = len(ids) <= _FEW or not self._states_can_be_filtered
        looks_for_first = not all_steps and self._is_time_for_first_steps(ids)
        states = () if all_steps else _FIRST_STEP if looks_for_first else _ENDS
        entries = yield from self._read(ids, states)
        if isinstance(entries, InvalidRequestError) and states:
            log.info("QStash does not filter logs by these states; reading all steps instead: %s", entries)
            self._states_can_be_filtered = False
            return (yield from self._chunk(ids))
        if isinstance(entries, RemoteTaskError):
            return dict.fromkeys(ids, entries)
        told: dict[str, list[LogEntry]] = {}
        for entry in entries:
            told.setdefault(entry.message_id, []).append(entry)
        return self._findings(ids, told, proves_absence=all_steps or looks_for_first)

    def _is_time_for_first_steps(self, ids: Sequence[str]) -> bool:
        unseen = [one for one in ids if one not in self._seen]
        for one in unseen:
            self._looks[one] = self._looks.get(one, 0) + 1
        return any(self._looks[one] % 2 == 0 for one in unseen)

    def _read(self, ids: Sequence[str], states: tuple[tuple[str, str], ...]) -> Any:
        call: Call[Page[LogEntry]] | None = list_logs((*message_filters(ids), *states))
        found: list[LogEntry] = []
        for _ in range(_MOST_PAGES):
            if call is None:
                break
            (page,) = yield [call]
            if isinstance(page, RemoteTaskError):
                return page
            found += page.items
            call = page.next
        return found

    def _findings(
        self, ids: Sequence[str], told: Mapping[str, list[LogEntry]], *, proves_absence: bool
    ) -> dict[str, Finding]:
        findings: dict[str, Finding] = {}
        for one in ids:
            outcome = outcome_of(one, told.get(one, ()))
            if outcome.state is not TaskState.UNKNOWN or one in told:
                self._seen[one] = outcome
            if one in self._seen:
                findings[one] = snapshot_of(self._seen[one])
            elif proves_absence:
                findings[one] = _not_seen(one)
        return findings

    def _with_letters(self, findings: dict[str, Finding]) -> Any:
        """Ask for the dead letters of the messages that have failed."""
        failed = [
            one
            for one, found in findings.items()
            if isinstance(found, TaskSnapshot) and found.state is TaskState.FAILED
        ]
        if not failed:
            return findings
        asked = failed[:_MOST_LETTERS]
        answers = yield [list_dead_letters((("messageId", one),), page_size=1) for one in asked]
        for one, answer in zip(asked, answers, strict=True):
            # Without its letter, which may be gone, a failure is one all the same.
            if not isinstance(answer, RemoteTaskError) and answer.items:
                self._seen[one] = self._seen[one].with_letter(answer.items[0])
                findings[one] = snapshot_of(self._seen[one])
        for one in failed[_MOST_LETTERS:]:
            del findings[one]
        return findings


def _not_seen(message_id: str) -> NotFoundError:
    return NotFoundError(
        f"no log entry tells of message {message_id}",
        status_code=404,
        endpoint="QStash GET /v2/logs",
        hint="Logs lag behind by up to a minute, and are kept for 3 to 14 days, by plan. Is the id right, "
        "and does the message belong to the region of the connection's host?",
    )


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + MAX_PAGE_SIZE] for start in range(0, len(ids), MAX_PAGE_SIZE)]
