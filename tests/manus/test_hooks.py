"""The Manus hook at its edge: what it sends, when, and what a person reads when it cannot."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
import requests_mock as requests_mock_lib

from remote_tasks_provider.core.errors import ConnectionConfigError, NotFoundError, ServerError
from remote_tasks_provider.manus.hooks import ManusHook

KEY = "sk-very-secret-key-1234567890"
TASKS = "https://api.manus.ai/v1/tasks"
V2 = "https://api.manus.ai/v2"
LIST_V2 = f"{V2}/task.list"

Mock = requests_mock_lib.Mocker
Define = Callable[..., str]


@pytest.fixture
def conn(set_connection: Define) -> str:
    """The connection ``manus_default`` as a user first sets it up: with nothing but a key."""
    return set_connection("manus_default", conn_type="manus", password=KEY)


def _page(*ids: str, more: bool = False) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [{"id": task_id} for task_id in ids],
        "last_id": ids[-1],
        "has_more": more,
    }


def _sent(mock: Mock, number: int = -1) -> dict[str, list[str]]:
    return mock.request_history[number].qs


class TestGetTask:
    def test_hook_requests_the_one_task_with_the_key(self, conn: str, requests_mock: Mock) -> None:
        requests_mock.get(f"{TASKS}/t1", json={"id": "t1", "status": "running"})

        assert ManusHook().get_task("t1").state == "running"
        (request,) = requests_mock.request_history
        assert request.headers["API_KEY"] == KEY
        assert "Authorization" not in request.headers

    def test_hook_uses_another_connection(self, set_connection: Define, requests_mock: Mock) -> None:
        set_connection(
            "my_manus", conn_type="manus", password="other", host="https://proxy.example.com/manus"
        )
        requests_mock.get("https://proxy.example.com/manus/v1/tasks/t1", json={"id": "t1"})

        assert ManusHook(manus_conn_id="my_manus").get_task("t1").id == "t1"
        assert requests_mock.last_request.headers["API_KEY"] == "other"

    def test_unknown_task_is_not_found(self, conn: str, requests_mock: Mock) -> None:
        requests_mock.get(f"{TASKS}/t1", status_code=404, json={"code": 5, "message": "task not found"})
        requests_mock.get(f"{V2}/task.detail", status_code=404, json={"error": {"code": "not_found"}})

        with pytest.raises(NotFoundError, match=r"Manus GET /v2/task.detail \{task_id\}: HTTP 404 not_found"):
            ManusHook().get_task("t1")

    def test_empty_id_is_refused_without_a_request(self, conn: str, requests_mock: Mock) -> None:
        with pytest.raises(ValueError, match="remote_task_id"):
            ManusHook().get_task("")
        assert requests_mock.call_count == 0


class TestConstruction:
    def test_constructor_reads_no_connection(self, requests_mock: Mock) -> None:
        assert ManusHook("not_there").conn_id == "not_there"

    def test_connections_are_pooled_until_the_hook_is_closed(self, conn: str) -> None:
        hook = ManusHook()
        client = hook.get_conn()

        assert hook.client is client
        hook.close()
        hook.close()
        assert hook.client is not client
        hook.close()

    def test_key_is_masked_in_logs(self, conn: str, monkeypatch: pytest.MonkeyPatch) -> None:
        masked: list[str] = []
        monkeypatch.setattr("remote_tasks_provider.bases.connection.mask_secret", masked.append)
        _ = ManusHook().client

        assert masked == [KEY]


class TestIterTasks:
    def test_iterator_requests_lazily(self, conn: str, requests_mock: Mock) -> None:
        requests_mock.get(TASKS, json=_page("a"))
        tasks = ManusHook().iter_tasks()

        assert requests_mock.call_count == 0
        assert next(tasks).id == "a"
        assert requests_mock.call_count == 1

    def test_pages_are_requested_one_by_one(self, conn: str, requests_mock: Mock) -> None:
        requests_mock.get(
            TASKS,
            [
                {"json": _page("a", "b", more=True)},
                {"json": _page("c", "d", more=True)},
                {"json": _page("e")},
            ],
        )
        tasks = ManusHook().iter_tasks(page_size=2)

        assert [task.id for task in itertools.islice(tasks, 2)] == ["a", "b"]
        assert requests_mock.call_count == 1
        assert next(tasks).id == "c"
        assert requests_mock.call_count == 2
        assert _sent(requests_mock)["after"] == ["b"]
        assert [task.id for task in tasks] == ["d", "e"]
        assert requests_mock.call_count == 3

    def test_filters_are_sent_as_documented(self, conn: str, requests_mock: Mock) -> None:
        requests_mock.get(TASKS, json=_page("a"))
        list(
            ManusHook().iter_tasks(
                status=["failed", "pending"],
                query="sums",
                created_after="2025-11-18T21:30:39Z",
                created_before=1763600000,
                project_id="p1",
                order="asc",
                order_by="updated_at",
                after="t0",
                page_size=50,
            )
        )

        # requests_mock gives names and values in lower case.
        assert _sent(requests_mock) == {
            "status": ["failed", "pending"],
            "query": ["sums"],
            "createdafter": ["1763501439"],
            "createdbefore": ["1763600000"],
            "project_id": ["p1"],
            "order": ["asc"],
            "orderby": ["updated_at"],
            "after": ["t0"],
            "limit": ["50"],
        }
        assert "status=failed&status=pending" in requests_mock.last_request.url
        assert "createdAfter=1763501439" in requests_mock.last_request.url

    def test_limit_counts_tasks_and_bounds_the_page(self, conn: str, requests_mock: Mock) -> None:
        requests_mock.get(TASKS, [{"json": _page("a", "b", more=True)}, {"json": _page("c", "d", more=True)}])

        assert [task.id for task in ManusHook().iter_tasks(limit=3)] == ["a", "b", "c"]
        assert _sent(requests_mock, 0)["limit"] == ["3"]
        assert requests_mock.call_count == 2

    @pytest.mark.parametrize(
        "wrong",
        [
            {"page_size": 0},
            {"page_size": 1001},
            {"limit": 0},
            {"limit": "x"},
            {"status": "done"},
            {"order": "up"},
        ],
        ids=str,
    )
    def test_arguments_are_checked_at_once(
        self, wrong: dict[str, Any], conn: str, requests_mock: Mock
    ) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ManusHook().iter_tasks(**wrong)
        assert requests_mock.call_count == 0


class TestAgainstTheSandbox:
    def test_hook_works_over_a_real_socket(self, manus_conn: str, sandbox: Any) -> None:
        sandbox.manus.add_task("t1", [("completed", None)])
        hook = ManusHook(manus_conn)

        assert hook.get_task("t1").state == "completed"
        assert [task.id for task in hook.iter_tasks()] == ["t1"]
        assert hook.test_connection()[0]
        hook.close()


class TestTestConnection:
    def _test(self, conn_id: str = "manus_default") -> tuple[bool, str]:
        ok, message = ManusHook(conn_id).test_connection()
        assert KEY not in message
        # The Test button gives the connection an id that nobody knows.
        assert f"onnection {conn_id!r}" not in message
        return ok, message

    def test_good_connection_names_its_host(self, conn: str, requests_mock: Mock) -> None:
        requests_mock.get(LIST_V2, json={"ok": True, "data": []})

        assert self._test() == (True, "Manus at https://api.manus.ai accepted the key.")
        assert _sent(requests_mock)["limit"] == ["1"]

    @pytest.mark.parametrize(
        ("answer", "hint"),
        [
            (
                {"status_code": 401, "json": {"code": 16, "message": f"invalid api key {KEY}"}},
                "Check the password",
            ),
            ({"status_code": 403, "json": {"message": "no"}}, "not allowed"),
            ({"status_code": 404, "text": "404 page not found"}, "HTTP 404"),
            ({"status_code": 405, "text": ""}, "Check the host"),
            (
                {"status_code": 301, "headers": {"location": "https://manus.im/login"}},
                "redirect to https://manus.im",
            ),
            ({"text": f"<html>{KEY}</html>", "headers": {"content-type": "text/html"}}, "check the host"),
            ({"json": {"object": "list"}}, "check the host"),
            ({"exc": requests.ConnectTimeout(f"{KEY} took too long")}, "check the host"),
            ({"exc": requests.ConnectionError(f"refused {KEY}")}, "check the host"),
            ({"status_code": 503, "text": "busy"}, "HTTP 503"),
            ({"status_code": 429, "text": "slow"}, "HTTP 429"),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_bad_connection_names_the_fix_after_one_request(
        self, answer: dict[str, Any], hint: str, conn: str, requests_mock: Mock
    ) -> None:
        requests_mock.get(LIST_V2, **answer)
        ok, message = self._test()

        assert not ok
        assert hint in message
        assert requests_mock.call_count == 1

    @pytest.mark.parametrize(
        ("fields", "hint"),
        [
            ({"password": None}, "field password: is empty"),
            ({"host": "http://api.manus.ai"}, "use https://"),
            ({"host": "https://api.manus.ai/v1"}, "leave out the API's version and path"),
            ({"extra": {"read_timeout": "long"}}, "extra['read_timeout']"),
            ({"extra": {"headers": {"X": KEY}}}, "'headers' is not known"),
            ({"extra": {"api_version": "v3"}}, "extra['api_version']"),
        ],
        ids=str,
    )
    def test_unusable_connection_names_the_field_without_a_request(
        self, fields: dict[str, Any], hint: str, set_connection: Define, requests_mock: Mock
    ) -> None:
        set_connection("manus_default", **({"conn_type": "manus", "password": KEY} | fields))
        ok, message = self._test()

        assert not ok
        assert hint in message
        assert requests_mock.call_count == 0

    def test_unreachable_host_is_named(self, set_connection: Define) -> None:
        set_connection("manus_default", conn_type="manus", password=KEY, host="http://127.0.0.1:9")
        ok, message = self._test()

        assert not ok
        assert "no answer from http://127.0.0.1:9" in message

    def test_missing_connection_is_said_to_be_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

        def nowhere(conn_id: str) -> Any:
            raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

        monkeypatch.setattr(BaseHook, "get_connection", nowhere)

        assert self._test("not_there") == (False, "This connection isn't defined")


class TestErrors:
    def test_unusable_connection_is_reported_on_first_use(self, set_connection: Define) -> None:
        set_connection("manus_default", conn_type="manus")

        with pytest.raises(ConnectionConfigError, match="'manus_default', field password"):
            ManusHook().get_task("t1")

    def test_key_is_in_no_error(self, set_connection: Define, requests_mock: Mock) -> None:
        set_connection("manus_default", conn_type="manus", password=KEY, extra={"max_attempts": 1})
        requests_mock.get(f"{TASKS}/t1", status_code=500, text=f"you sent {KEY}")

        with pytest.raises(ServerError) as caught:
            ManusHook().get_task("t1")
        assert KEY not in f"{caught.value!r} {caught.value} {json.dumps(caught.value.to_json())}"
