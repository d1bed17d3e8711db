"""Airflow as it is deployed: two of whatever there can be two of, Celery, PostgreSQL, S3, a secrets backend.

A component that exits is started again, as systemd or Kubernetes would. What went down and why is remembered.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx

from dev.a2a.peers import Agent
from dev.airflow.client import FINISHED, AirflowApiError, AirflowClient, TaskInstance, eventually
from dev.airflow.connections import agent_connection, connection_fields
from dev.airflow.standalone import StandaloneAirflow, free_port
from dev.compat import NEWEST, environment
from dev.environments import ROOT
from remote_tasks_sandbox import SandboxServer
from tests.production.services import Aws, Redis, Statsd, Traces, missing_programs
from tests.system.postgresql import PostgreSQL, server_folder

T = TypeVar("T")

DAGS = Path(__file__).parent / "dags"
#: Seconds for each thing that a history waits for, also on a busy machine.
WITHIN = 900.0
#: Seconds after which Airflow takes a component that sends no heartbeat for lost.
HEALTH_CHECK = 20
#: Seconds after which Redis hands a task out again that nobody has acknowledged. Airflow's default is a day;
#: so short, it happens to every task that waits on a worker.
VISIBILITY_TIMEOUT = 60
WORKER = ["celery", "worker", "--skip-serve-logs", "--without-gossip", "--concurrency", "4"]
COMPONENTS = {
    "api-server": ["api-server"],
    "scheduler-1": ["scheduler", "--skip-serve-logs"],
    "scheduler-2": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer-1": ["triggerer", "--skip-serve-logs"],
    "triggerer-2": ["triggerer", "--skip-serve-logs"],
    "worker-1": [*WORKER, "--celery-hostname", "worker-1@%h", "--pid", "worker-1.pid"],
    "worker-2": [*WORKER, "--celery-hostname", "worker-2@%h", "--pid", "worker-2.pid"],
}
TRIGGERERS = ("triggerer-1", "triggerer-2")
XCOM_BACKEND = "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"
SECRETS_BACKEND = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
XCOMS, FILES = "xcoms", "files"
#: Those whose webhooks the receiver takes; an account of the name "push" has them.
WEBHOOKS = "manus/push_manus, manus/push_v1, qstash/push_qstash"
#: Seconds between regular polls while webhooks come.
PUSH_POLL_INTERVAL = 20
AGENT_TOKEN = "agent-token-secret-1"
#: What the agent does for a message that is no script.
AGENT_SCRIPT = "ask Who is it for?; file guide.txt For {answer}.; say It is for {answer}."


class DeployedClient(AirflowClient):
    """Reads XComs from where the API says that they are."""

    aws: Aws

    def xcom(self, *names: str, **more: Any) -> Any:
        """Return one XCom as an object; None when the task has pushed none under that key."""
        found = super().xcom(*names, **more)
        folder = f"s3://aws_default@{XCOMS}/"
        if isinstance(found, str) and found.startswith(folder):
            return json.loads(self.aws.get(XCOMS, found.removeprefix(folder)))
        return found


class DeployedAirflow(StandaloneAirflow):
    """The components of Airflow."""

    @property
    def _commands(self) -> dict[str, list[str]]:
        return COMPONENTS

    def _environment_of(self, name: str) -> dict[str, str]:
        found = {**super()._environment_of(name), "COMPONENT_NAME": name}
        # One of the triggerers sends tags, the other one names.
        if name == "triggerer-2":
            found["AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED"] = "True"
        return found

    def _database_url(self, name: str) -> str:
        # A role of its own, so that PostgreSQL tells what each triggerer asks of it.
        url = super()._database_url(name)
        return url.replace("//airflow@", f"//{name}@") if name in TRIGGERERS else url

    def component(self, name: str) -> Any:
        """Return one component."""
        return self._components[name]

    def start_component(self, name: str) -> None:
        """Start a component again."""
        self._start_component(name)


class Deployment:
    """Everything; a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._stopped = threading.Event()
        self.restarts: list[str] = []
        self.accounts: dict[str, SandboxServer] = {}

    # --------------------------------------------------------------------------------------- life cycle

    def __enter__(self) -> Deployment:
        folder = server_folder()
        if folder is None or (absent := missing_programs()):
            absent = ["postgresql"] if folder is None else absent
            raise RuntimeError(f"{absent} are not installed: apt-get install postgresql redis-server")
        python = environment(NEWEST, "production")
        try:
            home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="production-")))
            self.home = home
            settings = {"max_connections": "300", "shared_buffers": "256MB"}
            settings["shared_preload_libraries"] = "pg_stat_statements"
            self.postgresql = self._stack.enter_context(PostgreSQL(folder, settings))
            self.postgresql.execute(
                "CREATE EXTENSION pg_stat_statements",
                *(f'CREATE ROLE "{name}" SUPERUSER LOGIN' for name in TRIGGERERS),
            )
            self.redis = self._stack.enter_context(Redis(home))
            self.aws = self._stack.enter_context(Aws(home, python))
            self.statsd = self._stack.enter_context(Statsd())
            self.traces = self._stack.enter_context(Traces())
            self.agent = self._stack.enter_context(
                Agent(own_group=True, token=AGENT_TOKEN, otherwise=AGENT_SCRIPT)
            )
            for bucket in (XCOMS, FILES):
                self.aws.make_bucket(bucket)
            port = free_port()
            self.webhook_url = f"http://127.0.0.1:{port}/remote-tasks"
            #: What is put there is served too.
            self.dags = home / "dags"
            self.dags.mkdir()
            (self.dags / "own").symlink_to(DAGS)
            self.airflow = self._stack.enter_context(
                DeployedAirflow(
                    self.dags,
                    config=self._config(),
                    environment=self._environment(),
                    port=port,
                    python=python,
                    start_timeout=WITHIN,
                    database_url=self.postgresql.url,
                )
            )
            airflow = self.airflow
            self.client = DeployedClient(airflow.url, airflow.username, airflow.password, "v2")
            self.client.aws = self.aws
            self._stack.callback(self.client.close)
            self._supervisor.start()
            self.until(self._is_complete, "all components are there")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._stopped.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        self._stack.close()

    def _config(self) -> dict[str, str]:
        backend = {
            **{"connections_prefix": "airflow/connections", "variables_prefix": None, "config_prefix": None},
            **{"endpoint_url": self.aws.url, "region_name": "us-east-1"},
        }
        lineage = {"type": "file", "log_file_path": str(self.home / "lineage.json"), "append": True}
        return {
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "tests.production.hostname.component_name",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__PARALLELISM": "64",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "500",
            "AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG": "100",
            "AIRFLOW__CORE__XCOM_BACKEND": XCOM_BACKEND,
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"s3://aws_default@{XCOMS}/",
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "100",
            "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "1000",
            # DAG files do not change; new ones are found all the same.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            "AIRFLOW__CELERY__BROKER_URL": self.redis.url,
            "AIRFLOW__CELERY__RESULT_BACKEND": "db+"
            + self.postgresql.url.replace("postgresql+psycopg2", "postgresql"),
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": str(VISIBILITY_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": str(HEALTH_CHECK * 2),
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
            # How soon a lost triggerer is noticed, and how evenly waits come to two.
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(HEALTH_CHECK),
            "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "10",
            "AIRFLOW__SECRETS__BACKEND": SECRETS_BACKEND,
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(backend),
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self.statsd.port),
            "AIRFLOW__TRACES__OTEL_ON": "True",
            # Of one DAG only: it costs each task as much as all the rest.
            "AIRFLOW__OPENLINEAGE__SELECTIVE_ENABLE": "True",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(lineage),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "AIRFLOW__REMOTE_TASKS__WEBHOOK_URL": self.webhook_url,
            "AIRFLOW__REMOTE_TASKS__WEBHOOK_CONNECTIONS": WEBHOOKS,
            "AIRFLOW__REMOTE_TASKS__PUSH_POLL_INTERVAL": str(PUSH_POLL_INTERVAL),
        }

    def _environment(self) -> dict[str, str]:
        aws = {"conn_type": "aws", "extra": {"endpoint_url": self.aws.url, "region_name": "us-east-1"}}
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
            "OTEL_TRACES_EXPORTER": "otlp_proto_http",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": self.traces.url,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(DAGS.with_name("settings"))]),
            "COMPONENT_NAME": "migration",
        }

    def _is_complete(self) -> bool | None:
        (jobs,) = self.postgresql.query(
            "SELECT count(*) FILTER (WHERE job_type = 'TriggererJob'), "
            "count(*) FILTER (WHERE job_type = 'SchedulerJob') FROM job WHERE state = 'running' "
            "AND latest_heartbeat > now() - make_interval(secs => %s)",
            HEALTH_CHECK,
        )
        workers = [self.airflow.component(name).output.read_text() for name in ("worker-1", "worker-2")]
        return True if jobs == (2, 2) and all(" ready." in text for text in workers) else None

    # --------------------------------------------------------------------------------------- supervision

    def _supervise(self) -> None:
        while not self._stopped.wait(1):
            for name in self.airflow.exited_components():
                self.airflow.component(name).kill()
                self.restarts.append(name)
                self.airflow.start_component(name)

    def kill(self, name: str) -> None:
        """Kill a component and all that it started, as a lost machine would; it comes back in a second."""
        self.airflow.component(name).kill()

    def kill_all(self) -> None:
        """Kill every component."""
        for name in COMPONENTS:
            self.kill(name)

    def deferred(self, runs: list[Run]) -> int:
        """Return how many tasks of these runs are deferred, and have a triggerer."""
        ((count,),) = self.postgresql.query(
            "SELECT count(*) FROM task_instance JOIN trigger ON trigger.id = task_instance.trigger_id "
            "WHERE state = 'deferred' AND triggerer_id IS NOT NULL AND run_id = ANY(%s)",
            [run.run_id for run in runs],
        )
        return int(count)

    def succeeded(self, runs: list[Run]) -> int:
        """Return how many tasks of these runs have succeeded."""
        ((count,),) = self.postgresql.query(
            "SELECT count(*) FROM task_instance WHERE state = 'success' AND run_id = ANY(%s)",
            [run.run_id for run in runs],
        )
        return int(count)

    @contextlib.contextmanager
    def stalled(self, name: str) -> Iterator[None]:
        """Stop every process of a component for the block, as a machine would that swaps."""
        members = self.airflow.component(name).members()
        for process in members:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in members:
                with contextlib.suppress(Exception):
                    process.send_signal(signal.SIGCONT)

    def spent(self, name: str) -> dict[str, float]:
        """Return what a triggerer has used: CPU seconds, all SQL statements, and those that are queries.

        No queries are the beginnings and ends of transactions, and Airflow's tests of its connections.
        """
        times = [process.cpu_times() for process in self.airflow.component(name).members()]
        ((statements, queries),) = self.postgresql.query(
            "SELECT coalesce(sum(calls), 0), "
            "coalesce(sum(calls) FILTER (WHERE query !~* '^(begin|commit|rollback|select \\$1$)'), 0) "
            "FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid WHERE rolname = %s",
            name,
        )
        cpu = sum(each.user + each.system for each in times)
        return {"cpu": cpu, "statements": float(statements), "queries": float(queries)}

    def waits(self, run: Run, task_id: str = "ask") -> dict[str, int]:
        """Return how many waits of a run each triggerer has."""
        jobs = dict(self.postgresql.query("SELECT id, hostname FROM job WHERE job_type = 'TriggererJob'"))
        found = [jobs[one.triggerer] for one in run.instances(task_id) if one.triggerer is not None]
        return {name: found.count(name) for name in sorted(set(found))}

    def host_of(self, run: Run, task_id: str = "ask") -> str:
        """Return the worker that runs a task, or ran it last."""
        ((host,),) = self.postgresql.query(
            "SELECT hostname FROM task_instance WHERE dag_id = %s AND run_id = %s AND task_id = %s",
            *(run.dag_id, run.run_id, task_id),
        )
        return str(host)

    def redelivered(self, run: Run, task_id: str = "ask") -> bool:
        """Return whether a worker has received each task of a run more than once."""
        rows = self.postgresql.query(
            "SELECT external_executor_id FROM task_instance "
            "WHERE dag_id = %s AND run_id = %s AND task_id = %s",
            *(run.dag_id, run.run_id, task_id),
        )
        outputs = "".join(path.read_text(errors="replace") for path in self.airflow.home.glob("worker-*.out"))
        return all(
            len([line for line in outputs.splitlines() if f"[{name}] received" in line]) > 1
            for (name,) in rows
        )

    def forget_restarts(self) -> None:
        """Begin a new list of components that had to be started again."""
        self.restarts.clear()

    @staticmethod
    def let_pass(seconds: float) -> None:
        """Let trouble last for a while."""
        time.sleep(seconds)

    # ---------------------------------------------------------------------------------------- accounts

    def account(self, name: str, extra: dict[str, Any] | None = None, **settings: Any) -> Account:
        """Return a new account of the vendors, with keys of its own, and its connections in the backend.

        :param extra: of each of the connections.
        """
        server = self._stack.enter_context(SandboxServer())
        server.sandbox.settings.update(
            {"manus_key": f"sk-{name}-secret-1", "qstash_token": f"qstash-{name}-secret-1", **settings}
        )
        self.accounts[name] = server
        found = Account(self, name, server, extra or {})
        found.publish()
        return found

    # ------------------------------------------------------------------------------------------ waiting

    def until(self, probe: Callable[[], T | None], what: str, every: float = 1.0) -> T:
        """Return the first answer of ``probe`` that is not None; Airflow may be away in the meantime."""

        def calm() -> T | None:
            try:
                return probe()
            except httpx.HTTPError:
                return None
            except AirflowApiError as error:
                # Not a DAG file that is broken, for example.
                if not re.search(r": (409|5\d\d) ", str(error)):
                    raise
                return None

        return eventually(calm, within=WITHIN, what=what, every=every)

    def run(self, dag_id: str, **conf: Any) -> Run:
        """Start a run of a DAG."""
        self.until(lambda: self.client.wait_for_dag(dag_id, within=WITHIN) or True, f"{dag_id} is known")
        return Run(self, dag_id, self.until(lambda: self.client.trigger(dag_id, conf=conf), f"{dag_id} runs"))


class Run:
    """A run of a DAG."""

    def __init__(self, deployment: Deployment, dag_id: str, run_id: str) -> None:
        self._deployment = deployment
        self.dag_id, self.run_id = dag_id, run_id
        self.began = time.monotonic()

    @property
    def seconds(self) -> int:
        """Seconds since the run began."""
        return round(time.monotonic() - self.began)

    def instances(self, task_id: str = "ask") -> list[TaskInstance]:
        """Return the instances of a task, mapped ones by their index."""
        found = self._deployment.client.task_instances(self.dag_id, self.run_id)
        return sorted((one for one in found if one.task_id == task_id), key=lambda one: one.map_index)

    def until_states(self, state: str, count: int, task_id: str = "ask") -> list[TaskInstance]:
        """Wait until so many instances of a task are in a state."""

        def reached() -> list[TaskInstance] | None:
            found = [one for one in self.instances(task_id) if one.state == state]
            return found if len(found) >= count else None

        return self._deployment.until(reached, f"{count} of {self.dag_id}.{task_id} are {state}")

    def over(self) -> str | None:
        """Return the state of the run, if it is over."""
        state = self._deployment.client.run_state(self.dag_id, self.run_id)
        return state if state in FINISHED else None

    def until_over(self) -> str:
        """Wait until the run is over; return its state."""
        return self._deployment.until(self.over, f"{self.dag_id} is over")

    def states(self, task_id: str = "ask") -> dict[str, int]:
        """Return how many instances of a task are in each state."""
        found = [one.state for one in self.instances(task_id)]
        return {state: found.count(state) for state in sorted(set(found))}

    def log(self, task_id: str = "ask", *, try_number: int = 1, map_index: int = -1) -> str:
        """Return the log of an attempt."""
        return self._deployment.client.log(
            self.dag_id, self.run_id, task_id, try_number=try_number, map_index=map_index
        )

    def told(self, text: str) -> int:
        """Return how often the logs of the run's tasks have a text."""
        folder = self._deployment.airflow.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        return sum(path.read_text(errors="replace").count(text) for path in folder.rglob("*.log"))

    def xcom(self, task_id: str = "ask", *, map_index: int = -1) -> Any:
        """Return what a task returned, as the REST API gives it."""
        return self._deployment.client.xcom(self.dag_id, self.run_id, task_id, map_index=map_index)

    def mark(self, state: str, *, map_index: int = -1, task_id: str = "ask") -> None:
        """Mark a task."""
        self._deployment.client.mark(self.dag_id, self.run_id, task_id, state, map_index=map_index)

    def mark_run(self, state: str) -> None:
        """Mark the run."""
        self._deployment.client.mark_run(self.dag_id, self.run_id, state)

    def clear(self, task_id: str = "ask") -> None:
        """Clear a task."""
        self._deployment.client.clear(self.dag_id, self.run_id, [task_id])


class Account:
    """An account at the vendors, and what it has seen."""

    def __init__(
        self, deployment: Deployment, name: str, server: SandboxServer, extra: dict[str, Any]
    ) -> None:
        self._deployment, self._extra = deployment, extra
        self.name, self.server, self.sandbox = name, server, server.sandbox
        self.manus, self.qstash = server.sandbox.manus, server.sandbox.qstash
        #: The ids of the connections. The agent is the same for all accounts.
        self.conn_id, self.v1_conn_id, self.qstash_conn_id = f"{name}_manus", f"{name}_v1", f"{name}_qstash"
        self.agent, self.agent_conn_id = deployment.agent, f"{name}_agent"
        self._keys = 1
        self.secrets: list[str] = []

    def publish(self, **extra: Any) -> None:
        """Write the connections, with the keys of now, to the secrets backend.

        :param extra: of the first connection only.
        """
        settings = self.sandbox.settings
        self.secrets += [settings.manus_key, settings.qstash_token, AGENT_TOKEN]
        manus = {"conn_type": "manus", "host": self.server.manus_url, "password": settings.manus_key}
        qstash = {"conn_type": "qstash", "host": self.server.qstash_url, "password": settings.qstash_token}
        aws = self._deployment.aws
        aws.set_connection(self.conn_id, {**manus, "extra": {**self._extra, **extra}})
        aws.set_connection(self.v1_conn_id, {**manus, "extra": {**self._extra, "api_version": "v1"}})
        aws.set_connection(self.qstash_conn_id, {**qstash, "extra": self._extra})
        aws.set_connection(self.agent_conn_id, self._agent_fields)

    def publish_defaults(self) -> None:
        """Write the connections that example DAGs name, too."""
        for conn_id, fields in connection_fields(self.server).items():
            self._deployment.aws.set_connection(conn_id, fields)
        self._deployment.aws.set_connection("a2a_default", self._agent_fields)

    @property
    def _agent_fields(self) -> dict[str, Any]:
        return {**agent_connection(self.agent.url), "password": AGENT_TOKEN}

    def next_key(self) -> None:
        """Change the Manus key at the vendor; the connections still have the former one."""
        self._keys += 1
        self.sandbox.settings.update({"manus_key": f"sk-{self.name}-secret-{self._keys}"})

    @property
    def created(self) -> list[str]:
        """The ids of the tasks that were created through the API, each of which cost money."""
        return [one.id for one in self.manus.created]

    @property
    def statuses(self) -> dict[str, int]:
        """How many of them have each status, in the vendor's words."""
        found = [self._status(task_id) for task_id in self.created]
        return {status: found.count(status) for status in sorted(set(found))}

    def _status(self, task_id: str) -> str:
        word: str = self.manus.get(task_id).timeline.word(self.sandbox.clock.now())
        return word

    @property
    def asked(self) -> dict[str, str]:
        """The messages that the agent has got with the account's name in it, by the id of their task."""
        runs = self.agent.control("requests")["runs"]
        return {one["task_id"]: one["text"] for one in runs if self.name in one["text"]}

    def agent_state(self, task_id: str) -> str:
        """Return the state of one of the agent's tasks, in A2A's words."""
        answer = httpx.get(
            f"{self.agent.url}/rest/tasks/{task_id}",
            headers={"Authorization": f"Bearer {AGENT_TOKEN}", "A2A-Version": "1.0"},
            trust_env=False,
        )
        return str(answer.raise_for_status().json()["status"]["state"])

    def finish(self) -> None:
        """Let every created task complete."""
        for task_id in self.created:
            if self._status(task_id) == "running":
                self.manus.set_status(task_id, "completed")
