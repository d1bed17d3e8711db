"""``@task.manus``: called, mapped, templated, unpacked, deferred and retried like any other task."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, task

from remote_tasks_provider.get_provider_info import get_provider_info
from remote_tasks_provider.manus.decorators import _ManusDecoratedOperator, manus_task
from tests.manus.airflow_task import MODES, Account, dying


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def in_a_dag(build: Callable[[], Any]) -> DAG:
    with DAG("brief", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        build()
    return dag


def operator(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return the operator that a decorated function becomes in a DAG."""
    dag = in_a_dag(lambda: manus_task(function, poll_interval=10, **options)(*args))
    return dag.get_task(function.__name__)


def ask(topic: str) -> str:
    return f"Summarise the news about {topic}."


class TestCall:
    def test_function_returns_the_prompt(self, account: Account, mode: str) -> None:
        account.manus.plan(answer="42.", script=[("running", 60), "completed"])

        result = account.task().attempt(lambda: operator(ask, "cats", deferrable=mode == "deferred"))

        assert result["text"] == "42."
        assert account.manus.created[0].body["message"]["content"] == "Summarise the news about cats."

    def test_function_may_take_the_airflow_context(self, account: Account) -> None:
        def ask_for(ti: Any, params: Any = None) -> str:
            return f"Attempt {ti.try_number}"

        account.task().attempt(lambda: operator(ask_for))

        assert account.manus.created[0].body["message"]["content"] == "Attempt 1"

    def test_arguments_are_templates(self, account: Account) -> None:
        made = operator(ask, "{{ topic }}", title="{{ topic }}!", max_credits="{{ limit }}")

        made.render_template_fields({"topic": "cats", "limit": 5})

        assert (made.op_args, made.title, made.max_credits) == (("cats",), "cats!", 5)

    def test_returned_prompt_is_not_a_template(self, account: Account) -> None:
        made = operator(ask, "the text {{ ds }}")
        made.op_args = ("the text {{ ds }}",)

        account.task().attempt(lambda: made)

        assert "{{ ds }}" in account.manus.created[0].body["message"]["content"]
        assert "prompt" not in made.template_fields

    @pytest.mark.parametrize("returned", [None, "", "  ", 7, ["a"]])
    def test_invalid_prompt_is_refused_before_any_request(self, account: Account, returned: Any) -> None:
        def ask_nothing() -> Any:
            return returned

        with pytest.raises(ValueError, match="prompt is"):
            account.task().attempt(lambda: operator(ask_nothing))

        assert account.sandbox.requests == []

    def test_prompt_argument_is_refused(self) -> None:
        with pytest.raises(TypeError, match="the function returns it"):
            operator(ask, "cats", prompt="Do it.")

    def test_retry_resumes_the_task(self, account: Account, mode: str) -> None:
        account.manus.plan(script=[("running", 600), "completed"])
        airflow_task = account.task(retries=1)
        with pytest.raises(SystemExit):
            airflow_task.attempt(dying(lambda: operator(ask, "cats")))
        airflow_task.retry()

        result = airflow_task.attempt(lambda: operator(ask, "cats", deferrable=mode == "deferred"))

        assert account.created == [result["id"]]

    def test_changed_prompt_does_not_submit_a_second_task(self, account: Account) -> None:
        airflow_task = account.task(retries=1)

        def ask_at(ti: Any) -> str:
            return f"It is attempt {ti.try_number}."

        with pytest.raises(SystemExit):
            airflow_task.attempt(dying(lambda: operator(ask_at)))
        airflow_task.retry()

        with pytest.raises(AirflowFailException, match="other inputs"):
            airflow_task.attempt(lambda: operator(ask_at))
        assert len(account.created) == 1


class TestDag:
    def test_results_can_be_unpacked(self) -> None:
        def build() -> None:
            answer = manus_task(ask, multiple_outputs=True)("cats")
            task(lambda text: None, task_id="use")(answer["text"])  # type: ignore[call-overload]

        dag = in_a_dag(build)

        assert dag.get_task("ask").multiple_outputs
        assert dag.get_task("use").upstream_task_ids == {"ask"}

    def test_function_can_be_mapped(self) -> None:
        dag = in_a_dag(lambda: manus_task(ask, max_credits=5).expand(topic=["cats", "dogs"]))

        mapped = dag.get_task("ask")
        assert mapped.is_mapped
        assert mapped.operator_class is _ManusDecoratedOperator
        assert mapped.partial_kwargs["max_credits"] == 5

    def test_mapped_tasks_submit_their_own_prompts(self, account: Account) -> None:
        dag = in_a_dag(lambda: manus_task(ask, poll_interval=10).expand(topic=["cats", "dogs"]))
        mapped = dag.get_task("ask")
        for index, topic in enumerate(["cats", "dogs"]):
            made = mapped.unmap({"op_kwargs": {"topic": topic}})
            account.task(map_index=index).attempt(lambda made=made: made)

        prompts = [one.body["message"]["content"] for one in account.manus.created]
        assert prompts == [ask("cats"), ask("dogs")]

    def test_decorator_is_registered_by_name(self) -> None:
        (entry,) = [one for one in get_provider_info()["task-decorators"] if one["name"] == "manus"]
        module, _, name = entry["class-name"].rpartition(".")

        assert (module, name) == (manus_task.__module__, manus_task.__name__)
        assert operator(ask, "cats").custom_operator_name == "@task.manus"
