"""Random trouble: faults of the sandbox that come and go, and keys that change."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dev.soak.waits import Waits
from remote_tasks_sandbox import Sandbox

#: Kinds of the sandbox with their options; each on the calls of one service.
FAULTS: list[tuple[str, dict[str, object]]] = [
    ("status", {"status": 429}),
    ("status", {"status": 429, "headers": {"Retry-After": "4"}}),
    ("status", {"status": 500}),
    ("status", {"status": 503}),
    ("hang", {"seconds": 8.0}),
    ("drop_before", {}),
    ("drop_after", {}),
    ("garbage", {"form": "html"}),
    ("garbage", {"form": "truncated"}),
    ("garbage", {"form": "list"}),
    ("redirect", {"times": 1}),
    ("repeat_cursor", {}),
]
#: Faults that concern one task that is waited for.
SINGLE = ("hide", "omit")


@dataclass
class Trouble:
    """Makes one kind of trouble after the other, and at times two at once.

    :param lasts: the shortest and the longest time that trouble lasts; seconds.
    :param reconnect: gives the triggerers the connections as they are now.
    """

    sandbox: Sandbox
    waits: Waits
    chance: random.Random
    lasts: tuple[float, float]
    reconnect: Callable[[], None]
    history: list[str] = field(default_factory=list)
    _until: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    _next: float = 0.0
    _began: float = field(default_factory=time.time)
    _keys: int = 0

    def step(self) -> None:
        """End what has lasted long enough, and begin something new when it is time to."""
        now = time.time()
        for due in [entry for entry in self._until if entry[0] <= now]:
            self._until.remove(due)
            due[1]()
        if now < self._next or len(self._until) > 1:
            return
        lasts = self.chance.uniform(*self.lasts)
        self._next = now + lasts * self.chance.uniform(0.5, 2)
        what, end = self._begin()
        self._until.append((now + lasts, end))
        self.note(f"{what} for {lasts:.0f} s")

    def note(self, what: str) -> None:
        """Remember what happened when."""
        self.history.append(f"{time.time() - self._began:6.1f} s  {what}")

    def stop(self) -> None:
        """End all trouble."""
        for _, end in self._until:
            end()
        self._until.clear()

    def _begin(self) -> tuple[str, Callable[[], object]]:
        kind = self.chance.randrange(10)
        if kind == 0:
            return self._wrong_key()
        if kind == 1:
            return self._new_key()
        if kind < 4 and self.waits.open:
            wait = self.chance.choice(list(self.waits.open.values()))
            name = self.chance.choice(SINGLE)
            return f"{name} {wait.task_id}", self._add(name, "*", {"task_id": wait.task_id})
        name, options = self.chance.choice(FAULTS)
        path = self.chance.choice(("/manus/*", "/manus/*", "/qstash/*"))
        return f"{name} {options} on {path}", self._add(name, path, options)

    def _add(self, kind: str, path: str, options: dict[str, object]) -> Callable[[], object]:
        fault = self.sandbox.faults.add(kind, path, **options)  # type: ignore[arg-type]  # of each kind its own
        return lambda: self.sandbox.faults.remove(fault)

    def _wrong_key(self) -> tuple[str, Callable[[], object]]:
        # Two troubles with the key would each bring back a key of their own.
        self.stop()
        key = self.sandbox.settings.manus_key
        self._change_key("sk-nobody-has-this-one")
        return "the Manus key is refused", lambda: self._change_key(key)

    def _new_key(self) -> tuple[str, Callable[[], object]]:
        self._keys += 1
        self.stop()
        self._change_key(f"sk-soak-{self._keys}")
        return "the Manus key has changed, the connection has not", self.reconnect

    def _change_key(self, key: str) -> None:
        self.sandbox.settings.update({"manus_key": key})
