"""``@task.qstash``: called, mapped, deferred and retried like any other task."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import DAG

from remote_tasks_provider.get_provider_info import get_provider_info
from remote_tasks_provider.qstash.decorators import _QStashDecoratedOperator, qstash_task
from tests.manus.airflow_task import MODES
from tests.qstash.account import HOOK, QStash


def operator(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return the operator that a decorated function becomes in a DAG."""
    with DAG("brief", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        qstash_task(function, **({"destination": HOOK} | options))(*args)
    return dag.get_task(function.__name__)


def rows(count: int) -> dict[str, int]:
    return {"rows": count}


def bodies(account: QStash) -> list[bytes]:
    return [message.options.body for message in account.qstash.messages]


class TestCall:
    def test_function_returns_the_body(self, account: QStash) -> None:
        result = account.task().attempt(lambda: operator(rows, 5))

        assert result["message_id"] == account.sent[0]
        assert bodies(account) == [b'{"rows":5}']

    @pytest.mark.parametrize("mode", MODES)
    def test_function_may_be_followed_by_a_wait(self, account: QStash, mode: str) -> None:
        task = account.task()
        calls: list[int] = []

        def body(count: int) -> str:
            calls.append(count)
            return "text"

        result = task.attempt(
            lambda: operator(body, 5, wait_for_completion=True, deferrable=mode == "deferred", delay="10m")
        )

        assert (result["state"], calls) == ("completed", [5])

    def test_function_may_take_the_airflow_context(self, account: QStash) -> None:
        def body(ti: Any) -> str:
            return f"attempt {ti.try_number}"

        account.task().attempt(lambda: operator(body))

        assert bodies(account) == [b"attempt 1"]

    def test_retry_is_deduplicated_whatever_the_function_returns(self, account: QStash) -> None:
        def body(ti: Any) -> str:
            return f"attempt {ti.try_number}"

        task = account.task(retries=1)
        task.attempt(lambda: operator(body))
        task.retry()

        assert task.attempt(lambda: operator(body))["deduplicated"] is True
        assert bodies(account) == [b"attempt 1"]

    def test_arguments_are_templates_and_the_returned_body_is_not(self, account: QStash) -> None:
        made = operator(rows, "{{ n }}", labels="{{ word }}")
        made.render_template_fields({"n": 5, "word": "nightly"})

        assert (made.op_args, made.labels) == (("5",), "nightly")
        assert "body" not in made.template_fields

    def test_body_argument_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"@task\.qstash takes no body: the function returns it"):
            operator(rows, 5, body="text")

    def test_body_that_is_not_json_is_refused(self, account: QStash) -> None:
        def body() -> Any:
            return {1, 2}

        with pytest.raises(ValueError, match="body cannot be written as JSON"):
            account.task().attempt(lambda: operator(body))
        assert account.sandbox.requests == []


class TestMapping:
    def test_function_can_be_mapped(self, account: QStash) -> None:
        with DAG("brief", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
            qstash_task(rows, destination=HOOK).expand(count=[1, 2])

        assert dag.get_task("rows").is_mapped


class TestProvider:
    def test_decorator_is_registered_by_name(self) -> None:
        named = {one["name"]: one["class-name"] for one in get_provider_info()["task-decorators"]}

        assert named["qstash"] == "remote_tasks_provider.qstash.decorators.qstash_task"
        assert _QStashDecoratedOperator.custom_operator_name == "@task.qstash"


class TestOutputs:
    def test_annotation_of_a_dict_makes_one_xcom(self) -> None:
        """A URL group gives a list, whatever the function returns."""
        assert operator(rows, 5).multiple_outputs is False

    def test_user_may_ask_for_several(self) -> None:
        assert operator(rows, 5, multiple_outputs=True).multiple_outputs is True
