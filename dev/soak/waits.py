"""The waits of the soak: what each waits for, and whether it told what the sandbox says of its task."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field
from typing import Any

from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from remote_tasks_provider.qstash.triggers import QStashMessageTrigger
from remote_tasks_sandbox import Sandbox

#: Seconds after its deadline by which a wait must have ended.
LATEST = 10.0
#: Of a hundred waits.
DEADLINES, ENDLESS, QSTASH, V2, FAILING, IN_DETAIL = 15, 2, 20, 10, 15, 15


@dataclass
class Wait:
    """One wait, and what is true of its task.

    :param ends_at: when its task finishes, Unix seconds; infinity if it never does.
    :param state: the state that its task finishes in.
    :param trigger: the trigger as Airflow stores it.
    """

    id: str
    triggerer: int
    task_id: str
    ends_at: float
    state: str
    deadline: float | None
    trigger: tuple[str, dict[str, Any]]

    def judge(self, message: dict[str, Any], excused_until: float) -> tuple[str, str]:
        """Return a verdict, and what was told.

        :param excused_until: until when its triggerer was down; a deadline could not be kept before.
        :returns: ``told``, ``timed out``, ``late`` or ``wrong``.
        """
        event, at = message.get("event"), message["at"]
        if event is None:
            return "wrong", f"ended without an event: {message.get('raised')}"
        if event["errors"]:
            return "wrong", f"was given up: {event['errors']}"
        record = event["records"][self.task_id]
        what = f"told {record and record['state']}, timed out: {event['timed_out']}"
        if event["timed_out"]:
            if self.deadline is None or at < self.deadline - 0.1:
                return "wrong", what
            late = at - max(self.deadline, excused_until)
            return ("late", f"{what}, {late:.0f} s late") if late > LATEST else ("timed out", what)
        right = record is not None and record["state"] == self.state and at >= self.ends_at
        if right and self.deadline is not None and at > max(self.deadline, excused_until) + LATEST:
            return "late", what
        return ("told" if right else "wrong"), what


@dataclass
class Waits:
    """All waits of a run.

    :param lengths: the shortest and the longest time that a task runs; seconds.
    """

    sandbox: Sandbox
    chance: random.Random
    lengths: tuple[float, float]
    interval: float
    open: dict[str, Wait] = field(default_factory=dict)
    started: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    #: Deadlines that came although the task had finished: seconds since it had.
    unseen: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def of(self, triggerer: int) -> list[Wait]:
        """Return the open waits of a triggerer."""
        return [wait for wait in self.open.values() if wait.triggerer == triggerer]

    def start(self, triggerer: int, *, for_ever: bool = False) -> Wait:
        """Add a task or message to the sandbox and return a wait for it.

        :param for_ever: a wait that never ends, to be cancelled.
        """
        chance, now = self.chance, time.time()
        endless = for_ever or chance.randrange(100) < ENDLESS
        limited = not for_ever and (endless or chance.randrange(100) < DEADLINES)
        runs_for = math.inf if endless else chance.uniform(*self.lengths)
        failing = chance.randrange(100) < FAILING
        deadline = now + chance.uniform(*self.lengths) if limited else None
        trigger: RemoteTaskTrigger
        if (kind := chance.randrange(100)) < QSTASH:
            steps = [("CREATED", 0.5), ("ACTIVE", None if endless else runs_for - 0.5)]
            end = [] if endless else [("FAILED" if failing else "DELIVERED", None)]
            task_id = self.sandbox.qstash.add_message(script=[*steps, *end])
            trigger = QStashMessageTrigger("soak_qstash", [task_id], self.interval)
        else:
            steps = [("running", None if endless else runs_for)]
            end = [] if endless else [("failed" if failing else "completed", None)]
            task_id = self.sandbox.manus.add_task(script=[*steps, *end], title=f"Wait {self.started}")
            conn_id = "soak_manus_v2" if kind < QSTASH + V2 else "soak_manus"
            trigger = ManusTaskTrigger(conn_id, [task_id], self.interval)
            # Each costs a call when its task has finished: more of them than the vendor's limit lets through
            # would be late in any case. An operator's wait, which needs none, is the usual one.
            trigger.in_detail = chance.randrange(100) < IN_DETAIL
        trigger.started_at, trigger.deadline = now, deadline
        self.started += 1
        state = "failed" if failing else "completed"
        wait = Wait(
            str(self.started), triggerer, task_id, now + runs_for, state, deadline, trigger.serialize()
        )
        self.open[wait.id] = wait
        return wait

    def end(self, message: dict[str, Any], excused_until: float) -> None:
        """Take what a wait told."""
        wait = self.open.pop(message["told"], None)
        if wait is None:
            verdict, what = "wrong", "told twice"
        else:
            verdict, what = wait.judge(message, excused_until)
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
        if wait is not None and verdict == "told":
            self.delays.append(message["at"] - wait.ends_at)
        if wait is not None and verdict == "timed out" and wait.ends_at < message["at"]:
            self.unseen.append(message["at"] - wait.ends_at)
        if verdict in ("wrong", "late"):
            self.faults.append(f"{verdict}: {what}; {wait or message}")

    def lost(self) -> list[Wait]:
        """Return the waits that should have ended and have not."""
        now = time.time()
        return [wait for wait in self.open.values() if min(wait.ends_at, wait.deadline or math.inf) < now]
