"""The QStash hook at its edge; what it shares with every hook is tested with Manus's."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import requests_mock as requests_mock_lib

from remote_tasks_provider.core.errors import AuthenticationError
from remote_tasks_provider.qstash.hooks import QStashHook

TOKEN = "eyJVc2VySUQiOiJhIn0="
HOST = "https://qstash.upstash.io"

Mock = requests_mock_lib.Mocker
Define = Callable[..., str]


@pytest.fixture
def conn(set_connection: Define) -> str:
    """The connection ``qstash_default`` as a user first sets it up: with nothing but a token."""
    return set_connection("qstash_default", conn_type="qstash", password=TOKEN)


class TestGetTask:
    def test_hook_requests_the_one_task_with_the_token(self, conn: str, requests_mock: Mock) -> None:
        requests_mock.get(f"{HOST}/v1/tasks/t1", json={"taskId": "t1", "state": "delivered"})

        assert QStashHook().get_task("t1").state == "completed"
        (request,) = requests_mock.request_history
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert request.qs == {}

    def test_token_pasted_with_its_scheme_is_sent_once(
        self, set_connection: Define, requests_mock: Mock
    ) -> None:
        set_connection("qstash_default", conn_type="qstash", password=f"Bearer {TOKEN}")
        requests_mock.get(f"{HOST}/v1/tasks/t1", json={"taskId": "t1"})
        QStashHook().get_task("t1")

        assert requests_mock.last_request.headers["Authorization"] == f"Bearer {TOKEN}"

    def test_token_of_another_region_names_the_regions(
        self, set_connection: Define, requests_mock: Mock
    ) -> None:
        set_connection("us", conn_type="qstash", password=TOKEN, host="https://qstash-us-east-1.upstash.io")
        requests_mock.get(
            "https://qstash-us-east-1.upstash.io/v1/tasks/t1",
            status_code=404,
            json={"error": "user not found in this region (us-east-1)"},
        )

        with pytest.raises(AuthenticationError, match=r"EU: https://qstash\.upstash\.io") as caught:
            QStashHook(qstash_conn_id="us").get_task("t1")
        assert TOKEN not in str(caught.value)


class TestIterMessageTasks:
    url = f"{HOST}/v1/messages/m1/tasks"

    def _pages(self, mock: Mock) -> None:
        pages = [
            {"tasks": [{"taskId": "a"}, {"taskId": "b"}], "cursor": 2},
            {"tasks": [{"taskId": "c"}], "cursor": 1},
            {"tasks": [{"taskId": "d"}], "cursor": 0},
        ]
        mock.get(self.url, [{"json": page} for page in pages])

    def test_pages_are_requested_when_needed(self, conn: str, requests_mock: Mock) -> None:
        self._pages(requests_mock)
        tasks = QStashHook().iter_message_tasks("m1")

        assert requests_mock.call_count == 0
        assert [task.task_id for task in itertools.islice(tasks, 3)] == ["a", "b", "c"]
        assert [request.qs for request in requests_mock.request_history] == [{}, {"cursor": ["2"]}]
        assert [task.task_id for task in tasks] == ["d"]

    def test_limit_counts_tasks(self, conn: str, requests_mock: Mock) -> None:
        self._pages(requests_mock)

        assert len(list(QStashHook().iter_message_tasks("m1", limit=2))) == 2
        assert requests_mock.call_count == 1

    @pytest.mark.parametrize("cursor", [1678901234567, "1678901234567"])
    def test_iteration_can_start_at_a_cursor(self, cursor: Any, conn: str, requests_mock: Mock) -> None:
        self._pages(requests_mock)
        next(QStashHook().iter_message_tasks("m1", cursor=cursor))

        assert requests_mock.last_request.qs == {"cursor": ["1678901234567"]}

    @pytest.mark.parametrize(
        ("wrong", "name"),
        [
            ({"message_id": ""}, "message_id"),
            ({"message_id": "m1", "limit": 0}, "limit"),
            ({"message_id": "m1", "cursor": "x"}, "cursor"),
            ({"message_id": "m1", "cursor": -1}, "cursor"),
        ],
        ids=str,
    )
    def test_arguments_are_checked_at_once(
        self, wrong: dict[str, Any], name: str, conn: str, requests_mock: Mock
    ) -> None:
        with pytest.raises(ValueError, match=name):
            QStashHook().iter_message_tasks(**wrong)
        assert requests_mock.call_count == 0


class TestTestConnection:
    def _test(self) -> tuple[bool, str]:
        ok, message = QStashHook().test_connection()
        assert TOKEN not in message
        assert "onnection 'qstash_default'" not in message
        return ok, message

    def test_good_connection_names_its_host(self, conn: str, requests_mock: Mock) -> None:
        requests_mock.get(f"{HOST}/v2/logs?count=1", json={"events": []})

        assert self._test() == (True, "QStash at https://qstash.upstash.io accepted the key.")

    @pytest.mark.parametrize(
        ("answer", "hint"),
        [
            ({"status_code": 401, "json": {"error": f"invalid token {TOKEN}"}}, "Check the password (token)"),
            (
                {"status_code": 404, "json": {"error": "user not found in this region (eu)"}},
                "regions are separate",
            ),
            ({"text": "<html></html>"}, "check the host"),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_bad_connection_names_the_fix(
        self, answer: dict[str, Any], hint: str, conn: str, requests_mock: Mock
    ) -> None:
        requests_mock.get(f"{HOST}/v2/logs", **answer)
        ok, message = self._test()

        assert not ok
        assert hint in message

    def test_connection_test_works_against_the_sandbox(self, qstash_conn: str, sandbox: Any) -> None:
        sandbox.qstash.add_task("t1", "m1", ["delivered"])
        hook = QStashHook(qstash_conn)

        assert hook.test_connection()[0]
        assert hook.get_task("t1").state == "completed"
        assert [task.task_id for task in hook.iter_message_tasks("m1")] == ["t1"]
        hook.close()
