"""What becomes of QStash messages: attempts, retries, callbacks, the dead letter queue, cancellation.

Time takes its effect when a request comes: :meth:`QStashEngine.settle` does all that is due, in its order and
each thing at its own time. Only for messages to real destinations does a thread do so by itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from remote_tasks_sandbox.calls import Refused
from remote_tasks_sandbox.delivery import Agenda, Pump, Response, can_reach
from remote_tasks_sandbox.qstash.destinations import DEFAULT_LATENCY, DeliveryPlans
from remote_tasks_sandbox.qstash.message import (
    Delivery,
    DlqMessage,
    Gate,
    Log,
    Message,
    milliseconds,
)
from remote_tasks_sandbox.qstash.options import PLANS, FlowControl, PublishOptions
from remote_tasks_sandbox.qstash.outgoing import Outgoing
from remote_tasks_sandbox.qstash.parsing import retry_delay_seconds
from remote_tasks_sandbox.qstash.settings import QStashSettings
from remote_tasks_sandbox.qstash.wire import callback_body, delivered_headers
from remote_tasks_sandbox.tasks import random_id
from remote_tasks_sandbox.vendor import Context

__all__ = ["QStashEngine"]

_MOST_DELAY = 86400.0
_WAIT_HEADERS = (
    *("retry-after", "x-ratelimit-reset"),
    *("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"),
)


class QStashEngine:
    """All messages and what moves them; the caller holds the lock.

    :param context: its lock is taken by the threads of real deliveries
    """

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._lock = context.lock
        self._settings: QStashSettings = context.settings
        self._agenda = Agenda(context.clock)
        self._outgoing = Outgoing(context, self)
        self._pump = Pump(self._pumped)
        #: What a thread settles, because it leads to a real destination.
        self.real: set[str] = set()
        self.messages: dict[str, Message] = {}
        self.dlq_messages: dict[str, DlqMessage] = {}
        self.queues: dict[str, Gate] = {}
        self.flows: dict[str, Gate] = {}
        self.deliveries: list[Delivery] = []
        self.plans = DeliveryPlans()
        self.log = Log()

    def now(self) -> float:
        """Return sandbox time, unix seconds."""
        return self._clock.now()

    def settle(self) -> None:
        """Do everything that is due."""
        self._agenda.settle()

    def later(self, at: float, action: Callable[[float], None]) -> None:
        """Do something at a time, in unix seconds."""
        self._agenda.later(at, action)

    def clear(self) -> None:
        """Forget everything; attempts under way find their message gone."""
        for kept in (self._agenda, self.real, self.messages, self.dlq_messages, self.queues, self.flows):
            kept.clear()
        self._outgoing.clear()
        self.deliveries.clear()
        self.plans.clear()
        self.log.clear()

    def accept(self, options: PublishOptions, at: float, *, cause: Message | None = None) -> Message:
        """Take a message in.

        :param cause: the message it calls back for
        """
        first_at = float(options.not_before) if options.not_before is not None else at + options.delay
        message = Message(random_id(63, "msg_"), options, at, first_at, cause=cause)
        self.messages[message.id] = message
        self.log.add(message, "CREATED", at)
        if options.queue:
            self.queue(options.queue, at)
        if options.flow:
            self._flow(options.flow, at)
        if self.leads_out(options):
            self.watch(message.id)
        self._when(message, max(at, first_at), self._begin)
        return message

    def add_scripted(self, message: Message, script: Iterable[tuple[str, float | None]], at: float) -> None:
        """Let a message follow a script from ``at`` on, whatever else was to become of it."""
        self.messages[message.id] = message
        message.version += 1
        message.attempting = message.cancel_requested = False
        message.script = deque(script)
        self._leave(message, at, finished=True)
        self._take_step(message, at)

    def leads_out(self, options: PublishOptions) -> bool:
        """Whether a message or one of its callbacks goes to a real destination."""
        return any(
            one is not None and self._is_real(one.url)
            for one in (options, options.callback, options.failure_callback)
        )

    def watch(self, name: str) -> None:
        """Let a thread settle what is due, as long as ``name`` stays in :attr:`real`."""
        self.real.add(name)
        self._pump.wake()

    def queue(self, name: str, at: float) -> Gate:
        """Return a queue, which comes into being when it is first named."""
        if name not in self.queues:
            self.queues[name] = Gate(name, at, at, parallelism=1, until_finished=True)
        return self.queues[name]

    def _flow(self, flow: FlowControl, at: float) -> None:
        gate = self.flows.setdefault(flow.key, Gate(flow.key, at, at, period_began=at))
        if not gate.pinned_parallelism:
            gate.parallelism = flow.parallelism
        if not gate.pinned_rate:
            gate.rate, gate.period = flow.rate, flow.period
        gate.updated_at = at

    def _is_real(self, url: str) -> bool:
        return self._settings.qstash_deliver and can_reach(url) and self.plans.find(url) is None

    def _when(self, message: Message, at: float, step: Callable[[Message, float], None]) -> None:
        """Take a step with a message later, unless something else becomes of it first."""
        version = message.version
        message.next_at = at

        def take(when: float) -> None:
            if message.version == version and self.messages.get(message.id) is message:
                message.next_at = None
                step(message, when)

        self.later(at, take)

    def _begin(self, message: Message, at: float) -> None:
        if message.cancel_requested:
            self._cancelled(message, at)
            return
        gates = self._gates(message)
        for gate in gates:
            if not gate.admits(message, at):
                gate.line.setdefault(message.id, message)
                self._open_at_next_period(gate, at)
                return
        for gate in gates:
            gate.enter(message, at)
        self._attempt(message, at)

    def _attempt(self, message: Message, at: float) -> None:
        options = message.options
        self.log.add(message, "ACTIVE", at)
        message.attempting = True
        limit = float(options.timeout or PLANS[self._settings.qstash_plan].timeout)
        headers = delivered_headers(message, self._settings.region)
        if self._is_real(options.url):
            version = message.version
            self._outgoing.go(
                message, headers, limit, lambda response: self._returned(message, version, headers, response)
            )
            return
        plan = self.plans.find(options.url)
        response, latency = plan.attempt(message.retried) if plan else (Response(200), DEFAULT_LATENCY)
        if latency > limit:
            response, latency = Response(0, error="timeout"), limit
        self._when(
            message, at + latency, lambda one, when: self._answered(one, response, when, headers, real=False)
        )

    def _returned(self, message: Message, version: int, headers: dict[str, str], response: Response) -> None:
        """Note what came of a real attempt; runs in a thread of the courier's."""
        with self._lock:
            self.settle()
            if self.messages.get(message.id) is message and message.version == version:
                self._answered(message, response, self._clock.now(), headers, real=True)

    def _answered(
        self, message: Message, response: Response, at: float, headers: dict[str, str], *, real: bool
    ) -> None:
        options = message.options
        message.attempting = False
        message.response = response
        self.deliveries.append(
            Delivery(
                *(message.id, options.url, options.method, options.body, headers),
                *(message.retried, response.status, real, at),
            )
        )
        if response.ok:
            self.log.add(message, "DELIVERED", at)
            self._call_back(message, response, at, options.callback)
            self._end(message, at)
        else:
            self._attempt_failed(message, response, at)

    def _attempt_failed(self, message: Message, response: Response, at: float) -> None:
        exhausted = _is_final(response) or message.retried >= message.options.max_retries
        going_on = not exhausted and not message.cancel_requested
        again = at + self._retry_delay(message, response) if going_on else None
        self.log.add(message, "ERROR", at, error=response.reason, next_at=again, response=response)
        self._call_back(message, response, at, message.options.callback)
        if exhausted:
            self._fail(message, response, at)
        elif again is None:
            self._cancelled(message, at)
        else:
            message.retried += 1
            self.log.add(message, "RETRY", at, next_at=again)
            self._leave(message, at, finished=False)
            self._when(message, again, self._begin)

    def _retry_delay(self, message: Message, response: Response) -> float:
        headers = {name.lower(): value for name, value in response.headers.items()}
        for name in _WAIT_HEADERS:
            if headers.get(name, "").isdecimal():
                return min(float(headers[name]), _MOST_DELAY)
        if message.options.retry_delay is not None:
            try:
                return min(retry_delay_seconds(message.options.retry_delay, message.retried), _MOST_DELAY)
            except Refused:
                pass  # It came to something for the first retry, so QStash took it, but not for this one.
        if self._settings.qstash_retry_seconds is not None:
            return self._settings.qstash_retry_seconds
        return min(_MOST_DELAY, math.exp(2.5 * (message.retried + 1)))

    def _call_back(
        self,
        message: Message,
        response: Response,
        at: float,
        to: PublishOptions | None,
        dlq_message: DlqMessage | None = None,
    ) -> None:
        if to is None:
            return
        body = callback_body(message, response, dlq_message)
        headers = {"content-type": "application/json", **to.headers}
        message.callbacks += 1
        self.accept(replace(to, body=body, headers=headers), at, cause=message)

    def _fail(self, message: Message, response: Response, at: float) -> None:
        self.log.add(message, "FAILED", at)
        dlq_message = self._bury(message, response, at)
        self._call_back(message, response, at, message.options.failure_callback, dlq_message)
        self._end(message, at)

    def _bury(self, message: Message, response: Response, at: float) -> DlqMessage:
        number = 0
        while (dlq_id := f"{milliseconds(at)}-{number}") in self.dlq_messages:
            number += 1
        dlq_message = self.dlq_messages[dlq_id] = DlqMessage(dlq_id, message, milliseconds(at), response)
        return dlq_message

    def cancel(self, message: Message, at: float) -> bool:
        """Ask for a message to be cancelled; ``False`` when it is finished or that was asked before."""
        if message.finished or message.cancel_requested:
            return False
        message.cancel_requested = True
        self.log.add(message, "CANCEL_REQUESTED", at)
        if message.attempting:
            return True
        wait = self._settings.qstash_cancel_seconds
        if wait is None:
            # At the next attempt, which is when a scripted message takes its next step.
            if message.next_at is None:
                self._when(message, at, self._cancelled)
            return True
        message.version += 1
        self._when(message, at + wait, self._cancelled)
        self.settle()
        return True

    def _cancelled(self, message: Message, at: float) -> None:
        message.version += 1
        self.log.add(message, self._settings.qstash_cancelled_word, at)
        self._end(message, at)

    def _end(self, message: Message, at: float) -> None:
        self.real.discard(message.id)
        for gate in self._gates(message):
            gate.line.pop(message.id, None)
        self._leave(message, at, finished=message.callbacks == 0)
        cause = message.cause
        if cause is not None:
            # A test may give a callback a second end.
            cause.callbacks = max(cause.callbacks - 1, 0)
            if cause.finished and cause.callbacks == 0:
                self._leave(cause, at, finished=True)

    def open(self, gate: Gate, at: float) -> None:
        """Begin the messages that a queue or flow control held back and now admits."""
        for message in [one for one in gate.line.values() if one.id in gate.running]:
            self._begin(message, at)
        while gate.line:
            first = next(iter(gate.line.values()))
            if not gate.admits(first, at):
                self._open_at_next_period(gate, at)
                return
            self._begin(first, at)
            if first.id in gate.line:
                return

    def _gates(self, message: Message) -> list[Gate]:
        options = message.options
        found = [
            self.queues.get(options.queue or ""),
            self.flows.get(options.flow.key if options.flow else ""),
        ]
        return [gate for gate in found if gate is not None]

    def _leave(self, message: Message, at: float, *, finished: bool) -> None:
        for gate in self._gates(message):
            if finished or not gate.until_finished:
                gate.leave(message)
                self.open(gate, at)

    def _open_at_next_period(self, gate: Gate, at: float) -> None:
        opens = gate.opens_at(at)
        if opens is not None and not gate.paused:
            self.later(opens, lambda when: self.open(gate, when))

    def _take_step(self, message: Message, at: float) -> None:
        if message.cancel_requested:
            self._cancelled(message, at)
            return
        if not message.script:
            return
        word, seconds = message.script.popleft()
        state = word.upper()
        if state == "ACTIVE" and "ACTIVE" in (one.upper() for one in message.states):
            message.retried += 1
        response = message.scripted_response or Response(500)
        is_error = state == "ERROR"
        next_at = at + seconds if seconds is not None and state in ("ERROR", "RETRY") else None
        self.log.add(
            message,
            word,
            at,
            error=response.reason if is_error else None,
            next_at=next_at,
            response=response if is_error else None,
        )
        if state == "FAILED":
            self._bury(message, response, at)
        if message.finished:
            self._end(message, at)
        if seconds is not None and message.script:
            self._when(message, at + seconds, self._take_step)

    def _pumped(self) -> bool:
        with self._lock:
            self.settle()
            return bool(self.real)


def _is_final(response: Response) -> bool:
    """Whether the destination forbade another attempt."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return response.status == 489 and headers.get("upstash-nonretryable-error", "").lower() == "true"
