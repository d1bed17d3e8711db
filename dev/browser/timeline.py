"""The timeline of a newcomer's first hour: what happened when, and which promises were broken."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from playwright.sync_api import Error as BrowserError

from dev.airflow.client import AirflowApiError
from dev.airflow.standalone import clean_environment
from dev.browser.pages import BrokenPromiseError
from dev.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Seconds for a command of the pages, the first of which builds the environment.
MOST_COMMAND_SECONDS = 1800.0
#: Seconds for what Ctrl-C stops.
MOST_STOPPING_SECONDS = 120.0


class Timeline:
    """Prints what happened, with the minutes and seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.broken: list[str] = []

    def note(self, what: str) -> None:
        """Print a line."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        say(f"{minutes:3d}:{seconds:02d}  {what}")

    def expect(self, holds: object, what: str) -> None:
        """Print a line; remember a promise that was broken, so that all of them come to light."""
        self.note(what if holds else f"BROKEN  {what}")
        if not holds:
            self.broken.append(what)

    def expect_within(self, most: float, took: float, what: str) -> None:
        """Like :meth:`expect`, for a promise about seconds, which is made for an idle machine."""
        if took > most and not is_quiet():
            self.note(f"{what}; slower than {most:g} s, on a busy machine (load {os.getloadavg()[0]:.1f})")
        else:
            self.expect(took <= most, what if took <= most else f"{what}; slower than {most:g} s")

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Follow one step of a page: when it fails, the next one is followed all the same."""
        try:
            yield
        except (BrokenPromiseError, TimeoutError, BrowserError, AirflowApiError) as error:
            self.expect(False, f"{what}: {error}")


def is_quiet() -> bool:
    """Return whether the processors have kept up with what this machine had to do in the last minute."""
    return os.getloadavg()[0] <= (os.cpu_count() or 1)


def environment(**more: str) -> dict[str, str]:
    """Return the variables of a person's shell: those of this process without what its make has set."""
    made = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
    return {name: value for name, value in clean_environment().items() if name not in made} | more


def run(command: str, folder: Path, **variables: str) -> str:
    """Run a command of a page; return what it printed.

    :raises BrokenPromiseError: when it fails.
    """
    answer = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment(**variables),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=MOST_COMMAND_SECONDS,
        check=False,
    )
    if answer.returncode:
        raise BrokenPromiseError(f"{command} failed:\n{answer.stdout[-3000:]}")
    return answer.stdout


class Served:
    """A command that serves until Ctrl-C.

    :param output: a file for what it prints.
    """

    def __init__(self, command: str, process: subprocess.Popen[bytes], output: Path) -> None:
        self._command = command
        self._process = process
        self._output = output

    def printed(self) -> str:
        """Return what it has printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def check_alive(self) -> None:
        """Raise if it has exited.

        :raises BrokenPromiseError: if it has; with the last of what it printed.
        """
        if self._process.poll() is not None:
            raise BrokenPromiseError(f"{self._command} exited:\n{self.printed()[-3000:]}")


@contextlib.contextmanager
def serving(
    command: str, folder: Path, output: Path, *, ctrl_c: bool = True, **variables: str
) -> Iterator[Served]:
    """Run a command of a page that serves, and stop it.

    :param ctrl_c: interrupt all its processes, as Ctrl-C in its terminal does. Otherwise only the first one,
        which the command has to be then (``exec``).
    :raises BrokenPromiseError: if it does not stop.
    """
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command,
            shell=True,
            cwd=folder,
            env=environment(**variables),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Served(command, process, output)
    finally:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if ctrl_c else os.kill)(process.pid, signal.SIGINT)
        try:
            process.wait(MOST_STOPPING_SECONDS)
        except subprocess.TimeoutExpired as late:
            raise BrokenPromiseError(f"{command} did not stop in {MOST_STOPPING_SECONDS:g} s") from late
        finally:
            # What a shell in between has left behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
