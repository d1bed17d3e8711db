"""The command ``remote-tasks-sandbox``, also ``python -m remote_tasks_sandbox``: serve until a signal."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from remote_tasks_sandbox.control import connection_strings
from remote_tasks_sandbox.server import SandboxServer

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="remote-tasks-sandbox",
        description="Serve local stand-ins for the Manus and QStash APIs: no key, no credits, no network.",
    )
    parser.add_argument("--port", type=int, default=8099, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument("--seed-demo", action="store_true", help="add a few tasks to try it with")
    seconds = "how long the demo tasks take (default: %(default)s)"
    parser.add_argument("--seed-seconds", type=float, default=20.0, metavar="S", help=seconds)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM.

    :param argv: command-line arguments; default those of the process
    :returns: the exit status: 0 after a signal, 2 when it could not start
    """
    arguments = _parser().parse_args(argv)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        server = SandboxServer(
            arguments.port, arguments.seed_demo, host=arguments.host, seed_seconds=arguments.seed_seconds
        )
        server.start()
    except (OSError, OverflowError, ValueError) as error:
        print(f"The sandbox did not start on {arguments.host}:{arguments.port}: {error}", file=sys.stderr)
        return 2
    print(f"Sandbox for Manus and QStash: {server.url}  (Ctrl+C stops it)\n")
    for line in connection_strings(server.sandbox):
        print(f"export {line}")
    sys.stdout.flush()
    stopped.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
