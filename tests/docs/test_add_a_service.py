"""The third service of ``docs/contribute/add-a-service.md`` works: one folder, copied into the package."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

import remote_tasks_provider
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import AuthenticationError
from tests.bases.history import Clock

FOLDER = Path(__file__).parent / "third_service"
KEY = "acme-key-1"


class Acme(BaseHTTPRequestHandler):
    """Answers from ``server.jobs``: job id → the phases that the next polls find; the last one stays."""

    def do_GET(self) -> None:
        if self.headers["X-Acme-Key"] != KEY:
            return self.answer(401, {"error": "who are you?"})
        path, _, query = self.path.partition("?")
        if path == "/me":
            return self.answer(200, {"account": "x"})
        if path == "/jobs":
            first = not query
            ids = sorted(self.jobs)[:1] if first else sorted(self.jobs)[1:]
            return self.answer(
                200, {"jobs": [self.job(job_id) for job_id in ids], "next": "p2" if first else None}
            )
        job_id = path.rpartition("/")[2]
        return (
            self.answer(200, self.job(job_id)) if job_id in self.jobs else self.answer(404, {"error": "no"})
        )

    @property
    def jobs(self) -> dict[str, list[str]]:
        return self.server.jobs  # type: ignore[attr-defined, no-any-return]

    def job(self, job_id: str) -> dict[str, Any]:
        phases = self.jobs[job_id]
        phase = phases.pop(0) if len(phases) > 1 else phases[0]
        reason = "out of paint" if phase == "broken" else None
        return {
            "job_id": job_id,
            "phase": phase,
            "page": f"https://acme.example/{job_id}",
            "reason": reason,
            "frames": "12",
        }

    def answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Iterator[None]:
    """Make ``remote_tasks_provider.acme`` importable, as if its folder were in the package."""
    remote_tasks_provider.__path__.append(str(FOLDER))
    yield
    remote_tasks_provider.__path__.remove(str(FOLDER))
    for name in [name for name in sys.modules if name.startswith("remote_tasks_provider.acme")]:
        del sys.modules[name]
    vars(remote_tasks_provider).pop("acme", None)


@pytest.fixture(scope="module")
def acme() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Acme) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def jobs(acme: ThreadingHTTPServer, set_connection: Callable[..., str]) -> dict[str, list[str]]:
    host = f"http://127.0.0.1:{acme.server_port}"
    set_connection("acme_default", conn_type="acme", host=host, password=KEY, extra={"max_attempts": 1})
    acme.jobs = {}  # type: ignore[attr-defined]
    return acme.jobs  # type: ignore[attr-defined, no-any-return]


class TaskInstance:
    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}
        self.start_date = None

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def load(module: str, name: str) -> Any:
    return getattr(import_module(f"remote_tasks_provider.acme.{module}"), name)


def test_hook_reads_one_and_lists_all(jobs: dict[str, list[str]]) -> None:
    jobs |= {"a": ["done"], "b": ["broken"], "c": ["rendering"]}
    hook = load("hooks", "AcmeHook")()
    assert hook.get_job("a").state == "completed"
    assert [job.id for job in hook.iter_jobs()] == ["a", "b", "c"]
    hook.close()


def test_connection_test_tells_a_good_key_from_a_bad_one(
    jobs: dict[str, list[str]], acme: ThreadingHTTPServer, set_connection: Callable[..., str]
) -> None:
    assert load("hooks", "AcmeHook")().test_connection()[0]
    host = f"http://127.0.0.1:{acme.server_port}"
    set_connection("acme_default", conn_type="acme", host=host, password="another")
    worked, message = load("hooks", "AcmeHook")().test_connection()
    assert not worked
    assert "password" in message
    assert "another" not in message
    with pytest.raises(AuthenticationError):
        load("hooks", "AcmeHook")().get_job("a")


def test_sensor_waits_on_the_worker(jobs: dict[str, list[str]]) -> None:
    jobs["a"] = ["rendering", "done"]
    ti = TaskInstance()
    sensor = load("sensors", "AcmeJobSensor")(
        task_id="w", remote_task_id="a", deferrable=False, poke_interval=1
    )
    record = sensor.execute({"ti": ti})
    assert (record["state"], record["status"], record["frames"]) == ("completed", "done", 12)
    assert ti.xcoms["remote_task_url"] == "https://acme.example/a"


def test_sensor_waits_in_the_triggerer(jobs: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    jobs["a"] = ["queued", "rendering", "broken"]
    sensor = load("sensors", "AcmeJobSensor")(task_id="w", remote_task_id="a", deferrable=True)
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute({"ti": TaskInstance()})
    path, arguments = deferral.value.trigger.serialize()
    kind = load("triggers", "AcmeJobTrigger")
    assert path == "remote_tasks_provider.acme.triggers.AcmeJobTrigger"
    clock = Clock()
    clock.sleepers.install(monkeypatch)
    clocks = Clocks(wall=clock.time, monotonic=clock.time, sleep=clock.asleep)
    monkeypatch.setattr(kind, "clocks", clocks)

    async def fire() -> Any:
        return [event async for event in kind(**json.loads(json.dumps(arguments))).run()]

    (event,) = asyncio.run(fire())
    with pytest.raises(AirflowFailException, match="Acme job a failed: out of paint"):
        sensor.execute_complete({"ti": TaskInstance()}, json.loads(json.dumps(event.payload)))


def test_branch_operator_follows_the_outcome(
    jobs: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs["a"] = ["broken"]
    operator = load("operators", "AcmeJobBranchOperator")(
        task_id="b", remote_task_id="a", failed="mend", deferrable=False
    )
    monkeypatch.setattr(operator, "do_branch", lambda context, branch: branch)
    ti = TaskInstance()
    assert operator.execute({"ti": ti}) == "mend"
    assert ti.xcoms["remote_task"]["error"] == "out of paint"


def test_list_operator_writes_a_file(jobs: dict[str, list[str]], tmp_path: Path) -> None:
    jobs |= {"a": ["done"], "b": ["broken"]}
    operator = load("operators", "AcmeListJobsOperator")(
        task_id="l", output_path=f"file://{tmp_path}/jobs.jsonl"
    )
    assert operator.execute({})["count"] == 2
    assert [json.loads(line)["state"] for line in (tmp_path / "jobs.jsonl").read_text().splitlines()] == [
        "completed",
        "failed",
    ]


def test_service_is_found_by_its_folder(tmp_path: Path) -> None:
    package = tmp_path / "remote_tasks_provider"
    shutil.copytree(
        Path(remote_tasks_provider.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(FOLDER / "acme", package / "acme", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        f"import sys, json; sys.path.insert(0, {str(tmp_path)!r});"
        "from remote_tasks_provider.get_provider_info import get_provider_info;"
        "print(json.dumps(get_provider_info()))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    info = json.loads(answer.stdout)
    types = {entry["connection-type"]: entry for entry in info["connection-types"]}
    assert types.keys() == {"acme", "a2a", "manus", "qstash"}
    named = [
        types["acme"]["hook-class-name"],
        *[link for link in info["extra-links"] if ".acme." in link],
    ]
    for path in named:
        module, _, name = path.rpartition(".")
        assert hasattr(import_module(module), name)
    for kind in ("hooks", "operators", "sensors", "triggers"):
        assert f"remote_tasks_provider.acme.{kind}" in [
            module for entry in info[kind] for module in entry["python-modules"]
        ]
