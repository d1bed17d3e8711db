"""Queues and flow control of the emulated QStash: what may hold a message back, and what releases it.

A message in a queue keeps its place until it and its callbacks have finished; one under flow control holds
it only while an attempt runs. Times are unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from remote_tasks_sandbox.qstash.message import Message

__all__ = ["Gate"]


@dataclass(eq=False)
class Gate:
    """A queue, or a key of flow control.

    :param parallelism: messages on their way at once; ``None`` for any number
    :param rate: attempts that may begin in one period; ``None`` for any number
    :param period: seconds
    :param until_finished: whether a message keeps its place between its attempts
    """

    name: str
    created_at: float
    updated_at: float
    parallelism: int | None = None
    rate: int | None = None
    period: int = 1
    paused: bool = False
    until_finished: bool = False
    pinned_parallelism: bool = False
    pinned_rate: bool = False
    period_began: float = 0.0
    begun: int = 0
    running: dict[str, Message] = field(default_factory=dict)
    #: Those that wait, in their order.
    line: dict[str, Message] = field(default_factory=dict)

    def admits(self, message: Message, at: float) -> bool:
        """Whether ``message`` may begin an attempt now."""
        if message.id in self.running:
            return not self.paused
        if self.paused or (self.parallelism is not None and len(self.running) >= self.parallelism):
            return False
        if self.line and next(iter(self.line)) != message.id:
            return False
        return self.rate is None or self._begun_in_period(at) < self.rate

    def enter(self, message: Message, at: float) -> None:
        """Let a message that is admitted begin."""
        self.line.pop(message.id, None)
        if message.id not in self.running:
            self._begun_in_period(at)
            self.begun += 1
        self.running[message.id] = message

    def leave(self, message: Message) -> None:
        """Take a message out, wherever it stands."""
        self.line.pop(message.id, None)
        self.running.pop(message.id, None)

    def opens_at(self, at: float) -> float | None:
        """Return when the rate lets the next one begin, or ``None`` when it holds nothing back."""
        if self.rate is None or self._begun_in_period(at) < self.rate:
            return None
        return self.period_began + self.period

    def reset_rate(self, at: float) -> None:
        """Begin a new period."""
        self.period_began, self.begun = at, 0

    def _begun_in_period(self, at: float) -> int:
        if at >= self.period_began + self.period:
            self.reset_rate(at)
        return self.begun
