"""A small client for Airflow's REST API: start a run, follow it, mark and clear its tasks.

It speaks API v2 (Airflow 3.x) and, for the kill matrix, the little that it needs of v1 (2.11). It knows HTTP
only; ``standalone.py`` starts the processes that answer.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")

FINISHED = frozenset({"success", "failed"})
#: Seconds that one step of Airflow's may take, also on a busy machine.
WITHIN = 180.0

_WHILE_LOCKED = (0.5, 1.0, 2.0, 2.0)


class AirflowApiError(RuntimeError):
    """Airflow's API refused a call; the message holds the call, the status and the start of the body."""


@dataclass(frozen=True)
class TaskInstance:
    """One task instance, as the API shows it now."""

    task_id: str
    map_index: int
    state: str
    try_number: int
    start_date: str | None
    end_date: str | None
    duration: float | None
    pid: int | None = None
    """The process that runs it, or ran it last."""
    triggerer: int | None = None
    """The job of the triggerer that has its trigger, if it is deferred."""


def eventually(
    probe: Callable[[], T | None],
    *,
    within: float,
    what: str,
    every: float = 1.0,
    give_up: Callable[[], None] = lambda: None,
) -> T:
    """Return the first answer of ``probe`` that is not None.

    :param within: seconds until it raises `TimeoutError`, which names ``what``.
    :param every: seconds between probes; what is asked may be busy, and each question costs it something.
    :param give_up: called between probes; raises when waiting longer makes no sense.
    """
    deadline = time.monotonic() + within
    while True:
        answer = probe()
        if answer is not None:
            return answer
        give_up()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within:g} s")
        time.sleep(every)


class AirflowClient:
    """Client of one Airflow, with an administrator's rights.

    :param url: base URL of the API server, without ``/api/v2``.
    :param username: a user of the simple auth manager.
    :param password: that user's password; exchanged for a token at the first call that needs one.
    :param version: ``v2``, or ``v1``, which needs no password here.
    """

    def __init__(self, url: str, username: str, password: str, version: str = "v2") -> None:
        self.url = url
        self._version = version
        self._credentials = {"username": username, "password": password}
        # A proxy from the environment must not see calls to the loopback address.
        # On a busy machine an answer takes its time.
        self._http = httpx.Client(base_url=url, timeout=120, trust_env=False)
        self._token: str | None = None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # ------------------------------------------------------------------------------------------- health

    def health(self) -> dict[str, Any]:
        """Return the health of each component; empty while the API server can't be reached."""
        try:
            path = "/api/v2/monitor/health" if self._version == "v2" else "/api/v1/health"
            response = self._http.get(path, timeout=5)
        except httpx.TransportError:
            return {}
        return response.json() if response.status_code == 200 else {}

    # -------------------------------------------------------------------------------------- connections

    def add_connection(self, conn_id: str, fields: Mapping[str, Any]) -> None:
        """Create a connection in Airflow's database, where the UI lists it.

        :param fields: as in the JSON of an environment variable: ``conn_type``, ``host``, ``extra``, ...
        """
        body = {"connection_id": conn_id, **fields}
        if "extra" in body:
            body["extra"] = json.dumps(body["extra"])
        self._request("POST", "connections", json=body)

    def connection(self, conn_id: str) -> dict[str, Any]:
        """Return the fields of a connection, without its password."""
        found: dict[str, Any] = self._get(f"connections/{conn_id}")
        return found

    # --------------------------------------------------------------------------------------------- runs

    def wait_for_dag(self, dag_id: str, *, within: float = WITHIN, others_may_break: bool = False) -> None:
        """Wait until a DAG has been parsed.

        :param others_may_break: wait on although a DAG file can't be imported, which may be another one.
        :raises AirflowApiError: when a DAG file can't be imported.
        """

        def known() -> bool | None:
            response = self._request("GET", f"dags/{dag_id}", accept=(200, 404))
            return True if response.status_code == 200 else None

        def broken_file() -> None:
            if others_may_break:
                return
            errors = self._get("importErrors")["import_errors"]
            if errors:
                raise AirflowApiError("\n".join(f"{e['filename']}\n{e['stack_trace']}" for e in errors))

        eventually(known, within=within, what=f"DAG {dag_id} is known", give_up=broken_file)

    def trigger(self, dag_id: str, *, run_id: str | None = None, conf: dict[str, Any] | None = None) -> str:
        """Start a run now, unpausing the DAG if needed; return the run id."""
        self.wait_for_dag(dag_id)
        self._request("PATCH", f"dags/{dag_id}", json={"is_paused": False})
        body: dict[str, Any] = {"conf": conf or {}}
        if run_id is not None:
            body["dag_run_id"] = run_id
        if self._version == "v2":
            body["logical_date"] = None
        return self._request("POST", f"dags/{dag_id}/dagRuns", json=body).json()["dag_run_id"]

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: ``queued``, ``running``, ``success`` or ``failed``."""
        return self._get(f"dags/{dag_id}/dagRuns/{run_id}")["state"]

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        within: float = WITHIN,
        on_poll: Callable[[list[TaskInstance]], None] | None = None,
    ) -> str:
        """Wait until a run has finished and return its state.

        :param on_poll: called with all task instances at each poll.
        """

        def finished() -> str | None:
            if on_poll is not None:
                on_poll(self.task_instances(dag_id, run_id))
            state = self.run_state(dag_id, run_id)
            return state if state in FINISHED else None

        return eventually(finished, within=within, what=f"run {run_id} of {dag_id} is finished")

    # -------------------------------------------------------------------------------------------- tasks

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return every task instance of a run, mapped ones included."""
        rows = self._get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=1000)["task_instances"]
        return [
            TaskInstance(
                task_id=row["task_id"],
                map_index=row["map_index"],
                state=row["state"] or "none",
                try_number=row["try_number"],
                start_date=row["start_date"],
                end_date=row["end_date"],
                duration=row["duration"],
                pid=row["pid"],
                triggerer=(row["trigger"] or {}).get("triggerer_id"),
            )
            for row in rows
        ]

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> TaskInstance:
        """Return one task instance; raises `LookupError` when the run has none of that name."""
        for instance in self.task_instances(dag_id, run_id):
            if (instance.task_id, instance.map_index) == (task_id, map_index):
                return instance
        raise LookupError(f"{task_id}[{map_index}] is not in run {run_id} of {dag_id}")

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Iterable[str],
        *,
        map_index: int = -1,
        within: float = WITHIN,
    ) -> TaskInstance:
        """Wait until a task instance is in one of ``states``."""
        wanted = frozenset(states)

        def reached() -> TaskInstance | None:
            instance = self.task_instance(dag_id, run_id, task_id, map_index)
            return instance if instance.state in wanted else None

        return eventually(
            reached, within=within, what=f"{task_id} of run {run_id} is {' or '.join(sorted(wanted))}"
        )

    def log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """Return a task's log as text, one event per line."""
        answer = self._request(
            "GET",
            f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}",
            params={"map_index": map_index, "full_content": True},
            headers={"Accept": "application/json"},
        )
        content = answer.json()["content"]
        return "\n".join(_log_line(event) for event in content) if isinstance(content, list) else str(content)

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """Return one XCom as an object; None when the task has pushed none under that key."""
        response = self._request(
            "GET",
            f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}",
            params={"map_index": map_index, "deserialize": False, "stringify": False},
            accept=(200, 404),
        )
        return response.json()["value"] if response.status_code == 200 else None

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, *, map_index: int = -1) -> None:
        """Mark a task instance, as a user does in the UI: ``failed`` or ``success``."""
        index = f"/{map_index}" if map_index >= 0 else ""
        self._request(
            "PATCH",
            f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}{index}",
            json={"new_state": state} | ({} if self._version == "v2" else {"dry_run": False}),
        )

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run: ``failed`` or ``success``."""
        self._request("PATCH", f"dags/{dag_id}/dagRuns/{run_id}", json={"state": state})

    def clear(self, dag_id: str, run_id: str, task_ids: Iterable[str], *, keeps_state: bool = False) -> None:
        """Clear task instances whatever their state, so that the scheduler starts them again.

        :param keeps_state: leave the task state store alone, as a user of Airflow 3.4 can choose.
        """
        self._request(
            "POST",
            f"dags/{dag_id}/clearTaskInstances",
            json={
                "dry_run": False,
                "only_failed": False,
                "dag_run_id": run_id,
                "task_ids": list(task_ids),
                "include_downstream": False,
                **({"keep_task_state": True} if keeps_state else {}),
            },
        )

    # --------------------------------------------------------------------------------------------- HTTP

    def _get(self, path: str, **params: Any) -> Any:
        return self._request("GET", path, params=params).json()

    def _request(
        self, method: str, path: str, *, accept: tuple[int, ...] = (), **options: Any
    ) -> httpx.Response:
        headers = {**self._authorization(), **options.pop("headers", {})}
        url = f"/api/{self._version}/{path}"
        response = self._http.request(method, url, headers=headers, **options)
        for pause in _WHILE_LOCKED:
            if response.status_code != 500:
                break
            # "Database error": with SQLite, requests that write at the same time may have to be repeated.
            time.sleep(pause)
            response = self._http.request(method, url, headers=headers, **options)
        if response.status_code >= 400 and response.status_code not in accept:
            raise AirflowApiError(f"{method} {path}: {response.status_code} {response.text[:500]}")
        return response

    def _authorization(self) -> dict[str, str]:
        if self._version == "v1":
            return {}
        if self._token is None:
            login = self._http.post("/auth/token", json=self._credentials)
            if login.status_code >= 400:
                raise AirflowApiError(f"login: {login.status_code} {login.text[:500]}")
            self._token = login.json()["access_token"]
        return {"Authorization": f"Bearer {self._token}"}


def _log_line(event: Any) -> str:
    if not isinstance(event, dict):
        return str(event)
    known = {"timestamp", "event", "level", "logger", "filename", "lineno"}
    details = " ".join(f"{key}={value}" for key, value in event.items() if key not in known)
    return " ".join(part for part in (event.get("level", ""), event.get("event", ""), details) if part)
