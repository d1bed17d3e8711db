"""The Manus hook with API v2 and its results: what is waited for after an end, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests_mock as requests_mock_lib

from remote_tasks_provider.core.errors import OutputMissingError
from remote_tasks_provider.manus import hooks
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import IMPATIENT, MANUS_KEY
from tests.contract.manus_operations import SCHEMA

Define = Callable[..., str]
Mock = requests_mock_lib.Mocker

KEY = "sk-very-secret-key-1234567890"
V2 = "https://api.manus.ai/v2"


class Clock:
    """Time that passes only where the hook sleeps, for the hook and the sandbox alike."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.naps: list[float] = []
        self.ahead = 0.0
        """Seconds by which this machine's clock is ahead of the service's."""
        self._sandbox = sandbox

    def monotonic(self) -> float:
        return sum(self.naps)

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self._sandbox.clock.advance(seconds)

    def now(self, zone: Any) -> Any:
        from datetime import datetime

        return datetime.fromtimestamp(self._sandbox.clock.now() + self.ahead, zone)


@pytest.fixture
def clock(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock(sandbox)
    monkeypatch.setattr(hooks, "time", found)
    monkeypatch.setattr(hooks, "datetime", SimpleNamespace(now=found.now))
    return found


@pytest.fixture
def hook(server: SandboxServer, set_connection: Define, clock: Clock) -> Iterator[ManusHook]:
    extra = IMPATIENT | {"api_version": "v2"}
    found = ManusHook(
        set_connection("manus_v2", conn_type="manus", host=server.manus_url, password=MANUS_KEY, extra=extra)
    )
    yield found
    found.close()


class TestResultOfAFreshlyFinishedTask:
    def test_late_output_is_waited_for(self, hook: ManusHook, clock: Clock, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["completed"], answer="4", files=["a.md"], output_lag=6.0)
        result = hook.get_result("t1")

        assert (result.state, result.text, len(result.files)) == ("completed", "4", 1)
        # Until it is sure that nothing more will come.
        assert clock.naps == [2.5] * 4

    def test_output_of_a_task_that_finished_days_ago_is_complete(
        self, hook: ManusHook, clock: Clock, sandbox: Sandbox
    ) -> None:
        sandbox.manus.add_task("t1", ["completed"], answer="4")
        sandbox.clock.advance(3 * 24 * 3600)

        assert hook.get_result("t1").text == "4"
        assert clock.naps == []

    def test_output_of_an_older_task_is_complete(
        self, hook: ManusHook, clock: Clock, sandbox: Sandbox
    ) -> None:
        clock.ahead = 3 * 3600
        sandbox.manus.add_task("t1", ["completed"], answer="4")
        sandbox.clock.advance(11)

        assert hook.get_result("t1").text == "4"
        assert clock.naps == []

    @pytest.mark.parametrize("ahead", [-3 * 3600.0, -70.0, 70.0, 3 * 3600.0])
    def test_clocks_that_differ_shorten_no_grace(
        self, ahead: float, hook: ManusHook, clock: Clock, sandbox: Sandbox
    ) -> None:
        clock.ahead = ahead
        value = {"city": "Paris"}
        facts: Any = {"answer": "4", "files": ["a.md"], "structured": {"value": value}}
        sandbox.manus.add_task("t1", ["completed"], output_lag=25.0, **facts)
        found = hook.get_result("t1", structured=True)

        assert (found.text, found.structured, len(found.files)) == ("4", value, 1)
        assert sum(clock.naps) == 25.0
        sandbox.manus.add_task("t2", ["completed"], answer="4")
        assert hook.get_result("t2").text == "4"
        assert sum(clock.naps) == 35.0

    @pytest.mark.parametrize("status", ["running", "waiting", "failed"])
    def test_output_is_awaited_only_after_a_success(
        self, status: str, hook: ManusHook, clock: Clock, sandbox: Sandbox
    ) -> None:
        sandbox.manus.add_task("t1", [(status, None)])

        assert hook.get_result("t1").state == status
        assert clock.naps == []

    def test_output_that_never_comes_is_given_up(
        self, hook: ManusHook, clock: Clock, sandbox: Sandbox
    ) -> None:
        sandbox.manus.add_task("t1", ["completed"], output_lag=1e6)
        result = hook.get_result("t1", output_grace=12.0)

        assert (result.state, result.text) == ("completed", None)
        assert clock.naps == [2.5, 2.5, 2.5, 2.5, 2.0]

    def test_output_grace_of_zero_reads_once(self, hook: ManusHook, clock: Clock, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["completed"], answer="4", output_lag=6.0)

        assert hook.get_result("t1", output_grace=0).text is None
        assert clock.naps == []

    def test_resumed_task_is_not_waited_for(self, hook: ManusHook, clock: Clock, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", [("completed", 4.0), ("running", None)])

        assert hook.get_result("t1").state == "running"
        assert len(clock.naps) == 2


class TestStructuredResult:
    def test_late_value_is_waited_for(self, hook: ManusHook, clock: Clock, sandbox: Sandbox) -> None:
        value = {"city": "Paris", "people": 2}
        sandbox.manus.add_task("t1", ["completed"], structured={"value": value}, output_lag=15.0)
        result = hook.get_result("t1", structured=True)

        assert (result.state, result.structured) == ("completed", value)
        assert sum(clock.naps) == 15.0

    def test_missing_value_is_an_error_after_the_grace(
        self, hook: ManusHook, clock: Clock, sandbox: Sandbox
    ) -> None:
        sandbox.manus.add_task("t1", ["completed"], answer="4")

        with pytest.raises(OutputMissingError):
            hook.get_result("t1", structured=True)
        assert sum(clock.naps) == 30.0

    def test_failed_value_is_a_failure_at_once(self, hook: ManusHook, clock: Clock, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["completed"], structured={"success": False, "error": "No city."})
        result = hook.get_result("t1", structured=True)

        assert (result.state, result.structured) == ("failed", None)
        assert result.error == "the structured output could not be made: No city."
        assert clock.naps == []

    def test_cancelled_task_is_no_failure(self, hook: ManusHook, clock: Clock, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", [("running", None)])
        sandbox.manus.stop_as_user("t1")

        assert hook.get_result("t1", structured=True).state == "cancelled"
        assert clock.naps == []

    def test_schema_value_comes_back(self, hook: ManusHook, sandbox: Sandbox) -> None:
        sandbox.manus.plan(script=["completed"], structured={"value": {"city": "Paris", "people": None}})
        ref = hook.create_task("Where?", structured_output_schema=SCHEMA, title="Cities")

        result = hook.get_result(ref.id, structured=True)
        assert result.structured == {"city": "Paris", "people": None}
        assert result.title == "Cities"


@pytest.fixture
def real(set_connection: Define, requests_mock: Mock) -> Mock:
    """A connection to v2 with nothing but a key."""
    set_connection("manus_default", conn_type="manus", password=KEY, extra={"api_version": "v2"})
    return requests_mock


class TestRequests:
    def test_v2_has_its_own_header(self, real: Mock) -> None:
        real.get(f"{V2}/task.detail", json={"ok": True, "task": {"id": "t1"}})
        real.get(f"{V2}/task.listMessages", json={"ok": True, "messages": []})
        ManusHook().get_task("t1")

        for request in real.request_history:
            assert request.headers["x-manus-api-key"] == KEY
            assert not {"API_KEY", "Authorization"} & set(request.headers)

    def test_oauth_token_is_sent_as_a_bearer_token(self, real: Mock, set_connection: Define) -> None:
        extra = {"api_version": "v2", "auth": "oauth"}
        set_connection("manus_default", conn_type="manus", password=KEY, extra=extra)
        real.get(f"{V2}/usage.availableCredits", json={"ok": True, "data": {"total_credits": 5}})

        assert ManusHook().available_credits() == 5
        assert real.last_request.headers["Authorization"] == f"Bearer {KEY}"
        assert not {"API_KEY", "x-manus-api-key"} & set(real.last_request.headers)

    @pytest.mark.parametrize(
        ("prompt", "options", "fault"),
        [
            ("", {}, "prompt is empty"),
            ("ab " * 5000, {}, "prompt has about 5000 tokens"),
            ("x", {"structured_output_schema": {"type": "object"}}, "additionalProperties: false"),
            ("x", {"task_references": ["t"] * 21}, "task_references has 21 ids"),
            ("x", {"files": [{"filename": "a"}]}, "file_id"),
            ("x", {"share_visibility": "friends"}, "share_visibility"),
        ],
        ids=["empty", "long", "schema", "references", "file", "visibility"],
    )
    def test_invalid_options_are_refused_before_any_request(
        self, prompt: str, options: dict[str, Any], fault: str, real: Mock
    ) -> None:
        with pytest.raises(ValueError, match=fault):
            ManusHook().create_task(prompt, **options)
        assert real.call_count == 0

    def test_empty_or_long_message_is_refused(self, real: Mock) -> None:
        for content in ("", "ab " * 5000):
            with pytest.raises(ValueError, match="content"):
                ManusHook().send_message("t1", content)
        assert real.call_count == 0

    def test_empty_update_is_refused(self, real: Mock) -> None:
        with pytest.raises(ValueError, match="nothing to update"):
            ManusHook().update_task("t1")
        assert real.call_count == 0

    @pytest.mark.parametrize("limit", [1, 3])
    def test_limit_counts_filtered_tasks(self, limit: int, real: Mock) -> None:
        pages = [
            {"ok": True, "data": [{"id": f"{name}{n}", "status": word} for n, word in enumerate(words)]}
            | ({"has_more": True, "next_cursor": name} if name != "c" else {})
            for name, words in (("a", ["running"]), ("b", ["error", "running", "error"]), ("c", ["error"]))
        ]
        real.get(f"{V2}/task.list", [{"json": page} for page in pages])
        found = [task.id for task in ManusHook().iter_tasks(status="failed", limit=limit)]

        assert found == ["b0", "b2", "c0"][:limit]
        assert real.call_count == (2 if limit == 1 else 3)
