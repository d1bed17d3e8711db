"""The first half of `make test-clients`: drive the vendor's TypeScript clients against the sandbox.

It installs them with npm, starts the sandbox as a process on a free loopback port, and runs the checks in
``sandbox/clients/typescript`` with Node.js.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from dev.environments import ROOT
from dev.terminal import leave_through_cleanup, say

FOLDER = ROOT / "sandbox" / "clients" / "typescript"
TOKEN = "sandbox-token"
#: The oldest Node.js that runs test files one after the other.
OLDEST = (20, 10)
#: Variables by which the clients would choose another server, or another key.
_CLIENTS_OWN = re.compile(r"([A-Z0-9_]+_)?QSTASH_.*|UPSTASH_.*")
_LOOPBACK = re.compile(r"http://127\.0\.0\.1:\d+")


class MissingError(RuntimeError):
    """What the checks need is not there; the message says what to install."""


def tools() -> tuple[str, str]:
    """Return the paths of node and npm.

    :raises MissingError: when one is missing, or node is too old.
    """
    wanted = f"Node.js {'.'.join(map(str, OLDEST))} or newer, with npm"
    found = {name: shutil.which(name) for name in ("node", "npm")}
    node, npm = found["node"], found["npm"]
    if node is None or npm is None:
        missing = " and ".join(name for name, path in found.items() if path is None)
        raise MissingError(f"make test-clients needs {wanted}; not on the PATH: {missing}")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        raise MissingError(f"make test-clients needs {wanted}; {node} is {version}")
    return node, npm


def install(npm: str, folder: Path) -> None:
    """Install into a folder what its ``package.json`` names, unless it is there.

    No lock file is written: it would name a package index. ``package.json`` pins every package instead.
    """
    wanted, done = folder / "package.json", folder / "node_modules" / ".installed.json"
    if done.is_file() and done.read_bytes() == wanted.read_bytes():
        return
    say(f"Installing npm's packages into {folder.relative_to(ROOT)} ...")
    shutil.rmtree(folder / "node_modules", ignore_errors=True)
    quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    subprocess.run([npm, "install", *quiet], cwd=folder, check=True)
    shutil.copy(wanted, done)


@contextlib.contextmanager
def sandbox() -> Iterator[str]:
    """Start the sandbox in a process group of its own; yield its address, and stop it by its id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "remote_tasks_sandbox", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        address = _LOOPBACK.search(process.stdout.readline())
        if address is None:
            raise MissingError("the sandbox did not start")
        yield address.group()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with process:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def environment(variables: Mapping[str, str], url: str) -> dict[str, str]:
    """Return the variables of the checks: those of this process without the clients' own, and the sandbox."""
    kept = {name: value for name, value in variables.items() if not _CLIENTS_OWN.fullmatch(name)}
    named = {"SANDBOX_URL": url, "QSTASH_URL": f"{url}/qstash", "QSTASH_TOKEN": TOKEN}
    # The clients send nothing but what the checks are about.
    return kept | named | {"UPSTASH_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def check(node: str, url: str) -> int:
    """Run the checks, which print one line each and a count at the end; return the exit status."""
    files = sorted(path.name for path in FOLDER.glob("*.test.mjs"))
    # One file after the other: each empties the sandbox before every check.
    command = [node, "--test", "--test-concurrency=1", "--test-reporter=spec", *files]
    return subprocess.run(command, cwd=FOLDER, env=environment(os.environ, url), check=False).returncode


def main() -> int:
    """Install, start, check; return the exit status."""
    leave_through_cleanup()
    try:
        node, npm = tools()
        install(npm, FOLDER)
        with sandbox() as url:
            return check(node, url)
    except MissingError as error:
        say(str(error))
        return 2
    except subprocess.CalledProcessError as error:
        say(f"{' '.join(error.cmd)} failed with exit status {error.returncode}")
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
