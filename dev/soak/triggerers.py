"""The triggerer processes of the soak, seen from the parent: their waits, their figures, and their deaths."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.bench.processes import Child, ChildError
from dev.soak.waits import Wait
from remote_tasks_sandbox import SandboxServer

MODULE = "dev.soak.client"
#: Waits that one message starts.
BATCH = 50


def connections(server: SandboxServer) -> dict[str, str]:
    """Return the variables with which a triggerer reaches the sandbox by its present keys."""
    settings = server.sandbox.settings
    manus = {"conn_type": "manus", "host": server.manus_url, "password": settings.manus_key}
    qstash = {"conn_type": "qstash", "host": server.qstash_url, "password": settings.qstash_token}
    return {
        "AIRFLOW_CONN_SOAK_MANUS": json.dumps({**manus, "extra": {"api_version": "v1"}}),
        "AIRFLOW_CONN_SOAK_MANUS_V2": json.dumps({**manus, "extra": {"api_version": "v2"}}),
        "AIRFLOW_CONN_SOAK_QSTASH": json.dumps(qstash),
    }


@dataclass(frozen=True)
class Sample:
    """What a triggerer used at a moment.

    :param life: which process of the triggerer it was; a restart begins another.
    """

    at: float
    life: int
    memory: int
    files: int
    sockets: int


class Triggerer:
    """One triggerer, of which one process after the other may be alive.

    :param every: seconds between two samples.
    :param within: seconds after which a process is killed, should the parent fail to.
    :param told: called with each message of a wait that has ended, in the thread that calls :meth:`take`.
    :param logs: the folder that its log goes to; default nowhere.
    """

    def __init__(
        self, number: int, every: float, within: float, told: Callable[..., None], logs: Path | None = None
    ) -> None:
        self.number = number
        self.samples: list[Sample] = []
        self.stopped: dict[str, Any] | None = None
        self.lives = 0
        #: When the process that is alive was ready; infinity while none is.
        self.ready_at = float("inf")
        self.began_at = 0.0
        self.crashes: list[str] = []
        self._every, self._within, self._told = every, within, told
        self._log = "" if logs is None else str(logs / f"triggerer-{number + 1}.log")
        self._child: Child | None = None
        self._reader: threading.Thread | None = None
        self._messages: list[dict[str, Any]] = []

    def start(self, variables: dict[str, str]) -> None:
        """Start a process."""
        self.lives += 1
        self.began_at = time.time()
        self._child = child = Child(MODULE, {"every": self._every, "log": self._log}, variables, self._within)
        self._reader = threading.Thread(target=self._read, args=(child,), daemon=True)
        self._reader.start()

    def run(self, waits: list[Wait]) -> None:
        """Let the process run waits, from what Airflow would have stored of them."""
        for start in range(0, len(waits), BATCH):
            self._send({"run": [[wait.id, *wait.trigger] for wait in waits[start : start + BATCH]]})

    def reconnect(self, variables: dict[str, str]) -> None:
        """Give the process other connections."""
        self._send({"connections": variables})

    def stop(self) -> None:
        """Ask the process to cancel its waits and to say what is left; see :attr:`stopped`."""
        self._send({"stop": True})

    def kill(self) -> None:
        """Kill the process, and take what it has told before."""
        child, self._child = self._child, None
        if child is None or self._reader is None:
            return
        child.kill()
        self._reader.join(timeout=10)
        child.__exit__(None, None, None)
        self.take()
        self.ready_at = float("inf")

    @property
    def is_ready(self) -> bool:
        """Whether a process is alive and runs waits."""
        return self.ready_at < float("inf")

    def take(self) -> None:
        """Handle what the process has sent."""
        while self._messages:
            message = self._messages.pop(0)
            if "ready" in message:
                self.ready_at = time.time()
            elif "usage" in message:
                self.samples.append(Sample(message["at"], self.lives, **message["usage"]))
            elif "stopped" in message:
                self.stopped = message["stopped"]
            elif "told" in message:
                self._told(message, self.ready_at if self.lives > 1 and self.is_ready else 0.0)
            else:
                self.crashes.append(message["exited"])

    def _send(self, message: dict[str, Any]) -> None:
        if self._child is not None:
            self._child.send(message)

    def _read(self, child: Child) -> None:
        try:
            while True:
                self._messages.append(child.receive())
        except ValueError:  # a line that a kill has cut
            return
        except ChildError as error:
            if child is self._child and self.stopped is None:
                self._messages.append({"exited": str(error)})
