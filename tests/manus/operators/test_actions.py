"""The operators that do one thing to a task that is there already, at real sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import NotFoundError, ServerError, TransportError
from remote_tasks_provider.manus import operators
from remote_tasks_provider.manus.operators import (
    ManusConfirmActionOperator,
    ManusDeleteTaskOperator,
    ManusDownloadFilesOperator,
    ManusGetResultOperator,
    ManusSendMessageOperator,
    ManusStopTaskOperator,
    ManusUpdateTaskOperator,
)
from remote_tasks_sandbox.manus.files import OutputFile
from tests.manus.airflow_task import Account

ENDED = [("completed", None)]


@pytest.fixture(params=["v1", "v2", "best"])
def version(request: pytest.FixtureRequest, account: Account) -> str:
    account.connect(request.param)
    return str(request.param)


def run(account: Account, kind: Callable[..., Any], task_id: Any, task: Any = None, **arguments: Any) -> Any:
    task = task or account.task()
    return task.attempt(lambda: kind(task_id="act", remote_task_id=task_id, **arguments))


ONE_TASK = [
    (ManusConfirmActionOperator, {"input": {}, "expect": "deployAction"}),
    (ManusDeleteTaskOperator, {}),
    (ManusDownloadFilesOperator, {"output_path": "file:///nowhere"}),
    (ManusGetResultOperator, {}),
    (ManusSendMessageOperator, {"content": "Go on."}),
    (ManusStopTaskOperator, {}),
    (ManusUpdateTaskOperator, {"title": "x"}),
]


@pytest.mark.parametrize(("kind", "arguments"), ONE_TASK, ids=lambda part: getattr(part, "__name__", ""))
class TestEveryAction:
    def test_empty_id_is_refused_before_any_request(
        self, account: Account, kind: Any, arguments: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match="remote_task_id"):
            run(account, kind, "", **arguments)

        assert account.sandbox.requests == []

    def test_wrong_key_is_final(self, account: Account, kind: Any, arguments: dict[str, Any]) -> None:
        account.sandbox.settings.manus_key = "another"

        with pytest.raises(AirflowFailException, match="password"):
            run(account, kind, account.manus.add_task(), **arguments)

    def test_server_error_is_left_to_a_retry(
        self, account: Account, kind: Any, arguments: dict[str, Any]
    ) -> None:
        account.faults.add("status", status=503)

        with pytest.raises(ServerError):
            run(account, kind, account.manus.add_task(), **arguments)

    def test_fields_are_templates(self, account: Account, kind: Any, arguments: dict[str, Any]) -> None:
        made = kind(task_id="act", remote_task_id="{{ a }}", **{**arguments, "manus_conn_id": "{{ b }}"})

        made.render_template_fields({"a": "t1", "b": "other"})

        assert (made.remote_task_id, made.manus_conn_id) == ("t1", "other")

    def test_class_is_exported(self, account: Account, kind: Any, arguments: dict[str, Any]) -> None:
        assert kind.__name__ in operators.__all__


class TestSendMessage:
    def test_message_lets_the_agent_continue(self, account: Account, version: str) -> None:
        task_id = account.manus.add_task(script=ENDED)

        assert run(account, ManusSendMessageOperator, task_id, content="Go on.") is None
        assert [one.text for one in account.manus.answers(task_id)] == ["Go on."]
        assert account.word(task_id) == "running"

    @pytest.mark.parametrize("as_list", [True, False])
    def test_message_carries_files(
        self, account: Account, version: str, tmp_path: Path, as_list: bool
    ) -> None:
        (tmp_path / "data.csv").write_text("1,2")
        task_id, path = account.manus.add_task(script=ENDED), f"file://{tmp_path}/data.csv"

        files = [path] if as_list else path
        run(account, ManusSendMessageOperator, task_id, content="Look.", attachments=files)

        (received,) = account.manus.answers(task_id)
        assert [one.name for one in received.attachments] == ["data.csv"]
        put = [one for one in account.sandbox.requests if one.method == "PUT"]
        assert [any(one.auth.values()) for one in put] == [False]

    def test_message_carries_a_schema(self, account: Account) -> None:
        task_id = account.manus.add_task(script=ENDED)
        schema = {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": False,
        }

        run(account, ManusSendMessageOperator, task_id, content="x", structured_output_schema=schema)

        assert account.manus.answers(task_id)[0].schema == schema

    def test_message_carries_fields_that_are_unknown_here(self, account: Account, version: str) -> None:
        """The sandbox refuses a field that it does not know."""
        task_id = account.manus.add_task(script=ENDED)

        with pytest.raises(AirflowFailException, match="new_field"):
            run(account, ManusSendMessageOperator, task_id, content="x", extra_body={"new_field": 1})

    @pytest.mark.parametrize("content", ["", "  ", None, "word " * 5000])
    def test_empty_or_long_content_is_refused_before_any_upload(
        self, account: Account, tmp_path: Path, content: Any
    ) -> None:
        (tmp_path / "data.csv").write_text("1,2")

        with pytest.raises(ValueError, match="content"):
            run(
                account,
                ManusSendMessageOperator,
                account.manus.add_task(),
                content=content,
                attachments=[f"file://{tmp_path}/data.csv"],
            )

        assert account.sandbox.requests == []

    def test_message_with_a_lost_answer_is_seen_in_the_conversation(
        self, account: Account, version: str
    ) -> None:
        task_id = account.manus.add_task(script=ENDED)
        account.faults.add("drop_after", method="POST")

        run(account, ManusSendMessageOperator, task_id, content="Go  on.")

        assert len(account.manus.answers(task_id)) == 1


class TestConfirmAction:
    def waiting(self, account: Account, kind: str = "deployAction", **facts: Any) -> str:
        return account.manus.add_task(
            script=[("waiting", None), ("running", 20), ("completed", None)], waiting={"type": kind, **facts}
        )

    def confirm(self, account: Account, task_id: str, **arguments: Any) -> Any:
        given = {"input": {"accept": True}, "expect": "deployAction", **arguments}
        return run(account, ManusConfirmActionOperator, task_id, **given)

    def test_confirm_sends_the_input_for_the_expected_action(self, account: Account) -> None:
        task_id = self.waiting(account, event_id="evt_7")

        self.confirm(account, task_id, event_id="evt_7")

        assert [one.input for one in account.manus.answers(task_id)] == [{"accept": True}]
        assert account.word(task_id) == "running"

    @pytest.mark.parametrize(
        ("kind", "arguments", "says"),
        [
            ("gmailSendAction", {}, "waits for gmailSendAction"),
            ("messageAskUser", {}, "waits for messageAskUser"),
            ("deployAction", {"event_id": "evt_8"}, "waits for deployAction"),
        ],
    )
    def test_confirm_refuses_another_pending_action(
        self, account: Account, kind: str, arguments: dict[str, Any], says: str
    ) -> None:
        task_id = self.waiting(account, kind, event_id="evt_7")

        with pytest.raises(AirflowFailException, match=f"{says}.*nothing was confirmed"):
            self.confirm(account, task_id, **arguments)

        assert account.manus.answers(task_id) == []

    def test_confirm_refuses_a_task_that_does_not_wait(self, account: Account) -> None:
        task_id = account.manus.add_task(script=[("running", None)])

        with pytest.raises(AirflowFailException, match="does not wait for anything"):
            self.confirm(account, task_id)

    def test_confirm_fails_with_the_schema_on_a_refused_input(self, account: Account) -> None:
        task_id = self.waiting(account)

        with pytest.raises(AirflowFailException, match=r"must fit .*global_allow"):
            self.confirm(account, task_id, input={"accept": False})

    def test_confirm_needs_v2(self, account: Account) -> None:
        account.connect("v1")

        with pytest.raises(AirflowFailException):
            self.confirm(account, self.waiting(account))

    def test_confirm_checks_the_task_after_a_lost_answer(self, account: Account) -> None:
        task_id = self.waiting(account)
        account.faults.add("drop_after", path="*/task.confirmAction")

        self.confirm(account, task_id)

        assert len(account.manus.answers(task_id)) == 1

    def test_confirm_resends_a_lost_request_on_retry(self, account: Account) -> None:
        task_id, task = self.waiting(account), account.task(retries=1)
        account.faults.add("drop_before", path="*/task.confirmAction", times=1)

        task.attempts(
            lambda: ManusConfirmActionOperator(
                task_id="act", remote_task_id=task_id, input={"accept": True}, expect="deployAction"
            )
        )

        assert task.try_number == 2
        assert len(account.manus.answers(task_id)) == 1


class TestStopUpdateDelete:
    def test_stop_can_be_repeated(self, account: Account) -> None:
        task_id = account.manus.add_task(script=[("running", None)])

        run(account, ManusStopTaskOperator, task_id)
        run(account, ManusStopTaskOperator, task_id)

        assert account.word(task_id) == "stopped"

    def test_stop_with_v1_fails_and_names_the_fix(self, account: Account) -> None:
        account.connect("v1")

        with pytest.raises(AirflowFailException, match="set api_version to v2"):
            run(account, ManusStopTaskOperator, account.manus.add_task())

    def test_update_returns_the_task_and_pushes_the_url(self, account: Account, version: str) -> None:
        task_id, task = account.manus.add_task(), account.task()

        result = run(account, ManusUpdateTaskOperator, task_id, task, title="New", share_visibility="public")

        assert (result["id"], result["title"]) == (task_id, "New")
        assert task.xcoms["remote_task_url"] == result["url"]
        found = account.manus.get(task_id)
        assert found is not None
        assert (found.title, found.share_visibility) == ("New", "public")

    def test_update_without_changes_is_refused(self, account: Account) -> None:
        with pytest.raises(ValueError, match="nothing to update"):
            run(account, ManusUpdateTaskOperator, "t1")

    def test_delete_removes_the_task(self, account: Account, version: str) -> None:
        task_id = account.manus.add_task(script=ENDED)

        run(account, ManusDeleteTaskOperator, task_id)

        assert account.manus.get(task_id) is None

    def test_delete_of_a_missing_task_succeeds_unless_told_otherwise(
        self, account: Account, version: str
    ) -> None:
        run(account, ManusDeleteTaskOperator, "gone")

        with pytest.raises(NotFoundError):
            run(account, ManusDeleteTaskOperator, "gone", missing_ok=False)

    def test_delete_succeeds_after_a_lost_answer(self, account: Account, version: str) -> None:
        task_id = account.manus.add_task(script=ENDED)
        account.faults.add("drop_after", times=1)

        run(account, ManusDeleteTaskOperator, task_id)

        assert account.manus.get(task_id) is None

    def test_delete_refuses_a_running_task(self, account: Account) -> None:
        task_id = account.manus.add_task(script=[("running", None)])

        with pytest.raises(AirflowFailException, match="stop it first"):
            run(account, ManusDeleteTaskOperator, task_id)


class TestGetResult:
    def test_result_of_a_running_task_is_fetched_without_waiting(
        self, account: Account, version: str
    ) -> None:
        task_id = account.manus.add_task(script=[("running", None)], credit_usage=3)

        result = run(account, ManusGetResultOperator, task_id)

        assert (result["id"], result["state"], result["credit_usage"]) == (task_id, "running", 3)

    def test_result_leaves_out_signed_links(self, account: Account, version: str) -> None:
        task = account.task()
        task_id = account.manus.add_task(script=ENDED, answer="Done.", files=["a.csv"])

        result = run(account, ManusGetResultOperator, task_id, task)

        assert result["files"] == [{"name": "a.csv", "content_type": "text/csv", "turn": 1}]
        assert "Signature" not in json.dumps([result, task.xcoms])

    @pytest.mark.parametrize(
        ("structured", "says"),
        [({"success": False, "error": "no city"}, "no city")],
    )
    def test_result_without_its_structured_value_fails(
        self, account: Account, structured: Any, says: str
    ) -> None:
        task_id = account.manus.add_task(script=ENDED, structured=structured)

        with pytest.raises(AirflowFailException, match=says):
            run(account, ManusGetResultOperator, task_id, structured=True)
        assert run(account, ManusGetResultOperator, task_id)["structured"] is None

    def test_result_is_written_to_a_file(self, account: Account, version: str, tmp_path: Path) -> None:
        task_id = account.manus.add_task(script=ENDED, answer="Done.")

        run(account, ManusGetResultOperator, task_id, result_path=f"file://{tmp_path}/r.json")

        assert json.loads((tmp_path / "r.json").read_text())["text"] == "Done."


class TestSlides:
    @pytest.mark.parametrize(
        ("kind", "arguments"),
        [(ManusGetResultOperator, {}), (ManusDownloadFilesOperator, {"output_path": None})],
    )
    @pytest.mark.parametrize(("given", "asks"), [("pptx", True), (None, False), ("html", False)])
    def test_format_of_slides_is_asked_for(
        self,
        account: Account,
        version: str,
        tmp_path: Path,
        kind: Any,
        arguments: dict[str, Any],
        given: str | None,
        asks: bool,
    ) -> None:
        task_id = account.manus.add_task(script=ENDED, files=["a.html"])
        place = dict.fromkeys(arguments, f"file://{tmp_path}")

        run(account, kind, task_id, slides_format=given, output_grace=0, **place)

        queries = [dict(one.query) for one in account.sandbox.requests]
        assert any("pptx" in one.values() or one.get("convert") == "true" for one in queries) == asks


class TestDownloadFiles:
    def download(self, account: Account, tmp_path: Path, *files: Any, **arguments: Any) -> Any:
        task_id = account.manus.add_task("t1", script=ENDED, files=files)
        return self.again(account, tmp_path, task_id, **arguments)

    def again(self, account: Account, tmp_path: Path, task_id: str = "t1", **arguments: Any) -> Any:
        given = {"output_path": f"file://{tmp_path}/out", "output_grace": 0, **arguments}
        return run(account, ManusDownloadFilesOperator, task_id, **given)

    def saved(self, tmp_path: Path) -> dict[str, str]:
        return {
            str(path.relative_to(tmp_path)): path.read_text()
            for path in tmp_path.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }

    def test_download_of_nothing_says_so(
        self, account: Account, tmp_path: Path, log_lines: list[str]
    ) -> None:
        assert self.download(account, tmp_path) == []

        assert log_lines[-1] == "Manus task t1 has made no files, so nothing was saved."

    def test_log_ends_with_what_was_saved(
        self, account: Account, tmp_path: Path, log_lines: list[str]
    ) -> None:
        self.download(account, tmp_path, {"name": "a.csv", "content": "1,2"}, "b.md")

        assert re.fullmatch(r"In file://.*/out: 2 files of Manus task t1, \d+ bytes\.", log_lines[-1])

    def test_files_are_saved_and_listed_in_the_manifest(
        self, account: Account, version: str, tmp_path: Path
    ) -> None:
        manifest = self.download(account, tmp_path, {"name": "a.csv", "content": "1,2"}, "b.md")

        assert self.saved(tmp_path)["out/a.csv"] == "1,2"
        assert [one["name"] for one in manifest] == ["a.csv", "b.md"]
        assert set(manifest[0]) == {"name", "path", "size", "content_type", "sha256", "turn"}
        assert "Signature" not in json.dumps(manifest)

    def test_key_is_not_sent_to_the_file_host(self, account: Account, version: str, tmp_path: Path) -> None:
        self.download(account, tmp_path, "a.csv")

        fetched = [one for one in account.sandbox.requests if "/files/" in one.path]
        assert [any(one.auth.values()) for one in fetched] == [False]

    @pytest.mark.parametrize("name", ["../../etc/passwd", "x" * 300])
    def test_file_names_stay_inside_the_folder(
        self, account: Account, version: str, tmp_path: Path, name: str
    ) -> None:
        (entry,) = self.download(account, tmp_path, {"name": name, "content": "safe"})

        ((path, content),) = self.saved(tmp_path).items()
        assert content == "safe"
        assert Path(path).parent == Path("out")
        assert entry["path"].endswith(path)

    def test_file_without_a_name_gets_one(self, account: Account, tmp_path: Path) -> None:
        (entry,) = self.download(account, tmp_path, OutputFile(" ", "text/plain", b"x"))

        assert list(self.saved(tmp_path).values()) == ["x"]
        assert Path(entry["path"]).name.strip()

    def test_files_with_the_same_name_are_both_kept(self, account: Account, tmp_path: Path) -> None:
        files = [{"name": "a.csv", "content": "1"}, {"name": "A.CSV", "content": "2"}]

        manifest = self.download(account, tmp_path, *files)

        assert sorted(self.saved(tmp_path).values()) == ["1", "2"]
        assert len({one["path"].casefold() for one in manifest}) == 2

    def test_file_over_the_cap_fails_and_the_others_stay(self, account: Account, tmp_path: Path) -> None:
        with pytest.raises(AirflowFailException, match=r"big\.bin"):
            self.download(
                account, tmp_path, {"name": "big.bin", "size": 5000}, "small.txt", max_file_size=1000
            )

        assert set(self.saved(tmp_path)) == {"out/small.txt"}

    def test_redirect_is_not_followed(self, account: Account, tmp_path: Path) -> None:
        account.faults.add("redirect", path="*/files/*", location=f"{account.sandbox.base_url}/elsewhere")

        with pytest.raises((AirflowFailException, TransportError)) as failed:
            self.download(account, tmp_path, "a.csv")

        assert "redirect" in str(failed.value)
        assert self.saved(tmp_path) == {}
        assert not any("elsewhere" in one.path for one in account.sandbox.requests)

    def test_link_without_tls_is_not_followed(self, account: Account, tmp_path: Path) -> None:
        account.patch.setattr(account.sandbox, "base_url", "http://files.example.com")

        with pytest.raises(AirflowFailException, match="https"):
            self.download(account, tmp_path, "a.csv")

        assert self.saved(tmp_path) == {}

    def test_existing_file_is_kept_unless_overwrite_is_set(self, account: Account, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a.csv").write_text("mine")

        with pytest.raises(AirflowFailException, match="overwrite=True"):
            self.download(account, tmp_path, {"name": "a.csv", "content": "theirs"})
        assert self.saved(tmp_path) == {"out/a.csv": "mine"}
        self.again(account, tmp_path, overwrite=True)
        assert self.saved(tmp_path) == {"out/a.csv": "theirs"}

    def test_retry_fetches_only_missing_files(self, account: Account, tmp_path: Path) -> None:
        account.faults.add("status", path="*/files/*/b.csv", status=500)
        with pytest.raises(Exception, match=r"b\.csv"):
            self.download(account, tmp_path, "a.csv", "b.csv")
        account.faults.clear()
        before = account.calls("/a.csv")

        manifest = self.again(account, tmp_path)

        assert [one["name"] for one in manifest] == ["a.csv", "b.csv"]
        assert account.calls("/a.csv") == before

    def test_task_without_files_has_an_empty_manifest(self, account: Account, tmp_path: Path) -> None:
        assert self.download(account, tmp_path) == []

    @pytest.mark.parametrize("size", [0, -1, "much"])
    def test_invalid_cap_is_refused(self, account: Account, tmp_path: Path, size: Any) -> None:
        with pytest.raises(ValueError, match="max_file_size"):
            self.again(account, tmp_path, max_file_size=size)
