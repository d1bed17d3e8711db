"""``dev/playground``: the A2A agent beside the sandbox, and a start without it."""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow._shared.module_loading import find_path_from_directory

from dev import playground
from dev.a2a import peers
from dev.airflow.connections import agent_connection
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.core.states import TaskState
from tests.conftest import IMPATIENT


def until(hook: A2AHook, task_id: str, state: TaskState) -> A2ATask:
    for _ in range(500):
        task = hook.get_task(task_id)
        if task.state is state:
            return task
    raise AssertionError(f"{task.state} is not {state}")


def test_agent_asks_whatever_it_is_told_and_makes_a_file(
    monkeypatch: pytest.MonkeyPatch, set_connection: Callable[..., str]
) -> None:
    monkeypatch.setattr(playground, "AGENT_SCRIPT", playground.AGENT_SCRIPT.replace("work 15", "work 0"))
    with playground.a2a_agent() as agent:
        assert agent
        hook = A2AHook(set_connection("a2a_default", **agent_connection(agent.url), extra=IMPATIENT))
        asked = hook.send_message("Write a guide to Bern.")
        assert isinstance(asked, A2ATask)
        waiting = until(hook, asked.id, TaskState.WAITING)
        assert waiting.message
        assert waiting.message.text == "Who is the guide for?"
        hook.send_message("children", task_id=asked.id)
        until(hook, asked.id, TaskState.COMPLETED)
        result = hook.get_result(asked.id)
        assert (result.text, [file.name for file in result.files]) == (
            "The guide for children is written.",
            ["guide.txt"],
        )
        process = psutil.Process(agent.control("requests")["pid"])
        assert os.getpgid(process.pid) == process.pid
    assert not process.is_running()


def _no_network(*_: Any) -> Path:
    raise subprocess.CalledProcessError(2, ["uv", "pip", "install"])


def _broken(*_: Any) -> Path:
    return Path("/bin/false")


@pytest.mark.parametrize(
    ("build", "told"),
    [(_no_network, "cannot be installed"), (_broken, "did not start")],
    ids=["network", "start"],
)
def test_start_without_the_agent_says_so(
    build: Any, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "build", build)
    with playground.a2a_agent() as agent:
        assert agent is None
    said = capsys.readouterr().out
    assert told in said
    assert "example_ask_an_a2a_agent is left out" in said


def served(folder: Path) -> set[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Airflow's own
        return {Path(path).stem for path in find_path_from_directory(folder, ".airflowignore", "glob")}


def test_example_of_the_agent_is_left_out_without_it(tmp_path: Path) -> None:
    every = {path.stem for path in playground.EXAMPLES.glob("*.py")}
    for name in ("with", "without", "own"):
        (tmp_path / name).mkdir()
    playground.link_dags(tmp_path / "with", tmp_path / "own")
    playground.link_dags(tmp_path / "without", tmp_path / "own", left_out=playground.AGENT_EXAMPLE)

    assert every <= served(tmp_path / "with")
    assert every - served(tmp_path / "without") == {playground.AGENT_EXAMPLE}
