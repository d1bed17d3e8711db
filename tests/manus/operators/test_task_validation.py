"""What cannot work is refused before anything is paid: not one request reaches Manus."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.bases import agent_tasks
from remote_tasks_provider.manus.operators import ManusTaskOperator
from tests.manus.airflow_task import Account

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def refuses(account: Account, **arguments: Any) -> BaseException:
    """Return what an attempt with these arguments fails with; it must not have asked Manus for anything."""
    given = {"prompt": "Do it.", **arguments}
    task = account.task(retries=3)
    with pytest.raises((ValueError, AirflowFailException, FileNotFoundError)) as refused:
        task.attempt(lambda: ManusTaskOperator(task_id="ask", **given))
    assert account.sandbox.requests == []
    assert task.store == {}
    assert task.xcoms == {}
    return refused.value


class TestInAllVersions:
    @pytest.fixture(params=["v1", "v2", "best"], autouse=True)
    def _version(self, request: pytest.FixtureRequest, account: Account) -> None:
        account.connect(request.param)

    @pytest.mark.parametrize(
        ("prompt", "says"),
        [
            ("word " * 5000, r"prompt has about 6250 tokens; .* attachments"),
            ("字" * 5000, "about 5000 tokens"),
            ("", "prompt is empty: did a template or an XCom come out empty"),
            (" \n ", "prompt is empty"),
            (None, "prompt is a NoneType"),
            (["a", "list"], "prompt is a list"),
        ],
        ids=["long", "long in another script", "empty", "blank", "none", "list"],
    )
    def test_invalid_prompt_is_refused(self, account: Account, prompt: Any, says: str) -> None:
        assert re.search(says, str(refuses(account, prompt=prompt)))

    @pytest.mark.parametrize(
        ("attachments", "says"),
        [
            (["http://files.example.com/a.csv"], r"attachments\[0\] is 'http://"),
            ("http://files.example.com/a.csv", r"attachments\[0\]"),
            ([{"file_url": "http://files.example.com/a.csv"}], r"attachments\[0\]"),
            ([{"file_id": "f", "filename": "a.csv", "colour": "blue"}], "colour"),
            ([{"name": "a.csv"}], "neither file_id nor file_url"),
            (["https://example.com/a.pdf", ""], r"attachments\[1\] is ''"),
            ([None], r"attachments\[0\] is None"),
        ],
    )
    def test_invalid_attachment_is_refused(self, account: Account, attachments: Any, says: str) -> None:
        assert re.search(says, str(refuses(account, attachments=attachments)))

    def test_missing_file_is_refused(self, account: Account, tmp_path: Path) -> None:
        error = refuses(account, attachments=[f"file://{tmp_path}/missing.csv"])

        assert isinstance(error, FileNotFoundError)
        assert "missing.csv does not exist" in str(error)

    def test_folder_or_empty_file_is_refused(self, account: Account, tmp_path: Path) -> None:
        (tmp_path / "empty.csv").touch()

        assert "is a folder" in str(refuses(account, attachments=[f"file://{tmp_path}"]))
        assert "is empty" in str(refuses(account, attachments=[f"file://{tmp_path}/empty.csv"]))

    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("on_waiting", "guess"),
            ("on_waiting", ""),
            ("on_waiting", None),
            ("max_credits", 0),
            ("max_credits", "None"),
            ("max_credits", 1.5),
            ("agent_profile", "two\nlines"),
            ("project_id", "None"),
            ("connectors", ["a", ""]),
            ("locale", " en"),
            ("share_visibility", "everybody"),
        ],
    )
    def test_invalid_option_is_refused(self, account: Account, argument: str, value: Any) -> None:
        assert argument in str(refuses(account, **{argument: value}))

    def test_auto_confirm_with_on_waiting_wait_is_refused(self, account: Account) -> None:
        assert "on_waiting='wait' says nothing" in str(
            refuses(account, auto_confirm={"deployAction": {"accept": True}})
        )

    def test_human_answers_need_airflow_313(self, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(agent_tasks, "SUPPORTS_HITL", False)

        assert "3.1.3" in str(refuses(account, on_waiting="human"))

    def test_invalid_connection_is_refused(self, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_BROKEN", '{"conn_type": "manus", "password": ""}')

        error = refuses(account, manus_conn_id="broken")

        assert isinstance(error, AirflowFailException)
        assert "'broken', field password" in str(error)


class TestWithV2:
    @pytest.mark.parametrize(
        ("schema", "says"),
        [
            ({"type": "array", "items": {"type": "string"}}, "the root must have type 'object'"),
            ('{"type": "object"}', "is a str"),
        ],
    )
    def test_schema_that_manus_would_refuse_is_refused(
        self, account: Account, schema: Any, says: str
    ) -> None:
        assert says in str(refuses(account, structured_output_schema=schema))

    def test_task_references_over_the_limit_are_refused(self, account: Account) -> None:
        error = refuses(account, task_references=[f"t{number}" for number in range(21)])

        assert "task_references has 21 ids; Manus takes at most 20" in str(error)

    def test_task_references_up_to_the_limit_are_sent(self, account: Account) -> None:
        references = [account.manus.add_task() for _ in range(20)]
        task = account.task()
        task.attempt(lambda: ManusTaskOperator(task_id="ask", prompt="Do it.", task_references=references))

        assert account.manus.created[0].body["message"]["task_references"] == references

    @pytest.mark.parametrize("value", [{"deployAction": True}, {"deployAction": None}, ["deployAction"]])
    def test_invalid_auto_confirm_is_refused(self, account: Account, value: Any) -> None:
        assert "auto_confirm" in str(refuses(account, auto_confirm=value, on_waiting="fail"))


class TestWithV1:
    @pytest.mark.parametrize(
        "arguments",
        [
            {"max_credits": 100},
            {"auto_confirm": {"deployAction": {"accept": True}}, "on_waiting": "fail"},
            {"structured_output_schema": SCHEMA},
            {"task_references": ["t1"]},
            {"title": "The news"},
            {"share_visibility": "team"},
        ],
        ids=lambda arguments: next(iter(arguments)),
    )
    def test_option_of_v2_is_refused_and_the_fix_is_named(
        self, account: Account, arguments: dict[str, Any]
    ) -> None:
        account.connect("v1")

        error = str(refuses(account, **arguments))

        assert next(iter(arguments)) in error
        assert "v2" in error


@pytest.mark.parametrize("name", ["poll_interval", "timeout", "response_timeout"])
def test_invalid_time_is_refused_at_parse_time(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ManusTaskOperator(task_id="ask", prompt="Do it.", **{name: 0})


class TestPlaces:
    """A result that cannot be written is found out before it is paid for."""

    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize(
        ("path", "says"),
        [
            ("file://{0}", "is a folder; name a file"),
            ("file://{0}/a file/r.json", "a file"),
            ("no-such-scheme://bucket/r.json", "no-such-scheme"),
        ],
    )
    def test_result_path_that_cannot_be_written_is_refused(
        self, account: Account, tmp_path: Path, deferrable: bool, path: str, says: str
    ) -> None:
        (tmp_path / "a file").write_text("")

        error = refuses(account, result_path=path.format(tmp_path), deferrable=deferrable)

        assert re.search(f"result_path is .*cannot be written to: .*{says}", str(error))


class TestWithoutAWait:
    """What only a wait could keep is refused without one, when the DAG is parsed."""

    @pytest.mark.parametrize(
        "given",
        [
            {"max_credits": 5},
            {"max_credits": "{{ params.most }}"},
            {"result_path": "file:///tmp/r.json"},
            {"auto_confirm": {"a": {}}, "on_waiting": "fail"},
            {"on_waiting": "human"},
            {"on_waiting": "return"},
        ],
        ids=str,
    )
    def test_promise_that_nothing_would_keep_is_refused(self, given: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="wait_for_completion=False") as refused:
            ManusTaskOperator(task_id="ask", prompt="Do it.", wait_for_completion=False, **given)

        assert all(name in str(refused.value) for name in given)

    @pytest.mark.parametrize(
        ("given", "rendered"),
        [
            ({"wait_for_completion": False}, "human"),
            ({"auto_confirm": {"a": {}}}, "wait"),
        ],
        ids=["no wait", "auto_confirm"],
    )
    def test_parameters_are_judged_together_once_templates_are_rendered(
        self, account: Account, given: dict[str, Any], rendered: str
    ) -> None:
        task = account.task()

        def made() -> Any:
            operator = ManusTaskOperator(
                task_id="ask", prompt="Do it.", on_waiting="{{ params.choice }}", **given
            )
            # As Airflow does it.
            operator.on_waiting = rendered
            return operator

        with pytest.raises(ValueError, match="on_waiting"):
            task.attempt(made)

        assert account.sandbox.requests == []

    @pytest.mark.parametrize(
        "given",
        [
            {"on_waiting": "wait"},
            {"deferrable": True},
            {"cancel_on_timeout": False},
            {"output_grace": 5},
            {"structured_output_schema": SCHEMA},
            {"raise_on_failure": False},
        ],
        ids=str,
    )
    def test_parameter_that_does_no_harm_is_taken(self, given: dict[str, Any]) -> None:
        ManusTaskOperator(task_id="ask", prompt="Do it.", wait_for_completion=False, **given)


@pytest.mark.parametrize("name", ["not_found_grace", "output_grace", "outage_tolerance", "poll_interval"])
def test_durations_in_each_spelling_submit_one_task(account: Account, name: str) -> None:
    for value in (20, "20", timedelta(seconds=20)):
        account.manus.plan(answer="42.", script=[("running", 30), "completed"])
        run = ManusTaskOperator(task_id="ask", prompt=f"Do it: {value!r}.", **{name: value})

        assert account.task().attempt(lambda run=run: run)["text"] == "42."

    assert len(account.created) == 3
