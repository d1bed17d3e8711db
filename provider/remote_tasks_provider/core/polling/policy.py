"""How a wait polls: the interval, the deadlines and what ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from remote_tasks_provider.core import validation

__all__ = ["ON_WAITING", "OnWaiting", "PollPolicy"]

OnWaiting = Literal["wait", "return", "fail"]
ON_WAITING: tuple[OnWaiting, ...] = ("wait", "return", "fail")


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """How a wait is to be done; plain JSON values, as it travels to the triggerer.

    :param started_at: when the first attempt began; Unix seconds.
    :param interval: seconds between looks.
    :param deadline: when to give up; Unix seconds, ``None`` for never.
    :param execution_deadline: when Airflow's ``execution_timeout`` ends this attempt, likewise.
    :param on_waiting: what to do with a task that waits for a person: ``wait`` on, ``return`` it, or
        ``fail``.
    :param max_failures: failed looks in a row at which a wait gives up.
    :param not_found_grace: seconds for which a 404 must stand to be believed; fresh tasks answer 404 for a
        while.
    :param max_interval: when set, pauses grow with the time waited, from ``interval`` up to this.
    :param max_credits: what a task may cost; one that is still at work and has cost more ends the wait.
    """

    started_at: float
    interval: float
    deadline: float | None = None
    execution_deadline: float | None = None
    on_waiting: OnWaiting = "wait"
    max_failures: int = 5
    not_found_grace: float = 90.0
    max_interval: float | None = None
    max_credits: int | None = None

    def __post_init__(self) -> None:
        validation.choice(self.on_waiting, "on_waiting", ON_WAITING)
        validation.whole_number(self.max_failures, "max_poll_failures", least=1)
        if self.max_credits is not None:
            validation.whole_number(self.max_credits, "max_credits", least=1)
        if self.interval < 0 or self.not_found_grace < 0:
            raise ValueError(
                f"poll_interval ({self.interval}) and not_found_grace ({self.not_found_grace}) are seconds "
                "and cannot be negative"
            )
