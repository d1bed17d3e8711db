"""Only what Manus has signed, for this URL and this body, now, passes."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from remote_tasks_provider.core.push.events import EventRefused, VerifiedEvent, WebhookRequest
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.push import verify
from remote_tasks_provider.manus.service import ManusExtras

URL = "https://hooks.example.com/remote-tasks/webhooks/manus/manus_default"
NOW = 1_764_187_304.0


def pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
BODY = json.dumps(
    {
        "event_id": "task_stopped_T1_1764187304",
        "event_type": "task_stopped",
        "task_detail": {"task_id": "T1", "stop_reason": "finish"},
    }
).encode()


def signed(
    body: bytes = BODY, *, key: Any = KEY, url: str = URL, at: float = NOW, double: bool = False, **shown: Any
) -> WebhookRequest:
    """Sign as Manus does; ``shown`` replaces headers, ``None`` leaves one away."""
    content = f"{int(at)}.{url}.{hashlib.sha256(body).hexdigest()}".encode()
    if double:
        content = hashlib.sha256(content).digest()
    signature = base64.b64encode(key.sign(content, padding.PKCS1v15(), hashes.SHA256())).decode()
    headers = {"x-webhook-signature": signature, "x-webhook-timestamp": str(int(at))}
    headers |= {f"x-webhook-{name}": value for name, value in shown.items()}
    return WebhookRequest(URL, {name: one for name, one in headers.items() if one is not None}, body, NOW)


def check(request: WebhookRequest, *keys: str) -> VerifiedEvent:
    return verify(request, keys or [pem(KEY)])


class TestAccepted:
    @pytest.mark.parametrize("double", [False, True], ids=["single", "double"])
    def test_signature_over_either_hash_form_is_accepted(self, double: bool) -> None:
        event = check(signed(double=double))

        assert (event.remote_ids, event.state, event.sent_at) == (("T1",), TaskState.COMPLETED, NOW)

    def test_signature_by_any_of_the_keys_is_accepted(self) -> None:
        assert check(signed(), pem(OTHER), pem(KEY)).remote_ids == ("T1",)

    @pytest.mark.parametrize("age", [-300, 300])
    def test_signature_of_the_last_five_minutes_is_accepted(self, age: int) -> None:
        assert check(signed(at=NOW - age))

    @pytest.mark.parametrize(
        ("detail", "kind", "state"),
        [
            ({"task_id": "T1", "stop_reason": "ask"}, "task_stopped", TaskState.WAITING),
            ({"task_id": "T1"}, "task_created", TaskState.RUNNING),
            ({"task_id": "T1", "progress_type": "plan_update"}, "task_progress", TaskState.RUNNING),
            ({"task_id": "T1", "stop_reason": "new word"}, "task_stopped", None),
        ],
    )
    def test_state_is_that_of_the_reason(self, detail: Any, kind: str, state: TaskState | None) -> None:
        body = json.dumps({"event_type": kind, "task_detail": detail}).encode()

        assert check(signed(body)).state is state

    @pytest.mark.parametrize("detail", [None, [], "x", {"task_id": 7}, {}])
    def test_event_about_nothing_readable_names_no_task(self, detail: Any) -> None:
        assert check(signed(json.dumps({"task_detail": detail}).encode())).remote_ids == ()

    def test_same_event_signed_again_has_the_same_id(self) -> None:
        assert check(signed()).event_id == check(signed(at=NOW - 60)).event_id

    def test_events_without_an_id_are_told_apart_by_their_body(self) -> None:
        ids = {check(signed(body)).event_id for body in (b'{"a": 1}', b'{"a": 2}', b'{"event_id": 5}')}

        assert len(ids) == 3


class TestRefused:
    def refusal(self, request: WebhookRequest, *keys: str) -> str:
        with pytest.raises(EventRefused) as caught:
            check(request, *keys)
        return caught.value.reason

    def test_signature_by_another_key_is_refused(self) -> None:
        assert "is not Manus's" in self.refusal(signed(key=OTHER))

    def test_signature_for_another_url_is_refused(self) -> None:
        assert "is not Manus's" in self.refusal(signed(url=URL.replace("https", "http")))

    def test_signature_for_another_body_is_refused(self) -> None:
        good = signed()
        bad = WebhookRequest(URL, good.headers, good.body + b" ", NOW)

        assert "is not Manus's" in self.refusal(bad)

    @pytest.mark.parametrize("age", [-301, 301])
    def test_signature_older_than_five_minutes_is_refused(self, age: int) -> None:
        assert "s ago" in self.refusal(signed(at=NOW - age))

    def test_time_that_is_not_the_signed_one_is_refused(self) -> None:
        assert "is not Manus's" in self.refusal(signed(timestamp=str(int(NOW) - 1)))

    @pytest.mark.parametrize("stamp", [None, "", "x", "-5", "1e9", "1764187304.5", "٣", "9" * 400])
    def test_time_that_is_none_is_refused(self, stamp: Any) -> None:
        assert "no X-Webhook-Timestamp" in self.refusal(signed(timestamp=stamp))

    @pytest.mark.parametrize("signature", [None, "", "é", "a", "AAAA", "=" * 9])
    def test_signature_that_is_none_is_refused(self, signature: Any) -> None:
        assert "X-Webhook-Signature" in self.refusal(signed(signature=signature))

    @pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"null"])
    def test_body_of_another_shape_is_refused(self, body: bytes) -> None:
        assert "no JSON object" in self.refusal(signed(body))

    @pytest.mark.parametrize(
        "key", ["", "x", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"], ids=range(3)
    )
    def test_key_that_is_none_matches_nothing(self, key: str) -> None:
        assert "is not Manus's" in self.refusal(signed(), key)

    def test_key_of_another_kind_matches_nothing(self) -> None:
        assert "is not Manus's" in self.refusal(signed(), pem(ec.generate_private_key(ec.SECP256R1())))


def test_pasted_key_is_no_part_of_what_is_shown() -> None:
    assert "PEM" not in repr(ManusExtras(webhook_public_key="PEM"))
