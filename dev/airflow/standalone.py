"""A real Airflow on this machine, for as long as a `with` block lasts.

`airflow standalone` leaves its components behind when anything but SIGINT stops it, and it can't replace one
of them. So this module starts the components one by one, each in a session of its own. Whatever a component
starts stays in that session: it can be found and stopped by process id, and the exit proves that nothing is
left.

Airflow 2.11 has other components and an API without a login, and needs a setting to run several tasks at a
time on SQLite. Everything listens on the loopback address.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from dev.airflow.client import AirflowClient, eventually
from dev.airflow.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

COMPONENTS = {
    "api-server": ["api-server"],
    # Logs are read from disk, so the servers that hand them to other machines are not needed.
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
COMPONENTS_2 = {
    "webserver": ["webserver"],
    "scheduler": COMPONENTS["scheduler"],
    "triggerer": COMPONENTS["triggerer"],
}
#: Every user of Airflow 2's server is its administrator; it listens on the loopback address only.
WEBSERVER_CONFIG_2 = """WTF_CSRF_ENABLED = False
AUTH_ROLE_PUBLIC = "Admin"
"""

#: Seconds the components get to exit before they are killed. Short, because a scheduler or triggerer may wait
#: far longer for its children, and the database that they would tidy up is deleted anyway.
GRACE_SECONDS = 3.0
#: Seconds a triggerer gets to hand over its triggers when it alone is stopped; Airflow waits 10 s for them.
HANDOVER_SECONDS = 20.0


class AirflowStartError(RuntimeError):
    """Airflow did not start; the message ends with what its components printed last."""


def free_port(preferred: int = 0) -> int:
    """Return a free loopback port: the preferred one, else the next one above it.

    :param preferred: 0 for any port.
    """
    for port in range(preferred, preferred + 100) if preferred else [0]:
        with socket.socket() as probe:
            # As servers do, so that a port which was in use a moment ago counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise OSError(f"no free port from {preferred} to {preferred + 99}")


@dataclass
class Component:
    """One running Airflow command and all that it started."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path

    def members(self) -> list[psutil.Process]:
        """Return every running process of the component's session."""
        return [process for process in psutil.process_iter() if _session_of(process) == self.process.pid]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command itself, not to what it started."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill every process of the session."""
        for _ in range(20):  # a process may start another one while it is being killed
            members = self.members()
            if not members:
                break
            for process in members:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(members, timeout=1)
        self.process.wait(timeout=5)

    def last_output(self, lines: int = 30) -> str:
        """Return the end of what the component printed."""
        text = self.output.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"{self.name} | {line}" for line in text)


def _session_of(process: psutil.Process) -> int | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return os.getsid(process.pid)
    except (psutil.Error, OSError):
        return None


class StandaloneAirflow:
    """A real Airflow with an empty database, SQLite's in a temporary home or another; a context manager.

    :param dags_folder: the DAG files to serve.
    :param connections: Airflow connections by id, as URI or JSON text.
    :param config: further settings, by variable name (``{"AIRFLOW__SCHEDULER__...": "1"}``); they win.
    :param environment: further variables of every component, for example for DAG files to read.
    :param port: the port to prefer for the UI and API; 0 for any.
    :param python: the Python whose Airflow is started; its provider has to be installed there.
    :param start_timeout: seconds until every component must be healthy.
    :param database_url: an empty database to use instead of SQLite's.
    :param say: called with a line about each step of the start.
    """

    username = "admin"

    def __init__(
        self,
        dags_folder: Path | str,
        *,
        connections: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        port: int = 0,
        python: Path | str = sys.executable,
        start_timeout: float = 120,
        database_url: str | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._progress = Progress(say)
        self.dags_folder = Path(dags_folder).resolve()
        self.python = Path(python)
        self.password = secrets.token_urlsafe(9)
        self.port = free_port(port)
        self.url = f"http://127.0.0.1:{self.port}"
        self._database = migrated_database(self.python, say)
        self.is_airflow_2 = self._database.stem.startswith("2.")
        version = "v1" if self.is_airflow_2 else "v2"
        self.client = AirflowClient(self.url, self.username, self.password, version)
        self.home = Path()
        self._connections = dict(connections or {})
        self._overrides = {**(environment or {}), **(config or {})}
        self._start_timeout = start_timeout
        self._given_database_url = database_url
        self._environment: dict[str, str] = {}
        self._components: dict[str, Component] = {}
        self._starts = 0

    # -------------------------------------------------------------------------------------- life cycle

    def __enter__(self) -> StandaloneAirflow:
        self.home = Path(tempfile.mkdtemp(prefix="airflow-"))
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every component and wait until all are healthy; raises `AirflowStartError` otherwise."""
        self._environment = self._settings()
        passwords = self.home / "simple_auth_manager_passwords.json.generated"
        passwords.write_text(json.dumps({self.username: self.password}) + "\n")
        passwords.chmod(0o600)
        if self._given_database_url is None:
            shutil.copy(self._database, self.home / "airflow.db")
        else:
            self._migrate(self._given_database_url)
        if self.is_airflow_2:
            (self.home / "webserver_config.py").write_text(WEBSERVER_CONFIG_2)
        for name in self._commands:
            self._start_component(name)
        self._wait_until(self._healthy, "healthy")

    def stop(self) -> None:
        """Stop every component, prove that no process is left, and remove the home."""
        # An impatient second Ctrl-C must not leave half of the processes behind.
        with _uninterrupted():
            self.client.close()
            components = list(self._components.values())
            for component in components:
                is_server = component.name in ("api-server", "webserver")
                component.signal(signal.SIGINT if is_server else signal.SIGTERM)
            deadline = time.monotonic() + GRACE_SECONDS
            while any(component.members() for component in components) and time.monotonic() < deadline:
                # Reap those that have exited, or they would stay zombies.
                for component in components:
                    component.process.poll()
                time.sleep(0.2)
            for component in components:
                component.kill()
            left = [process for component in components for process in component.members()]
            self._components.clear()
            if self.home != Path():
                shutil.rmtree(self.home, ignore_errors=True)
            if left:
                raise RuntimeError(f"Airflow processes are left: {left}")

    # --------------------------------------------------------------------------------------- triggerer

    def stop_triggerer(self, *, kill: bool = True) -> None:
        """Stop only the triggerer.

        :param kill: at once, as a lost machine would; otherwise it gets SIGTERM and may hand over.
        """
        component = self._components["triggerer"]
        if not kill:
            component.signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                component.process.wait(HANDOVER_SECONDS)
        component.kill()

    def start_triggerer(self) -> None:
        """Start the triggerer again and wait for its first heartbeat."""
        before = self._heartbeat("triggerer")
        self._start_component("triggerer")

        def fresh() -> bool:
            return self._heartbeat("triggerer") not in (None, before) and self._healthy()

        self._wait_until(fresh, "healthy again")

    def restart_triggerer(self, *, kill: bool = True) -> None:
        """Stop the triggerer and start a new one, while everything else keeps running."""
        self.stop_triggerer(kill=kill)
        self.start_triggerer()

    # ---------------------------------------------------------------------------------------- commands

    def command(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start an ``airflow`` command; :meth:`stop` stops it if it still runs."""
        name = " ".join(arguments[:2])
        self._start_component(name, list(arguments))
        return self._components[name].process

    def python_program(self, code: str) -> str:
        """Run Python code beside the components, with their settings; return what it printed.

        :raises subprocess.CalledProcessError: when it fails.
        """
        env = {**self._environment, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database_url("program")}
        answer = subprocess.run(
            [self.python, "-c", code], cwd=self.home, env=env, capture_output=True, text=True, check=True
        )
        return answer.stdout

    # ------------------------------------------------------------------------------------------ report

    def last_output(self, lines: int = 30) -> str:
        """Return the end of what each component printed."""
        return "\n".join(component.last_output(lines) for component in self._components.values())

    def exited_components(self) -> list[str]:
        """Return the names of the components that have exited without being stopped."""
        return [name for name in self._commands if self._components[name].process.poll() is not None]

    def pid(self, name: str) -> int:
        """Return the process id of a component."""
        return self._components[name].process.pid

    def processes(self) -> list[psutil.Process]:
        """Return every process of this Airflow."""
        return [process for component in self._components.values() for process in component.members()]

    # --------------------------------------------------------------------------------------- internals

    @property
    def _commands(self) -> dict[str, list[str]]:
        return COMPONENTS_2 if self.is_airflow_2 else COMPONENTS

    def _start_component(self, name: str, arguments: list[str] | None = None) -> None:
        self._starts += 1
        output = self.home / f"{name}.{self._starts}.out"
        arguments = arguments or self._commands[name]
        # An interrupt between the start of a process and the record of it would leave that process behind.
        with output.open("wb") as stream, _uninterrupted() as interrupts:
            process = subprocess.Popen(
                [self.python, "-m", "airflow", *arguments],
                cwd=self.home,
                env=self._environment_of(name),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._components[name] = Component(name, process, output)
        for number in interrupts:
            signal.raise_signal(number)

    def _environment_of(self, name: str) -> dict[str, str]:
        """Return the variables of one component."""
        return {**self._environment, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database_url(name)}

    def _migrate(self, database_url: str) -> None:
        env = {**self._environment, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url}
        command = [self.python, "-m", "airflow", "db", "migrate"]
        answer = subprocess.run(command, env=env, cwd=self.home, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise AirflowStartError(f"airflow db migrate failed\n{answer.stdout}{answer.stderr}")

    def _database_url(self, name: str) -> str:
        """Return the database address of a component, with the time it waits for another one's write lock.

        The default of 5 s is too short: a scheduler or triggerer that can't write by then exits. The API
        server of Airflow 3 gets 1 s: it waits on its event loop, perhaps for one of its own requests that
        needs that loop. It gives up soon, and the client repeats the request.
        """
        if self._given_database_url is not None:
            return self._given_database_url
        seconds = 1 if name == "api-server" else 60
        return f"sqlite:///{self.home}/airflow.db?timeout={seconds}"

    def _settings(self) -> dict[str, str]:
        """Return the variables of all components, made once per start since all share the secrets."""
        env = clean_environment()
        env.update(
            {
                "AIRFLOW_HOME": str(self.home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags_folder),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__PARALLELISM": "4",
                "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
                "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                # Workers ask the API server for everything; without this they would use port 8080.
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(self.port),
                "AIRFLOW__API__BASE_URL": self.url,
                "AIRFLOW__API__WORKERS": "1",
                # One secret for all components: they start at the same time, so none may invent its own.
                "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
                "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
                # Airflow 3.0 signs no token without it, if PyJWT is new.
                "AIRFLOW__API_AUTH__JWT_ISSUER": "airflow",
                # Check for changed DAG files and timed-out triggers often: a developer or a test is waiting.
                # A file that has not changed is read again as seldom as anywhere: it costs seconds each time.
                "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
                "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "3",
                "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            }
        )
        if self.is_airflow_2:
            env.update(
                {
                    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                    "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
                    "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
                    "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
                    "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(self.port),
                    "AIRFLOW__WEBSERVER__WORKERS": "1",
                    "AIRFLOW__WEBSERVER__SECRET_KEY": secrets.token_urlsafe(32),
                }
            )
        env.update({f"AIRFLOW_CONN_{name.upper()}": value for name, value in self._connections.items()})
        env.update(self._overrides)
        return env

    def _healthy(self) -> bool:
        health = self.client.health()
        self._progress.note(health)
        names = ["metadatabase", "scheduler", "triggerer"]
        if not self.is_airflow_2:
            names.append("dag_processor")
        return all((health.get(name) or {}).get("status") == "healthy" for name in names)

    def _heartbeat(self, name: str) -> Any:
        return (self.client.health().get(name) or {}).get(f"latest_{name}_heartbeat")

    def _wait_until(self, condition: Any, what: str) -> None:
        def fail_on_exit() -> None:
            self._progress.still_waiting()
            for component in self._components.values():
                if component.name in self._commands and component.process.poll() is not None:
                    raise AirflowStartError(
                        f"{component.name} exited unexpectedly\n{component.last_output()}"
                    )

        try:
            eventually(
                lambda: condition() or None,
                within=self._start_timeout,
                what=f"Airflow is {what}",
                give_up=fail_on_exit,
            )
        except TimeoutError as error:
            raise AirflowStartError(f"{error}\n{self.last_output()}") from error


def clean_environment() -> dict[str, str]:
    """Return the variables of this process without its Airflow settings, which belong to another Airflow."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    # Components talk to each other over the loopback address, never through a proxy.
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(filter(None, [env.get(name), "127.0.0.1", "localhost"]))
    return env


def migrated_database(
    python: Path | str = sys.executable, say: Callable[[str], None] = lambda line: None
) -> Path:
    """Return an SQLite file with an empty, migrated Airflow database; to be copied, not used.

    A migration takes longer than a short run, so it is done once per environment and kept inside it, under
    the name of the Airflow version.
    """
    code = "import importlib.metadata as m, sys; print(sys.prefix, m.version('apache-airflow'), sep='\\n')"
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    prefix, version = answer.stdout.split("\n")[:2]
    database = Path(prefix) / "airflow-databases" / f"{version}.db"
    if not database.exists():
        say("  Making Airflow's database, once for this environment ...")
        database.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="airflow-migrate-") as home:
            env = {**clean_environment(), "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
            command = [python, "-m", "airflow", "db", "migrate"]
            answer = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, check=False)
            if answer.returncode:
                raise AirflowStartError(f"airflow db migrate failed\n{answer.stdout}{answer.stderr}")
            # Renamed, not written in place: another process may be doing the same.
            fresh = database.with_suffix(f".{os.getpid()}")
            shutil.copy(Path(home) / "airflow.db", fresh)
            fresh.replace(database)
    return database


@contextlib.contextmanager
def _uninterrupted() -> Iterator[list[int]]:
    """Hold SIGINT, SIGTERM and SIGHUP back for the block; yield the list of those received.

    This is a handler and not `SIG_IGN`, which processes started meanwhile would inherit.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {
        number: signal.signal(number, lambda number, _frame: received.append(number)) for number in numbers
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
