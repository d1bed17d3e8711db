"""Both versions of the API do the same for those who ask, or say what the other one is needed for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from remote_tasks_provider.core.errors import (
    ConnectionConfigError,
    NotFoundError,
    PermissionDeniedError,
    RemoteTaskError,
)
from remote_tasks_provider.manus.api.filters import task_filter
from remote_tasks_provider.manus.api.gone import V1Gone
from remote_tasks_provider.manus.api.options import TaskOptions
from remote_tasks_provider.manus.api.v2 import get_website
from remote_tasks_provider.manus.api.versions import ManusApi
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import IMPATIENT, MANUS_KEY

MakeApi = Callable[..., ManusApi]

VISIBLE = {"share_visibility": None, "visible": None}


@pytest.fixture
def make_api(
    server: SandboxServer, sandbox: Sandbox, set_connection: Callable[..., str]
) -> Iterator[MakeApi]:
    hooks: list[ManusHook] = []

    def make(version: str | None, key: str = MANUS_KEY, **extra: str) -> ManusApi:
        extras = IMPATIENT | {"api_version": version or ""} | extra
        conn_id = set_connection(
            f"manus_{version or 'best'}", conn_type="manus", host=server.manus_url, password=key, extra=extras
        )
        hooks.append(ManusHook(conn_id))
        return hooks[-1].api

    yield make
    for hook in hooks:
        hook.close()


@pytest.fixture(params=["v1", "v2", None])
def api(request: pytest.FixtureRequest, make_api: MakeApi) -> ManusApi:
    return make_api(request.param)


@pytest.fixture(params=["v2", None])
def v2(request: pytest.FixtureRequest, make_api: MakeApi) -> ManusApi:
    """What can do all that v2 can."""
    return make_api(request.param)


@pytest.fixture
def best(make_api: MakeApi) -> ManusApi:
    return make_api(None)


def asked(sandbox: Sandbox) -> list[str]:
    """The requests, without ids."""
    return [f"{one.method} {one.path.removeprefix('/manus').removesuffix('/t1')}" for one in sandbox.requests]


class TestAll:
    def test_task_comes_with_its_conversation(self, api: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["completed"], "Sums", prompt="2+2?", answer="4", credit_usage=22)
        task = api.get_task("t1")

        assert (task.id, task.state, task.title, task.credit_usage) == ("t1", "completed", "Sums", 22)
        assert [(one.role, one.content[0].text) for one in task.output] == [
            ("user", "2+2?"),
            ("assistant", "4"),
        ]

    def test_result_has_text_and_files(self, api: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["completed"], answer="4", files=["a.md", "b.md"])
        task, result = api.get_result("t1")

        assert task.id == result.id == "t1"
        assert (result.state, result.text) == ("completed", "4")
        assert [one.name for one in result.files] == ["a.md", "b.md"]

    def test_failure_has_its_text(self, api: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["failed"], error="no credits")

        assert api.get_task("t1").error == "no credits"
        assert api.get_result("t1")[1].error == "no credits"

    def test_question_is_found(self, api: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", [("waiting", None)], question="Which day?")
        question = api.get_result("t1")[1].question

        assert question is not None
        assert (question.text, question.in_words) == ("Which day?", True)

    def test_messages_come_oldest_first_over_many_pages(self, api: ManusApi, sandbox: Sandbox) -> None:
        progress = [f"Step {number}" for number in range(250)]
        sandbox.manus.add_task("t1", [("running", 0.0), ("completed", None)], progress=progress, answer="End")
        texts = [one.content[0].text for one in api.iter_messages("t1")]

        assert texts[1:-1] == progress
        assert texts[-1] == "End"

    def test_created_task_is_returned(self, api: ManusApi, sandbox: Sandbox) -> None:
        ref = api.create_task(TaskOptions("Add the numbers."))

        (created,) = sandbox.manus.created
        assert ref.id == created.id
        assert ref.url is not None
        assert ref.url.endswith(ref.id)
        assert [task.id for task in api.list_tasks(task_filter(), None)] == [ref.id]

    def test_answer_reaches_the_task(self, api: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", [("waiting", None)], question="Which day?")
        api.send_message("t1", "Monday", (), {"agent_profile": "manus-1.6-lite"})

        (received,) = sandbox.manus.answers("t1")
        assert (received.kind, received.text) == ("message", "Monday")
        found = sandbox.manus.get("t1")
        assert found is not None
        assert found.timeline.word(sandbox.clock.now()) == "running"

    @pytest.mark.parametrize("read", ["get_result", "get_state"])
    def test_unknown_task_is_not_found(self, api: ManusApi, read: str) -> None:
        with pytest.raises(NotFoundError):
            getattr(api, read)("missing")

    def test_state_is_read_by_one_request(self, api: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["pending"])

        assert api.get_state("t1") == "waiting"
        assert len(sandbox.requests) == 1

    @pytest.mark.parametrize("wrong", [{"title": "x"}, {"colour": "red"}])
    def test_unsupported_message_option_is_refused(
        self, api: ManusApi, wrong: dict[str, str], sandbox: Sandbox
    ) -> None:
        sandbox.manus.add_task("t1")

        with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
            api.send_message("t1", "x", (), wrong)
        assert sandbox.manus.answers("t1") == []


class TestOnlyV2:
    @pytest.mark.parametrize(
        ("what", "do"),
        [
            ("confirming an action", lambda api: api.confirm_action("t1", "e1", {})),
            ("stopping a task", lambda api: api.stop_task("t1")),
            ("reading the available credits", lambda api: api.available_credits()),
            ("reading the usage", lambda api: api.iter_usage(None)),
            ("listing connectors", lambda api: api.list_connectors()),
            ("listing skills", lambda api: api.list_skills(None)),
            ("a website", lambda api: api.of_website(get_website("t1"))),
        ],
    )
    def test_v1_names_the_field_to_change_and_sends_no_request(
        self, what: str, do: Callable[[ManusApi], object], make_api: MakeApi, sandbox: Sandbox
    ) -> None:
        with pytest.raises(
            ConnectionConfigError, match=f"{what} needs API v2: set api_version to v2.*'manus_v1'"
        ):
            do(make_api("v1"))
        assert sandbox.requests == []

    @pytest.mark.parametrize(
        "option",
        [
            {"title": "x"},
            {"enable_skills": ["s1"]},
            {"force_skills": ["s1"]},
            {"task_references": ["t0"]},
            {"structured_output_schema": {"type": "object", "additionalProperties": False}},
        ],
        ids=str,
    )
    def test_v1_refuses_unsupported_task_options(
        self, option: dict[str, object], make_api: MakeApi, sandbox: Sandbox
    ) -> None:
        api = make_api("v1")

        with pytest.raises(ValueError, match=f"{next(iter(option))} needs API v2"):
            api.create_task(TaskOptions("x", **option))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"{next(iter(option))} needs API v2"):
            api.send_message("t1", "x", (), option)
        assert sandbox.requests == []

    @pytest.mark.parametrize("file", [{"file_id": "f1"}, {"file_url": "https://example.com/a"}], ids=str)
    def test_v1_refuses_a_file_without_a_name(
        self, file: dict[str, str], make_api: MakeApi, sandbox: Sandbox
    ) -> None:
        with pytest.raises(ValueError, match="a file needs its filename with API v1"):
            make_api("v1").create_task(TaskOptions("x", files=[file]))
        assert sandbox.requests == []

    def test_uploaded_file_has_no_type_in_v1(self, make_api: MakeApi, sandbox: Sandbox) -> None:
        upload = sandbox.manus.uploads.open("a.csv")
        upload.content = b"1,2"
        file = {"file_id": upload.id, "filename": "a.csv", "mime_type": "text/csv"}
        make_api("v1").create_task(TaskOptions("x", files=[file]))

        (created,) = sandbox.manus.created
        assert created.body["attachments"] == [{"file_id": upload.id, "filename": "a.csv"}]

    def test_team_visibility_is_unknown_to_v1(self, make_api: MakeApi) -> None:
        with pytest.raises(ValueError, match="share_visibility 'team' needs API v2"):
            make_api("v1").create_task(TaskOptions("x", share_visibility="team"))

    def test_task_is_stopped(self, v2: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", [("running", None)])
        v2.stop_task("t1")

        assert v2.get_task("t1").state == "completed"

    def test_action_is_confirmed_by_its_own_input(self, v2: ManusApi, sandbox: Sandbox) -> None:
        asks = {"type": "gmailSendAction", "event_id": "evt_1", "unconfirmed": 1}
        sandbox.manus.add_task("t1", [("waiting", None)], waiting=asks)

        assert v2.confirm_action("t1", "evt_1", {"accept": True}) is False
        assert v2.confirm_action("t1", "evt_1", {"accept": True}) is True
        assert v2.get_task("t1").state == "running"

    def test_credits_can_be_read(self, v2: ManusApi, sandbox: Sandbox) -> None:
        sandbox.settings.update({"manus_credits": 120})
        sandbox.manus.add_task("t1", credit_usage=20)

        assert v2.available_credits() == 100

    def test_task_stopped_by_a_user_is_cancelled(self, v2: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["stopped"], stopped_by_user=True)

        assert v2.get_task("t1").state == "cancelled"
        assert v2.get_result("t1")[1].state == "cancelled"

    @pytest.mark.parametrize("version", ["v2", None])
    def test_oauth_token_is_accepted(self, version: str | None, make_api: MakeApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1")

        assert make_api(version, "oauth-sandbox", auth="oauth").get_task("t1").id == "t1"
        assert sandbox.requests[-1].auth == {
            "api_key": False,
            "authorization": True,
            "x-manus-api-key": False,
        }


class TestUnset:
    @pytest.mark.parametrize(
        ("do", "sent"),
        [
            (lambda api: api.get_task("t1"), ["GET /v1/tasks"]),
            (lambda api: api.get_state("t1"), ["GET /v2/task.detail"]),
            (lambda api: next(api.list_tasks(task_filter(), None)), ["GET /v1/tasks"]),
            (lambda api: api.create_task(TaskOptions("x", title="Sums")), ["POST /v2/task.create"]),
            (lambda api: api.send_message("t1", "x", (), {}), ["POST /v2/task.sendMessage"]),
            (lambda api: api.stop_task("t1"), ["POST /v2/task.stop"]),
            (lambda api: api.update_task("t1", title="x", **VISIBLE), ["POST /v2/task.update"]),
            (lambda api: api.delete_task("t1"), ["POST /v2/task.stop", "POST /v2/task.delete"]),
            (lambda api: api.available_credits(), ["GET /v2/usage.availableCredits"]),
            (lambda api: list(api.iter_usage(None)), ["GET /v2/usage.list"]),
            (lambda api: api.list_connectors(), ["GET /v2/connector.list"]),
            (lambda api: api.list_skills(None), ["GET /v2/skill.list"]),
            (lambda api: api.get_result("t1"), ["GET /v2/task.detail", "GET /v2/task.listMessages"]),
            (lambda api: list(api.iter_messages("t1")), ["GET /v2/task.listMessages"]),
            (lambda api: list(api.creator.list_tasks(task_filter(), None)), ["GET /v2/task.list"]),
            (lambda api: api.client.send(api.operations.create_upload("a.csv")), ["POST /v2/file.upload"]),
            (lambda api: api.client.send(api.cancel("t1")), ["POST /v2/task.stop"]),
        ],
    )
    def test_call_uses_the_version_that_does_it_best(
        self, do: Callable[[ManusApi], object], sent: list[str], best: ManusApi, sandbox: Sandbox
    ) -> None:
        sandbox.manus.add_task("t1", [("running", None)])
        if "delete" in sent[-1]:
            best.stop_task("t1")
        do(best)

        assert asked(sandbox) == sent
        for one in sandbox.requests:
            header = "api_key" if "/v1/" in one.path else "x-manus-api-key"
            assert [name for name, was_sent in one.auth.items() if was_sent] == [header]

    def test_how_a_task_finished_is_told_by_v2(self, best: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["stopped"], stopped_by_user=True)

        assert best.get_task("t1").state == "cancelled"
        assert asked(sandbox) == ["GET /v1/tasks", "GET /v2/task.detail", "GET /v2/task.listMessages"]

    def test_task_that_only_v1_knows_is_read_by_v1(self, best: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["completed"], answer="4")
        sandbox.faults.add("status", "/manus/v2/*", status=404)

        assert best.get_task("t1").state == "completed"
        assert best.get_state("t1") == "completed"
        assert best.get_result("t1")[1].text == "4"
        assert [one.role for one in best.iter_messages("t1")] == ["user", "assistant"]

    def test_task_that_only_v1_knows_is_changed_by_v1(self, best: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["completed"])
        sandbox.faults.add("status", "/manus/v2/*", status=404)

        assert best.update_task("t1", title="New", **VISIBLE).id == "t1"
        with pytest.raises(NotFoundError):
            best.update_task("t1", title=None, share_visibility="team", visible=None)
        best.delete_task("t1")
        with pytest.raises(NotFoundError):
            best.delete_task("t1")

    def test_task_that_only_v2_knows_is_read_by_v2(self, best: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", [("running", None)])
        sandbox.faults.add("status", "/manus/v1/tasks/t1", status=404)

        assert best.get_task("t1").state == "running"

    @pytest.mark.parametrize(
        "call",
        [
            lambda api: api.iter_messages("t1"),
            lambda api: api.list_tasks(task_filter(), None),
            lambda api: [api.get_task("t1")],
        ],
    )
    def test_trouble_is_no_reason_to_ask_the_other_version(
        self, call: Callable[[ManusApi], Iterator[object]], best: ManusApi, sandbox: Sandbox
    ) -> None:
        sandbox.faults.add("status", status=403)

        with pytest.raises(PermissionDeniedError):
            list(call(best))
        assert len(sandbox.requests) == 1


class TestGone:
    @pytest.mark.parametrize("status", [404, 410])
    def test_v2_is_used_alone_once_v1_is_gone(
        self, status: int, best: ManusApi, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
    ) -> None:
        sandbox.manus.add_task("t1", [("running", None)])
        sandbox.faults.add("status", "/manus/v1/*", status=status)

        for _ in range(2):
            assert [task.id for task in best.list_tasks(task_filter(), None)] == ["t1"]
            assert best.get_task("t1").state == "running"
        assert [one for one in asked(sandbox) if "v1" in one] == ["GET /v1/tasks"]
        assert sum("v1 is gone" in one.message for one in caplog.records) == 1

    def test_missing_cursor_does_not_mean_that_v1_is_gone(self, best: ManusApi, sandbox: Sandbox) -> None:
        sandbox.faults.add("status", "/manus/v1/tasks", status=404, times=1)

        with pytest.raises(NotFoundError):
            list(best.list_tasks(task_filter(after="t0"), None))
        assert asked(sandbox) == ["GET /v1/tasks"] * 2

    def test_listing_that_begins_at_a_task_works_without_v1(self, best: ManusApi, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", created_at=sandbox.clock.now() - 60)
        sandbox.manus.add_task("t2")
        sandbox.faults.add("status", "/manus/v1/*", status=404)

        assert [task.id for task in best.list_tasks(task_filter(after="t2"), None)] == ["t1"]

    def test_v1_is_tried_again_after_hours_and_for_another_account(self, make_api: MakeApi) -> None:
        config, gone = make_api(None).client.config, V1Gone()
        gone.note(config, RemoteTaskError("404"), 1000.0)

        assert gone.holds_for(config, 1000.0 + 3600)
        assert not gone.holds_for(replace(config, secret="another"), 1000.0)
        assert not gone.holds_for(config, 1000.0 + 5 * 3600)
