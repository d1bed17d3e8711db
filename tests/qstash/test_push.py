"""Only a callback that QStash has signed, for this URL and this body, now, passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_provider.core.push.events import EventRefused, VerifiedEvent, WebhookRequest
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.qstash.push import WEBHOOKS, verify
from remote_tasks_provider.qstash.service import QStashExtras
from tests.qstash.test_signature import CURRENT, NEXT, URL, signed


def callback(content: Any = None, signature: str | None = None, **claims: Any) -> WebhookRequest:
    body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
    header = signed(body=body, **claims) if signature is None else signature
    return WebhookRequest(URL, {"upstash-signature": header}, body, 0.0)


def check(request: WebhookRequest, *keys: str) -> VerifiedEvent:
    return verify(request, keys or (CURRENT, NEXT))


class TestAccepted:
    @pytest.mark.parametrize("key", [CURRENT, NEXT])
    def test_callback_signed_with_either_key_is_accepted(self, key: str) -> None:
        request = callback({"sourceMessageId": "msg_1", "status": 200})
        again = callback({"sourceMessageId": "msg_1"}, signed(key, body=request.body))

        assert check(request).remote_ids == ("msg_1",)
        assert check(WebhookRequest(URL, again.headers, request.body, 0.0)).state is TaskState.COMPLETED

    @pytest.mark.parametrize(
        ("content", "state"),
        [
            ({"status": 200}, TaskState.COMPLETED),
            ({"status": 299}, TaskState.COMPLETED),
            ({"status": 500}, None),
            ({"status": 500, "dlqId": "1-0"}, TaskState.FAILED),
            ({"status": "200"}, None),
            ({}, None),
        ],
    )
    def test_state_is_that_of_the_delivery(self, content: Any, state: TaskState | None) -> None:
        assert check(callback(content)).state is state

    def test_signature_that_differs_is_another_event(self) -> None:
        ids = [check(callback({}, jti=one)).event_id for one in ("jwt_1", "jwt_1", "jwt_2", None)]

        assert ids[0] == ids[1]
        assert len(set(ids)) == 3


class TestRefused:
    @pytest.mark.parametrize(
        "signature",
        [
            "",
            "x",
            signed("sig_other_22222222222222222222222222222222"),
            signed(sub="https://other.example.com"),
            signed(exp=1.0),
            signed(iss="Somebody"),
            signed(body=b"another"),
        ],
        ids=["none", "garbage", "key", "url", "time", "issuer", "body"],
    )
    def test_signature_that_is_not_for_this_is_refused(self, signature: str) -> None:
        with pytest.raises(EventRefused) as caught:
            check(callback({"a": 1}, signature))

        assert "other" not in caught.value.reason

    @pytest.mark.parametrize("body", [b"[]", b"\xff", b"x"])
    def test_body_of_another_shape_is_refused(self, body: bytes) -> None:
        with pytest.raises(EventRefused, match="no JSON object"):
            check(callback(body))


@pytest.mark.parametrize(
    ("pasted", "keys"), [(None, ()), ("a", ("a",)), ("a,b", ("a", "b")), (" a , b\n", ("a", "b")), (",", ())]
)
def test_pasted_keys_are_divided(pasted: str | None, keys: tuple[str, ...]) -> None:
    assert WEBHOOKS.pasted_keys(QStashExtras(webhook_secret=pasted)) == keys
