"""Measured processes: each in a session of its own, with lines of JSON as messages, stopped by process id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from dev.airflow.standalone import clean_environment

ROOT = Path(__file__).resolve().parents[2]


class ChildError(RuntimeError):
    """A measured process failed or took too long; the message ends with what it printed last."""


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a measured process: an Airflow home without examples, and ``variables``."""
    home = os.environ.get("AIRFLOW_HOME", tempfile.gettempdir())
    return {
        **clean_environment(),
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(ROOT),
        **variables,
    }


class Child:
    """``python -m <module> <argument>``, running for a `with` block.

    :param argument: JSON; the module reads it as :attr:`Channel.argument`.
    :param variables: environment variables, such as connections.
    :param within: seconds after which the process is killed.
    """

    def __init__(
        self, module: str, argument: Any, variables: Mapping[str, str] | None = None, within: float = 60
    ) -> None:
        self._what = f"{module} {json.dumps(argument)}"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(argument)],
            cwd=ROOT,
            env=environment(variables or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            text=True,
        )
        self._watchdog = threading.Timer(within, self.kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    def send(self, message: Any) -> None:
        """Send one message; the module reads it with :meth:`Channel.receive`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ChildError(self._exit_report()) from None

    def receive(self) -> Any:
        """Return the next message of the process.

        :raises ChildError: when it exited without one.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ChildError(self._exit_report())
        return json.loads(line)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watchdog.cancel()
        self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def kill(self) -> None:
        """Kill the process and its children; what it has sent can still be received."""
        # The session's id is the process's own, and stays so until it has been waited for.
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=5)

    def _exit_report(self) -> str:
        self._process.wait(timeout=5)
        self._errors.seek(0)
        last = "\n".join(self._errors.read().decode(errors="replace").splitlines()[-20:])
        return f"{self._what} exited with {self._process.returncode} and no result\n{last}"


def ask(module: str, argument: Any, variables: Mapping[str, str] | None = None, within: float = 60) -> Any:
    """Run a module that sends one message; return that message."""
    with Child(module, argument, variables, within) as child:
        return child.receive()


# ------------------------------------------------------------------------------- inside a measured process


class Channel:
    """The measured process's side: its ``argument``, and messages to and from the parent."""

    def __init__(self) -> None:
        self.argument = json.loads(sys.argv[1])
        # Output of a library must not be taken for a message.
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def send(self, message: Any) -> None:
        """Send one message to the parent."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()

    def receive(self) -> Any:
        """Return the parent's next message."""
        return json.loads(sys.stdin.readline())


class Memory:
    """Growth of this process's resident memory, in bytes."""

    def __init__(self) -> None:
        # Reset the peak: an import may have needed more memory than what is measured.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self.before = _status("VmRSS")

    def peak(self) -> int:
        """Return the largest growth since the object was made."""
        return max(0, _status("VmHWM") - self.before)


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"this system does not report a process's {name}")


@contextlib.contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Fill the dict it yields with ``wall`` and ``cpu`` seconds of the block."""
    figures: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield figures
    figures["wall"] = time.perf_counter() - wall
    figures["cpu"] = time.process_time() - cpu
