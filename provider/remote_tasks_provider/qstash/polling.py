"""How QStash tasks and messages are polled with few requests.

* Tasks (API v1) have no list over all, but one per message, newest first, 100 a page. The first poll of a
  task shows its message; from then on a message with several awaited tasks is listed as a whole.
* Messages (API v2) are polled by the logs: one request for a hundred. The logs list every step of a message;
  of many messages only the first and the last step are requested, which shows which have finished. Finished
  messages push others off the page; they are not requested again, so that the next poll shows the others. Of
  twenty messages or fewer all steps are requested, so that a log can say which attempt failed and when the
  next one is due. https://upstash.com/docs/qstash/api/events/list

The logs lag behind, forget, and have no 404. A message without an entry in a complete listing is asked for by
itself, a few in a poll: QStash knows it as long as it is in flight. Otherwise it is "not found", which is
believed after the wait's grace. Why a message failed is in its DLQ message, which is read once.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from remote_tasks_provider.core.errors import (
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    RemoteTaskError,
)
from remote_tasks_provider.core.http.operation import Operation, Page
from remote_tasks_provider.core.polling.strategy import (
    OneByOne,
    Plan,
    PollPlan,
    PollRequest,
    PollResult,
    Rotation,
    batches,
    result_of,
)
from remote_tasks_provider.core.states import TaskSnapshot, TaskState
from remote_tasks_provider.qstash.api import v1, v2
from remote_tasks_provider.qstash.api.filters import DLQ_FILTERS, LOG_FILTERS, Filters, filters_of
from remote_tasks_provider.qstash.api.v2_models import (
    DlqMessage,
    LogEntry,
    MessageOutcome,
    outcome_of,
    snapshot_of,
)
from remote_tasks_provider.qstash.models import QStashTask, snapshot

__all__ = ["QStashMessagePollStrategy", "QStashTaskPollStrategy"]

log = logging.getLogger(__name__)

_MAX_TASK_PAGES = 10
_MAX_LOG_PAGES = 5
_FEW = 20
# DLQ messages that one poll reads one by one.
_MAX_SINGLE_DLQ = 40
# The documentation and the vendor's own clients spell the last one differently.
_FIRST_AND_LAST = tuple(
    ("state", word) for word in ("CREATED", "DELIVERED", "FAILED", "CANCELLED", "CANCELED")
)


class QStashTaskPollStrategy:
    """Polls tasks; remembers which message a task belongs to."""

    def __init__(self) -> None:
        self._message_of: dict[str, str] = {}
        self._unlisted: set[str] = set()
        """Tasks that their message's list does not show."""
        self._singles = OneByOne(v1.get_task, self._learn)

    def plan(self, request: PollRequest) -> PollPlan:
        """Plan one poll; see :class:`~remote_tasks_provider.core.polling.strategy.PollStrategy`."""
        wanted = request.wanted
        self._message_of = {one: message for one, message in self._message_of.items() if one in wanted}
        self._unlisted &= wanted.keys()
        self._singles.keep(wanted)
        told: set[str] = set()
        yield from self._lists(self._shared_messages(request.due, wanted), wanted, told)
        yield from self._singles.ask([task_id for task_id in request.due if task_id not in told])

    def _shared_messages(self, due: Sequence[str], wanted: Collection[str]) -> dict[str, set[str]]:
        """Return the messages with a due task and with more than one wanted task, and those tasks."""
        members: dict[str, set[str]] = {}
        for task_id in wanted:
            message = self._message_of.get(task_id)
            if message is not None and task_id not in self._unlisted:
                members.setdefault(message, set()).add(task_id)
        are_due = {self._message_of.get(task_id) for task_id in due if task_id not in self._unlisted}
        return {message: ids for message, ids in members.items() if len(ids) > 1 and message in are_due}

    def _lists(self, members: Mapping[str, set[str]], wanted: Collection[str], told: set[str]) -> Plan[None]:
        """Read each message's list until it has shown its members; the rest is left to single requests."""
        pending: dict[str, Operation[Page[QStashTask]]] = {
            message: v1.list_message_tasks(message) for message in members
        }
        missing_of = dict(members)
        for _ in range(_MAX_TASK_PAGES):
            if not pending:
                return
            answers = yield list(pending.values())
            following = {}
            results: dict[str, PollResult] = {}
            for message, page in zip(pending, answers, strict=True):
                if isinstance(page, RemoteTaskError):
                    if page.concerns_service:
                        results.update(dict.fromkeys(missing_of[message], page))
                    continue
                results.update(
                    {
                        task.task_id: result_of(task.task_id, self._learn, task)
                        for task in page.items
                        if task.task_id in wanted
                    }
                )
                before = missing_of[message]
                missing = missing_of[message] = before - results.keys()
                worth_it = len(missing) > 1 and (missing < before or len(missing) > _MAX_TASK_PAGES)
                if worth_it and page.next is not None:
                    following[message] = page.next
                else:
                    self._unlisted |= missing
            told.update(results)
            yield results
            pending = following
        for message in pending:
            self._unlisted |= missing_of[message]

    def _learn(self, task: QStashTask) -> TaskSnapshot:
        if task.message_id:
            self._message_of[task.task_id] = task.message_id
        return snapshot(task)


class QStashMessagePollStrategy:
    """Polls messages; remembers the last outcome of each."""

    def __init__(self) -> None:
        self._seen: dict[str, MessageOutcome] = {}
        """Messages that the logs know, with the last outcome."""
        self._chunk_size = v2.MAX_PAGE_SIZE
        self._refused: set[str] = set()
        """Failed messages whose DLQ message was not shown to keep the rate limit."""
        self._rotation = Rotation()
        self._in_flight = Rotation()
        self._due: Collection[str] = ()
        self._may_ask = _FEW

    def plan(self, request: PollRequest) -> PollPlan:
        """Plan one poll; see :class:`~remote_tasks_provider.core.polling.strategy.PollStrategy`."""
        wanted = request.wanted
        self._seen = {one: outcome for one, outcome in self._seen.items() if one in wanted}
        self._refused &= wanted.keys()
        self._rotation.keep(wanted)
        self._in_flight.keep(wanted)
        self._due, self._may_ask = frozenset(request.due), _FEW
        due = self._rotation.longest_waiting(request.due)
        # Others are covered too as long as they need no further request.
        room = -len(due) % v2.MAX_PAGE_SIZE
        covered = [*due, *self._rotation.longest_waiting(request.wanted.keys() - set(due), room)]
        finished = [one for one in covered if one in self._seen and self._seen[one].state.is_terminal]
        if finished:
            yield from self._deliver({one: snapshot_of(self._seen[one]) for one in finished})
        asked = [one for one in covered if one not in finished]
        while asked:
            chunk = asked[: self._chunk_size]
            found: dict[str, PollResult] = yield from self._chunk(chunk)
            errors = (one for one in found.values() if isinstance(one, RemoteTaskError))
            error = next((one for one in errors if one.concerns_service), None)
            if error is not None:
                yield {one: found.get(one, error) for one in asked}
                return
            self._rotation.note(chunk)
            yield from self._deliver(found)
            # Not by steps: the size may have changed.
            asked = asked[len(chunk) :]

    def _deliver(self, results: dict[str, PollResult]) -> PollPlan:
        """Deliver results; those of failed messages with the facts of their DLQ messages."""
        yield from self._with_dlq_messages(results)
        yield results

    def outcome(self, message_id: str) -> MessageOutcome:
        """Return the outcome of a message as of the last poll."""
        return self._seen.get(message_id, MessageOutcome(message_id, TaskState.UNKNOWN))

    def _chunk(self, ids: Sequence[str]) -> Any:
        answer = yield from self._read(ids, () if len(ids) <= _FEW else _FIRST_AND_LAST)
        if isinstance(answer, InvalidRequestError) and len(ids) > 1:
            return (yield from self._in_smaller_chunks(ids, answer))
        if isinstance(answer, RemoteTaskError):
            # The cause is an id that QStash refuses, and not the filter for states.
            self._chunk_size = v2.MAX_PAGE_SIZE
            return dict.fromkeys(ids, answer)
        entries, is_complete = answer
        results = self._results(ids, entries)
        if is_complete:
            results |= yield from self._ask_for([one for one in ids if one not in results])
        return results

    def _in_smaller_chunks(self, ids: Sequence[str], error: InvalidRequestError) -> Any:
        """Read without the filter for states, which QStash may not know, or each of a few by itself."""
        size = 1
        if len(ids) > _FEW:
            log.info("QStash refuses to filter so many logs by state; reading all steps instead: %s", error)
            self._chunk_size = size = _FEW
        results: dict[str, PollResult] = {}
        for chunk in batches(ids, size):
            results |= yield from self._chunk(chunk)
        return results

    def _read(self, ids: Sequence[str], states: tuple[tuple[str, str], ...]) -> Any:
        """Return entries, newest first, and whether the listing is complete; or the error."""
        operation: Operation[Page[LogEntry]] | None = v2.list_logs((*_filters(ids, LOG_FILTERS), *states))
        found: list[LogEntry] = []
        for _ in range(_MAX_LOG_PAGES):
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

    def _results(self, ids: Sequence[str], entries: Sequence[LogEntry]) -> dict[str, PollResult]:
        entries_of: dict[str, list[LogEntry]] = {}
        for entry in entries:
            entries_of.setdefault(entry.message_id, []).append(entry)
        results: dict[str, PollResult] = {}
        for one in ids:
            if one in entries_of:
                self._seen[one] = outcome_of(one, entries_of[one])
                results[one] = snapshot_of(self._seen[one])
        return results

    def _ask_for(self, missing: Sequence[str]) -> Plan[dict[str, PollResult]]:
        """Ask whether messages that the logs do not show are in flight; a few, those that are due."""
        due = [one for one in missing if one in self._due]
        asked = self._in_flight.longest_waiting(due, self._may_ask)
        if not asked:
            return {}
        self._may_ask -= len(asked)
        self._in_flight.note(asked)
        answers = yield [v2.get_message(one) for one in asked]
        results: dict[str, PollResult] = {}
        for one, answer in zip(asked, answers, strict=True):
            if isinstance(answer, NotFoundError):
                results[one] = _not_found(one)
            elif isinstance(answer, RemoteTaskError):
                results[one] = answer
            else:
                self._seen.setdefault(one, MessageOutcome(one, TaskState.PENDING, "PENDING"))
                results[one] = snapshot_of(self._seen[one])
        return results

    def _with_dlq_messages(self, results: dict[str, PollResult]) -> Any:
        """Read the DLQ messages of the messages that have failed, and add their facts."""
        failed = [one for one, result in results.items() if _has_failed(result)]
        dlq_messages: dict[str, DlqMessage] = {}
        left: list[str] = []
        if len(failed) > 1:
            chunks = list(batches(failed, v2.MAX_PAGE_SIZE))
            answers = yield [_list_dlq(one) for one in chunks]
            dlq_messages = _by_message(answers)
            left += _refused(chunks, answers)
        # That a filter may be repeated is documented for all lists together, but not for this one.
        singles = [one for one in failed if one not in dlq_messages and one not in left]
        if singles:
            now = singles[:_MAX_SINGLE_DLQ]
            answers = yield [_list_dlq([one]) for one in now]
            dlq_messages |= _by_message(answers)
            left += _refused([[one] for one in now], answers)
        # The next poll reads them: a refused request says nothing about the DLQ message. After a second one
        # the failure is told without it: a deadline may come before QStash lets the request through.
        once = [one for one in left if one not in self._refused]
        self._refused.update(left)
        for one in [*once, *singles[_MAX_SINGLE_DLQ:]]:
            del results[one]
        for one, dlq_message in dlq_messages.items():
            # A failure counts without its DLQ message too, which may have been deleted.
            if one in self._seen:
                self._seen[one] = self._seen[one].with_dlq_message(dlq_message)
                results[one] = snapshot_of(self._seen[one])


def _is_enough(ids: Sequence[str], newest_first: Sequence[LogEntry], *, all_steps: bool) -> bool:
    """Whether a further page would bring nothing that matters now."""
    newest: dict[str, LogEntry] = {}
    for entry in newest_first:
        newest.setdefault(entry.message_id, entry)
    if not all_steps:
        return newest.keys() >= set(ids) or any(entry.state.is_terminal for entry in newest_first)
    # A step of the same millisecond as the page's last may follow on the next page, and be terminal.
    last = newest_first[-1].time
    return all(one in newest and newest[one].time != last for one in ids)


def _filters(ids: Sequence[str], known: Mapping[str, str]) -> Filters:
    return filters_of({"message_ids": ids}, known)


def _list_dlq(ids: Sequence[str]) -> Operation[Page[DlqMessage]]:
    return v2.list_dlq_messages(_filters(ids, DLQ_FILTERS), page_size=len(ids))


def _by_message(answers: Sequence[Any]) -> dict[str, DlqMessage]:
    pages = [answer for answer in answers if not isinstance(answer, RemoteTaskError)]
    return {dlq_message.message_id: dlq_message for page in pages for dlq_message in page.items}


def _refused(chunks: Sequence[Sequence[str]], answers: Sequence[Any]) -> list[str]:
    """Return the messages whose request was refused to keep the rate limit."""
    pairs = zip(chunks, answers, strict=True)
    return [one for chunk, answer in pairs if isinstance(answer, RateLimitedError) for one in chunk]


def _has_failed(result: PollResult) -> bool:
    return isinstance(result, TaskSnapshot) and result.state is TaskState.FAILED


def _not_found(message_id: str) -> NotFoundError:
    return NotFoundError(
        f"the logs have no entry of message {message_id}",
        status_code=404,
        endpoint="QStash GET /v2/logs",
        hint="Logs lag behind by up to a minute, and are kept for 3 to 14 days, by plan. Is the id right, "
        "and does the message belong to the region of the connection's host?",
    )
