"""Only what carries the secret that agents were given passes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from remote_tasks_provider.a2a.api.extras import A2AExtras
from remote_tasks_provider.a2a.push import verify
from remote_tasks_provider.core.push.events import EventRefused, VerifiedEvent, WebhookRequest
from remote_tasks_provider.core.states import TaskState

SECRET = "tell-nobody-0123456789"
NOW = 1_764_187_304.0


def notification(content: Any = None, **headers: str) -> WebhookRequest:
    body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return WebhookRequest("https://example.com", shown or {"x-a2a-notification-token": SECRET}, body, NOW)


def check(request: WebhookRequest) -> VerifiedEvent:
    return verify(request, [SECRET])


class TestAccepted:
    @pytest.mark.parametrize(
        "headers",
        [
            {"x_a2a_notification_token": SECRET},
            {"authorization": f"Bearer {SECRET}"},
            {"authorization": f"bearer {SECRET}", "x_a2a_notification_token": "other"},
        ],
    )
    def test_secret_is_accepted_in_either_header(self, headers: Any) -> None:
        assert check(notification({"task": {"id": "t1"}}, **headers)).remote_ids == ("t1",)

    @pytest.mark.parametrize(
        ("content", "ids", "state"),
        [
            ({"task": {"id": "t1", "status": {"state": "TASK_STATE_WORKING"}}}, ("t1",), TaskState.RUNNING),
            (
                {"statusUpdate": {"taskId": "t1", "status": {"state": "TASK_STATE_COMPLETED"}}},
                ("t1",),
                TaskState.COMPLETED,
            ),
            ({"artifactUpdate": {"taskId": "t1"}}, ("t1",), TaskState.RUNNING),
            ({"kind": "task", "id": "t1", "status": {"state": "input-required"}}, ("t1",), TaskState.WAITING),
            ({"task": [], "id": "t1"}, (), None),
            ({"id": 1, "status": "x"}, (), None),
            ({"id": "t1", "status": {"state": 5}}, ("t1",), None),
            ({"id": "t1", "status": {"state": "new_word"}}, ("t1",), None),
        ],
    )
    def test_body_of_each_version_is_read(
        self, content: Any, ids: tuple[str, ...], state: TaskState | None
    ) -> None:
        event = check(notification(content))

        assert (event.remote_ids, event.state) == (ids, state)

    @pytest.mark.parametrize("stamp", [None, "", "x", 5, "2025-11-26T20:01:44", "2025-11-26T20:01:44.123Z"])
    def test_status_without_a_time_or_with_a_new_one_is_accepted(self, stamp: Any) -> None:
        assert check(notification({"id": "t1", "status": {"timestamp": stamp}})).remote_ids == ("t1",)

    def test_same_body_is_the_same_event(self) -> None:
        first, again, other = (check(notification({"id": one})).event_id for one in ("a", "a", "b"))

        assert first == again != other


class TestRefused:
    @pytest.mark.parametrize(
        "headers",
        [
            {"other": "x"},
            {"x_a2a_notification_token": ""},
            {"x_a2a_notification_token": SECRET[:-1]},
            {"x_a2a_notification_token": f"{SECRET}, {SECRET}"},
            {"authorization": SECRET},
            {"authorization": f"Basic {SECRET}"},
            {"authorization": "Bearer \udcff"},
        ],
    )
    def test_notification_without_the_secret_is_refused(self, headers: Any) -> None:
        with pytest.raises(EventRefused, match="neither the token nor"):
            check(notification({}, **headers))

    def test_status_of_an_hour_ago_is_refused(self) -> None:
        with pytest.raises(EventRefused, match="s ago"):
            check(notification({"id": "t1", "status": {"timestamp": "2025-11-26T18:30:00Z"}}))

    @pytest.mark.parametrize("body", [b"[]", b"\xff", b"x"])
    def test_body_of_another_shape_is_refused(self, body: bytes) -> None:
        with pytest.raises(EventRefused, match="no JSON object"):
            check(notification(body))


class TestSecret:
    @pytest.mark.parametrize("secret", ["short", "with a space 0123456789", "umlaut-ä-0123456789", "x" * 257])
    def test_secret_that_can_be_guessed_or_not_sent_is_refused(self, secret: str) -> None:
        with pytest.raises(ValidationError, match="16 or more ASCII characters"):
            A2AExtras(webhook_secret=secret)

    def test_secret_is_no_part_of_what_is_shown(self) -> None:
        assert SECRET not in repr(A2AExtras(webhook_secret=SECRET))
