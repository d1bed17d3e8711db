"""What every service's check of a webhook is made of."""

from __future__ import annotations

from typing import Any

import pytest

from remote_tasks_provider.core.push.events import (
    EventRefused,
    VerifiedEvent,
    WebhookRequest,
    digest,
    is_same,
    task_ids,
)
from remote_tasks_provider.core.states import TaskState


def request(body: bytes = b"{}", now: float = 1000.0) -> WebhookRequest:
    return WebhookRequest("https://example.com/hook", {}, body, now)


class TestContent:
    def test_content_is_a_json_object(self) -> None:
        assert request(b'{"a": [1]}').content() == {"a": [1]}

    @pytest.mark.parametrize(
        "body",
        [b"", b"x", b"[1]", b'"a"', b"null", b"1", b"\xff\xfe", b"[" * 20_000, b'{"a": 1' + b"0" * 9999],
    )
    def test_body_of_another_shape_is_refused(self, body: bytes) -> None:
        with pytest.raises(EventRefused, match="no JSON object"):
            request(body).content()

    def test_request_shows_neither_its_body_nor_its_headers(self) -> None:
        shown = repr(WebhookRequest("https://example.com", {"authorization": "Bearer sesame"}, b"secret", 0))

        assert "sesame" not in shown
        assert "secret" not in shown


class TestAge:
    @pytest.mark.parametrize("sent_at", [700.0, 1000.0, 1300.0])
    def test_new_event_is_taken(self, sent_at: float) -> None:
        request().check_age(sent_at, 300)

    @pytest.mark.parametrize("sent_at", [699.0, 1301.0, float("nan"), float("inf")])
    def test_old_event_or_one_from_the_future_is_refused(self, sent_at: float) -> None:
        with pytest.raises(EventRefused):
            request().check_age(sent_at, 300)


def test_event_is_a_bell_unless_a_task_goes_on() -> None:
    silent = {state for state in TaskState if not VerifiedEvent("e", state=state).is_a_bell}

    assert silent == {TaskState.PENDING, TaskState.RUNNING}
    assert VerifiedEvent("e").is_a_bell


@pytest.mark.parametrize(
    ("found", "ids"),
    [
        (["a", "b", "a"], ("a", "b")),
        ([None, 1, {}, [], "", "a\n", "x" * 257, "good"], ("good",)),
        ([], ()),
    ],
)
def test_task_ids_are_what_can_be_ids(found: list[Any], ids: tuple[str, ...]) -> None:
    assert task_ids(found) == ids


def test_digest_tells_parts_apart() -> None:
    assert digest(b"ab", b"c") != digest(b"a", b"bc")


@pytest.mark.parametrize(
    ("given", "same"),
    [("sesame", True), (None, False), ("", False), ("sesam\udce9", False), ("Sesame", False)],
)
def test_secret_is_compared_whatever_the_header_holds(given: str | None, same: bool) -> None:
    assert is_same(given, "sesame") is same
