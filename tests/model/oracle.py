"""What may be paid again. Pure: from what the service's own books and Airflow say, never from the provider.

Everything else in this folder makes histories; this module says which of them are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DEDUPLICATED_FOR", "Asked", "Earlier", "why_not_pay", "why_not_send"]

DEDUPLICATED_FOR = 600.0
"""Seconds for which QStash remembers a deduplication id."""


@dataclass(frozen=True)
class Earlier:
    """A remote task that the same task instance has paid for before.

    :param is_over: its outcome was told (the result returned, or its failure named), or a person was asked to
        judge; and a user has cleared the Airflow task since.
    :param was_cleared: a user has cleared the Airflow task since it was submitted, while that was not
        running, or has dropped its state with it.
    :param was_stopped: this side has stopped it.
    :param end: ``completed``, ``failed`` (also: cancelled), or nothing while it is at work.
    :param exists: the service still knows it.
    :param is_recorded: a record names it.
    :param inputs: what it was asked for.
    :param may_be_stopped: a user, or the death of a worker, has ended an attempt after it had left the wait
        to a trigger, or in that moment; the trigger stops the task if it was a user.
    :param age: seconds since it was submitted.
    :param was_replaced: another was rightly paid for since.
    """

    task_id: str
    is_over: bool
    was_cleared: bool
    was_stopped: bool
    end: str
    exists: bool
    is_recorded: bool
    inputs: tuple[str, ...]
    age: float
    may_be_stopped: bool = False
    was_replaced: bool = False


@dataclass(frozen=True)
class Asked:
    """What is asked for now, and what the user has decided for such cases.

    :param has_records: whether Airflow has kept all records.
    :param has_tags: whether the service lets a task be found whatever its inputs were.
    """

    inputs: tuple[str, ...]
    on_stale_state: str
    on_orphaned_intent: str
    has_records: bool
    has_tags: bool


def why_not_pay(earlier: Sequence[Earlier], asked: Asked) -> str | None:
    """Return why a Manus task must not be paid for, or ``None`` if it may be.

    A task instance pays once. It may pay again only if each of its earlier tasks is one of these:

    1. *Over*: its outcome was told, or a person was asked to judge, and a user has cleared the Airflow task
       since. A clear without either is no licence: a task at work goes on, a finished one is handed over.
    2. *Stopped* by this side, at a kill, a timeout or for a restart, even if it had finished just before.
    3. *Gone*: the service no longer knows it.
    4. *Useless*: it has failed, or has completed for other inputs, and a user has cleared the Airflow task.
    5. *Restarted*: the inputs are others now, and ``on_stale_state`` is ``restart``.
    6. *Lost*: no record names it, and ``on_orphaned_intent`` is ``start``.
    7. *Perhaps delivered*, as documented: it has completed, a user has cleared the Airflow task, and Airflow
       has no record of it, so that nobody knows whether the result was handed over before. With a record,
       this is so only where the worker died in the moment of the delivery, which counts as *over*.
    8. *Untraceable*, as documented: no record names it, the service shows no tag, and the prompt has changed,
       so that nothing in the world connects it with this task instance.
    9. *Perhaps stopped*, as documented: it has completed, a user has cleared the Airflow task, and a trigger
       may have stopped it, which Manus does not show.
    10. *Replaced*: another was rightly paid for since; what made that right, such as other inputs, may have
        passed by now.
    """
    blocking = (one for one in earlier if not _is_no_obstacle(one, asked))
    return next(
        (
            f"{one.task_id} was paid {one.age:.0f} s before, and its outcome is still to be told"
            for one in blocking
        ),
        None,
    )


def _is_no_obstacle(one: Earlier, asked: Asked) -> bool:
    is_same = one.inputs == asked.inputs
    return (
        one.is_over
        or one.was_stopped
        or one.was_replaced
        or not one.exists
        or (one.was_cleared and (one.end == "failed" or (one.end == "completed" and not is_same)))
        or (one.was_cleared and one.end == "completed" and one.may_be_stopped)
        or (not is_same and asked.on_stale_state == "restart")
        or (not one.is_recorded and asked.on_orphaned_intent == "start")
        or (not one.is_recorded and one.was_cleared and one.end == "completed" and not asked.has_records)
        or (not one.is_recorded and not (asked.has_records or asked.has_tags or is_same))
    )


def why_not_send(earlier: Sequence[Earlier], *, has_records: bool) -> str | None:
    """Return why a QStash message must not be sent, or ``None`` if it may be.

    A task instance sends one message. It may send another only if each of its earlier ones is one of these:

    1. *Cleared*: a user has cleared the Airflow task since. A cleared task sends its message again. One that
       was running does so only if the user has dropped its state, too.
    2. *Forgotten*, as documented: QStash forgets a deduplication id after ten minutes, and Airflow has kept
       no record.
    3. *Stopped* by this side.
    """
    for one in earlier:
        is_forgotten = not has_records and one.age >= DEDUPLICATED_FOR
        if not (one.was_cleared or is_forgotten or one.was_stopped):
            return f"{one.task_id} was sent {one.age:.0f} s before for the same run of the task"
    return None
