"""What a deployment runs beside Airflow: Redis, S3 and a secrets manager, collectors of metrics and traces.

Each listens on the loopback address, has a data folder of its own, and is stopped by its process id.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from xml.etree import ElementTree

import requests

from dev.airflow.client import eventually
from dev.airflow.standalone import free_port

START_SECONDS = 120.0
SIGNATURE = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request"


class Server:
    """A process with a port of its own; a context manager. A killed one can be started again."""

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / self.name
        self.folder.mkdir()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command that runs it in the foreground."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it can be connected to."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._listens, within=START_SECONDS, what=f"{self.name} listens", give_up=self._check)

    def kill(self) -> None:
        """Kill it, as a machine would that loses its power."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Any:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _listens(self) -> bool | None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return None

    def _check(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"{self.name} exited\n{(self.folder / 'log').read_text(errors='replace')}")


class Redis(Server):
    """The broker of Celery. It writes to disk what it is told, as a broker should that may be restarted."""

    name = "redis"

    def command(self) -> list[str]:
        return [
            *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes"),
        ]

    @property
    def url(self) -> str:
        """The address for Celery."""
        return f"redis://127.0.0.1:{self.port}/0"


class Aws(Server):
    """S3 and the Secrets Manager, played by moto.

    :param python: of the environment that has moto.
    """

    name = "moto"

    def __init__(self, folder: Path, python: Path) -> None:
        super().__init__(folder)
        self._program = python.with_name("moto_server")
        self._http = requests.Session()
        # A proxy from the environment must not see calls to the loopback address.
        self._http.trust_env = False
        # Anyone may sign; without a signature nothing can be read.
        self._http.headers["Authorization"] = SIGNATURE.format(service="s3")

    def command(self) -> list[str]:
        return [str(self._program), "-H", "127.0.0.1", "-p", str(self.port)]

    @property
    def url(self) -> str:
        """The address of every service."""
        return f"http://127.0.0.1:{self.port}"

    # ------------------------------------------------------------------------------------------ objects

    def make_bucket(self, name: str) -> None:
        """Make an empty bucket."""
        self._http.put(f"{self.url}/{name}").raise_for_status()

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Store an object."""
        self._http.put(f"{self.url}/{bucket}/{key}", data=content).raise_for_status()

    def get(self, bucket: str, key: str) -> bytes:
        """Return an object's content."""
        answer = self._http.get(f"{self.url}/{bucket}/{key}")
        answer.raise_for_status()
        return answer.content

    def keys(self, bucket: str) -> list[str]:
        """Return the names of a bucket's objects."""
        found: list[str] = []
        parameters = {"list-type": "2"}
        while True:
            answer = self._http.get(f"{self.url}/{bucket}", params=parameters)
            answer.raise_for_status()
            root = ElementTree.fromstring(answer.content)
            found += [element.text or "" for element in root.findall("{*}Contents/{*}Key")]
            token = root.findtext("{*}NextContinuationToken")
            if not token:
                return found
            parameters = {"list-type": "2", "continuation-token": token}

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Return every object of every bucket."""
        root = ElementTree.fromstring(self._http.get(self.url).content)
        for bucket in [element.text or "" for element in root.findall("{*}Buckets/{*}Bucket/{*}Name")]:
            for key in self.keys(bucket):
                yield f"s3://{bucket}/{key}", self.get(bucket, key)

    # ------------------------------------------------------------------------------------------ secrets

    def set_connection(self, conn_id: str, fields: dict[str, Any]) -> None:
        """Write a connection to the Secrets Manager."""
        name, text = f"airflow/connections/{conn_id}", json.dumps(fields)
        if not self._secret("CreateSecret", Name=name, SecretString=text):
            assert self._secret("PutSecretValue", SecretId=name, SecretString=text)

    def delete_connection(self, conn_id: str) -> None:
        """Delete a connection from the Secrets Manager."""
        assert self._secret(
            "DeleteSecret", SecretId=f"airflow/connections/{conn_id}", ForceDeleteWithoutRecovery=True
        )

    def _secret(self, action: str, **body: Any) -> bool:
        answer = self._http.post(
            self.url,
            json=body,
            headers={
                "X-Amz-Target": f"secretsmanager.{action}",
                "Content-Type": "application/x-amz-json-1.1",
                "Authorization": SIGNATURE.format(service="secretsmanager"),
            },
        )
        return answer.status_code == 200 and "ARN" in answer.json()


class Statsd:
    """A StatsD server that keeps the lines it receives; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.5)
        self.port = int(self._socket.getsockname()[1])
        self.lines: list[tuple[float, str]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._receive, daemon=True)

    def __enter__(self) -> Statsd:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    def own(self, since: float = 0.0) -> list[str]:
        """Return the lines of this provider's metrics."""
        return [line for at, line in self.lines if at >= since and "remote_tasks" in line]

    def _receive(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                for line in self._socket.recv(65535).decode(errors="replace").splitlines():
                    self.lines.append((time.monotonic(), line))


class Traces:
    """A collector of OpenTelemetry that keeps the traces it receives; a context manager."""

    def __init__(self) -> None:
        received = self.received = list[bytes]()

        class Keep(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Keep)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def __enter__(self) -> Traces:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def missing_programs() -> list[str]:
    """Return the programs that are needed and not installed."""
    return [name for name in ("redis-server",) if shutil.which(name) is None]
