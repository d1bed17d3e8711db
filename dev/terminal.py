"""What every command of this package needs from a terminal: prompt output, and an exit that cleans up."""

from __future__ import annotations

import signal
from typing import NoReturn


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def leave_through_cleanup() -> None:
    """Let every usual way to stop a command (Ctrl-C, termination, a closed terminal) raise KeyboardInterrupt.

    SIGINT too, because a shell that starts a command in the background sets it to be ignored.
    """

    def interrupt(number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
