"""Airflow's API server alone, over a database with given rows; a context manager."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from dev.airflow.standalone import COMPONENTS, StandaloneAirflow
from dev.environments import ROOT
from dev.page.auth import LIMITED, OneDagLessAuthManager
from dev.page.rows import Row

PAGE = "/remote-tasks-page/"


class ApiServer(StandaloneAirflow):
    """Serves the UI, the API and the plugins; nothing runs.

    :param path: below which everything is served, as ``[api] base_url`` may have one.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        path: str = "",
        config: Mapping[str, str] | None = None,
        database_url: str | None = None,
    ) -> None:
        manager = f"{OneDagLessAuthManager.__module__}.{OneDagLessAuthManager.__name__}"
        settings = {
            "PYTHONPATH": str(ROOT),
            "AIRFLOW__CORE__AUTH_MANAGER": manager,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"admin:admin,{LIMITED}:viewer",
            **(config or {}),
        }
        super().__init__(folder, config=settings, start_timeout=300, database_url=database_url)
        self.url += path
        self._overrides = {**self._overrides, "AIRFLOW__API__BASE_URL": self.url}
        self.client.close()
        self._rows = rows
        self._http = httpx.Client(timeout=120, trust_env=False)

    @property
    def _commands(self) -> dict[str, list[str]]:
        return {"api-server": COMPONENTS["api-server"]}

    def _start_component(self, name: str, arguments: list[str] | None = None) -> None:
        url = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database_url(name)}
        answer = subprocess.run(
            [self.python, "-m", "dev.page.rows"],
            cwd=ROOT,
            env={**self._environment, **url},
            input=json.dumps([asdict(row) for row in self._rows]),
            text=True,
            capture_output=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr[-3000:]
        super()._start_component(name, arguments)

    def _healthy(self) -> bool:
        try:
            answer = self._http.get(f"{self.url}/api/v2/monitor/health", timeout=5)
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    def stop(self) -> None:
        self._http.close()
        super().stop()

    def password_of(self, username: str) -> str:
        """Return a user's password, which the server has made."""
        found = json.loads((self.home / "simple_auth_manager_passwords.json.generated").read_text())
        return str(found[username])

    def token(self, username: str) -> str:
        credentials = {"username": username, "password": self.password_of(username)}
        answer = self._http.post(f"{self.url}/auth/token", json=credentials)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def get(
        self, path: str, *, token: str | None = None, cookie: str | None = None, **query: Any
    ) -> httpx.Response:
        """Return the answer to a request of a user, or of nobody."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if cookie is not None:
            headers["Cookie"] = f"_token={cookie}"
        return self._http.get(self.url + path, headers=headers, params=query)

    @property
    def root(self) -> str:
        """The address without a path."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"
