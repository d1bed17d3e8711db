from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

import remote_tasks_sandbox

SOURCE_ROOT = Path(remote_tasks_sandbox.__file__).parents[2]
COMMAND = [sys.executable, "-m", "remote_tasks_sandbox"]


def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Start the command and return its process and what it prints: the URL and how to connect."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments],
        cwd=SOURCE_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    lines = "".join(process.stdout.readline() for _ in range(4))
    if not lines:
        raise AssertionError(process.communicate())
    return process, lines


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=SOURCE_ROOT, capture_output=True, text=True, timeout=30)


class TestStarting:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_command_serves_until_a_signal_and_ends_well(self, number):
        process, greeting = start("--seed-demo", "--seed-seconds", "3")
        with process:
            url = re.findall(r"http://\S+:\d+", greeting)[0]
            state = requests.get(f"{url}/_sandbox/state", timeout=10).json()
            began = time.monotonic()
            process.send_signal(number)
            _, errors = process.communicate(timeout=10)
        assert process.returncode == 0
        assert time.monotonic() - began < 3
        assert {task["id"] for task in state["manus"]} == {
            "demo-completes",
            "demo-fails",
            "demo-asks",
            "demo-long",
        }
        assert f'export AIRFLOW_CONN_MANUS_DEFAULT=\'{{"conn_type":"manus","host":"{url}/manus"' in greeting
        assert "export AIRFLOW_CONN_QSTASH_DEFAULT=" in greeting
        assert errors == ""


class TestRefusing:
    def test_command_refuses_the_world(self):
        result = run("--host", "0.0.0.0")
        assert result.returncode == 2
        assert "loopback only" in result.stderr

    def test_command_refuses_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            result = run("--port", str(taken.getsockname()[1]))
        assert result.returncode == 2
        assert "did not start" in result.stderr
        assert "Traceback" not in result.stderr
