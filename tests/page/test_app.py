"""An Airflow that lacks what the page needs: the page says so, and nothing else notices."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from remote_tasks_provider.page import app as page_app


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    page_app._real.cache_clear()
    yield
    page_app._real.cache_clear()


def ask(kind: str = "http") -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": f"{kind}.request"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": kind, "method": "GET", "path": "/waits", "headers": [], "query_string": b""}
    asyncio.run(page_app.app(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    "error", [ImportError("cannot import name 'GetUserDep'"), AttributeError("no attribute 'get_user'")]
)
def test_page_says_what_this_airflow_lacks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def import_module(name: str) -> Any:
        raise error

    monkeypatch.setattr(page_app, "import_module", import_module)
    with caplog.at_level(logging.ERROR):
        start, body = ask()
        ask()

    assert start["status"] == 501
    assert str(error) in json.loads(body["body"])["detail"]
    assert "does not work with Airflow" in json.loads(body["body"])["detail"]
    assert len(caplog.records) == 1


def test_page_that_is_unavailable_does_not_answer_the_lifespan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_app, "_real", lambda: page_app._refusal("gone"))

    assert ask("lifespan") == []


def test_endpoint_says_what_has_another_name_now(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi import HTTPException

    from remote_tasks_provider.page import api

    class Manager:
        """One that knows no DAGs by user."""

    monkeypatch.setattr(api, "get_auth_manager", Manager)
    with pytest.raises(HTTPException) as refused:
        api._read(user=None)

    assert refused.value.status_code == 501
    assert "get_authorized_dag_ids" in refused.value.detail
