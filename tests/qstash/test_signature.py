"""Only what QStash has signed, for this URL and this body, now, passes."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any

import jwt
import pytest

from remote_tasks_provider.qstash.signature import SignatureError, verify

CURRENT = "sig_current_0000000000000000000000000000"
NEXT = "sig_next_11111111111111111111111111111111"
URL = "https://example.com/hook"
BODY = b'{"a": 1}'


def signed(key: str = CURRENT, *, algorithm: str = "HS256", body: bytes = BODY, **claims: Any) -> str:
    """Sign as QStash does; a claim of ``None`` is left away."""
    now = time.time()
    hashed = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()
    made = {
        "iss": "Upstash",
        "sub": URL,
        "exp": now + 300,
        "nbf": 0,
        "iat": now,
        "jti": "jwt_1",
        "body": hashed,
    } | claims
    return jwt.encode({name: value for name, value in made.items() if value is not None}, key, algorithm)


def check(signature: Any, body: bytes | str = BODY, **facts: Any) -> Any:
    return verify(signature, body, **({"current_key": CURRENT, "next_key": NEXT, "url": URL} | facts))


def refusal(signature: Any, body: bytes | str = BODY, **facts: Any) -> str:
    with pytest.raises(SignatureError) as caught:
        check(signature, body, **facts)
    assert CURRENT not in str(caught.value)
    assert NEXT not in str(caught.value)
    return str(caught.value)


class TestAccepted:
    @pytest.mark.parametrize("key", [CURRENT, NEXT])
    def test_signature_by_either_key_is_accepted(self, key: str) -> None:
        assert check(signed(key))["sub"] == URL

    def test_signature_by_the_only_key_is_accepted(self) -> None:
        assert check(signed(), next_key=None)

    @pytest.mark.parametrize("padded", [True, False])
    def test_body_hash_is_accepted_with_and_without_padding(self, padded: bool) -> None:
        hashed = base64.urlsafe_b64encode(hashlib.sha256(BODY).digest()).decode()
        assert check(signed(**{"body": BODY}) if padded else _with_hash(hashed.rstrip("=")))

    @pytest.mark.parametrize("body", ["Grüezi", "Grüezi".encode(), "", b""])
    def test_body_is_accepted_as_text_bytes_or_empty(self, body: str | bytes) -> None:
        raw = body.encode() if isinstance(body, str) else body
        assert check(signed(body=raw), body)

    def test_url_is_not_checked_if_absent(self) -> None:
        assert check(signed(sub="https://other.example.com"), url=None)

    def test_signature_expired_within_the_leeway_is_accepted(self) -> None:
        assert check(signed(exp=time.time() - 10))


def _with_hash(hashed: str) -> str:
    return jwt.encode(
        {"iss": "Upstash", "sub": URL, "exp": time.time() + 300, "body": hashed}, CURRENT, "HS256"
    )


class TestRefused:
    @pytest.mark.parametrize("signature", [None, ""])
    def test_missing_signature_is_refused(self, signature: Any) -> None:
        assert "no Upstash-Signature header" in refusal(signature)

    def test_signature_by_another_key_is_refused(self) -> None:
        assert "another key" in refusal(signed("sig_other_22222222222222222222222222222222"))

    def test_expired_signature_is_refused_under_either_key(self) -> None:
        for key in (CURRENT, NEXT):
            assert "expired" in refusal(signed(key, exp=time.time() - 60))

    def test_expired_signature_without_leeway_is_refused(self) -> None:
        assert "expired" in refusal(signed(exp=time.time() - 10), leeway=0)

    def test_signature_not_yet_valid_is_refused(self) -> None:
        assert "not yet valid" in refusal(signed(nbf=time.time() + 600))

    def test_signature_for_another_url_is_refused(self) -> None:
        assert "'https://other.example.com', not for 'https://example.com/hook'" in refusal(
            signed(sub="https://other.example.com")
        )

    @pytest.mark.parametrize("body", [b'{"a": 2}', b"", b'{"a": 1} ', '{"a":1}'])
    def test_signature_for_another_body_is_refused(self, body: Any) -> None:
        assert "the body is not the one that was signed" in refusal(signed(), body)

    def test_signature_by_another_issuer_is_refused(self) -> None:
        assert "issuer" in refusal(signed(iss="Somebody"))

    @pytest.mark.parametrize("claim", ["iss", "sub", "exp", "body"])
    def test_missing_claim_is_refused(self, claim: str) -> None:
        facts: dict[str, Any] = {claim: None}
        token = signed(**facts) if claim != "body" else _without_body()
        assert f'missing the "{claim}" claim' in refusal(token)

    def test_unsigned_token_is_refused(self) -> None:
        claims = {"iss": "Upstash", "sub": URL, "exp": time.time() + 300, "body": "x"}
        assert "not valid" in refusal(jwt.encode(claims, None, "none"))

    def test_signature_by_another_algorithm_is_refused(self) -> None:
        assert "not valid" in refusal(signed("x" * 64, algorithm="HS512"))

    @pytest.mark.parametrize("garbage", ["x", "a.b.c", "é.é.é", "....", "Bearer x", "\x00"])
    def test_garbage_is_refused(self, garbage: str) -> None:
        assert "not valid" in refusal(garbage)

    def test_absent_keys_refuse_all_signatures(self) -> None:
        assert "no signing key is given" in refusal(signed(), current_key="", next_key=None)

    def test_key_of_another_kind_refuses_all_signatures(self) -> None:
        pem = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"
        with pytest.raises(SignatureError, match="not valid"):
            verify(signed(), BODY, current_key=pem)


def _without_body() -> str:
    return jwt.encode({"iss": "Upstash", "sub": URL, "exp": time.time() + 300}, CURRENT, "HS256")
