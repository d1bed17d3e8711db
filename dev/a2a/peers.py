"""Builds the environments of the agents, and runs the agents.

The SDK's versions exclude each other, and what they need is none of the provider's business. So each has an
environment below ``.venvs/``, which is built when it is first needed, from the same package index as all
others. The agents ``fasta2a`` and ``javascript`` are peers of ``make test-clients`` alone; the packages of
the last one are npm's, beside its program.
"""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from dev.clients import install, tools
from dev.environments import ROOT, uv

__all__ = ["Agent", "Version", "build"]

Version = Literal["1.x", "0.3", "fasta2a", "javascript"]

_PACKAGES: dict[Version, tuple[str, ...]] = {
    "1.x": ("a2a-sdk[http-server,sqlite]==1.3.0", "uvicorn==0.54.0"),
    "0.3": ("a2a-sdk[http-server,sqlite]==0.3.26", "uvicorn==0.54.0"),
    "fasta2a": ("fasta2a==2.1.1", "uvicorn==0.54.0"),
}
_FOLDER = Path(__file__).parent
_PROGRAMS: dict[Version, Path] = {
    "1.x": _FOLDER / "agent_v1.py",
    "0.3": _FOLDER / "agent_v03.py",
    "fasta2a": _FOLDER / "agent_fasta2a.py",
    "javascript": _FOLDER / "javascript" / "agent.mjs",
}
_START_ATTEMPTS = 120


def build(version: Version) -> Path:
    """Build the environment of an SDK unless it is there; return its Python, or Node.js."""
    if version == "javascript":
        node, npm = tools()
        install(npm, _PROGRAMS[version].parent)
        return Path(node)
    home = ROOT / ".venvs" / f"a2a-{version}"
    built = home / "built"
    wanted = "\n".join(_PACKAGES[version])
    home.parent.mkdir(exist_ok=True)
    with (home.parent / f"a2a-{version}.lock").open("w") as lock:
        # Test processes that start together build it once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.is_file() or built.read_text() != wanted:
            uv("venv", "--quiet", "--clear", "--python", sys.executable, home)
            uv("pip", "install", "--quiet", "--python", home / "bin" / "python", *_PACKAGES[version])
            built.write_text(wanted)
    return home / "bin" / "python"


class Agent:
    """An agent in a process of its own, on loopback; a context manager.

    The listening socket is this process's, so an agent that is killed and started again has the same address.

    :param own_group: give the process a process group of its own, which Ctrl-C in a terminal does not reach.
    :param options: see :mod:`.agent_v1`.
    """

    def __init__(
        self, version: Version = "1.x", port: int = 0, *, own_group: bool = False, **options: Any
    ) -> None:
        self._version: Version = version
        self._own_group = own_group
        self._options = options
        self._socket = socket.create_server(("127.0.0.1", port))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the agent
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Agent:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._socket.close()
        self._log.close()

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        fd = self._socket.fileno()
        options = {**self._options, "fd": fd, "port": self._socket.getsockname()[1]}
        self._log.seek(0)
        self._process = subprocess.Popen(
            [build(self._version), _PROGRAMS[self._version], json.dumps(options)],
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=self._own_group,
        )
        # The socket listens already: the request waits until the agent takes it.
        for _ in range(_START_ATTEMPTS):
            with suppress(TimeoutError):
                self.control("requests", timeout=1)
                return
            if self._process.poll() is not None:
                break
        self._log.seek(0)
        raise RuntimeError(f"The agent did not start:\n{self._log.read().decode()}")

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def control(self, path: str, body: Any = None, timeout: float = 30) -> Any:
        """Call ``/_control``; return the runs and the requests so far."""
        data = None if body is None else json.dumps(body).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/_control/{path}", data, timeout=timeout) as answer:
            return json.load(answer)

    def release(self, task_id: str) -> None:
        """Let a task that holds continue."""
        self.control(f"release/{task_id}")
