"""Whether a request really comes from QStash: the check of its ``Upstash-Signature``.

QStash signs each delivery and callback with the account's current signing key, as a JWT (HS256) that names
the destination and the hash of the body. During a key rotation, deliveries of either key arrive, so the next
key is tried too. https://upstash.com/docs/qstash/features/security. Imports no Airflow; needs PyJWT.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from remote_tasks_provider.core.errors import RemoteTaskError

__all__ = ["SignatureError", "verify"]


class SignatureError(RemoteTaskError):
    """A request does not come from QStash, or not to this URL, or not now. Answer it with 401 or 403."""


def verify(
    signature: str | None,
    body: bytes | str,
    *,
    current_key: str,
    next_key: str | None = None,
    url: str | None = None,
    leeway: float = 30.0,
) -> Mapping[str, Any]:
    """Return the claims of a request that comes from QStash.

    :param signature: the header ``Upstash-Signature``.
    :param body: the raw body, byte for byte as it arrived.
    :param current_key: the account's current signing key.
    :param next_key: the one that follows at the next rotation.
    :param url: the URL as QStash calls it, behind a proxy the public one; ``None`` accepts any.
    :param leeway: seconds by which the clocks may differ.
    :raises SignatureError: saying what is wrong; it never shows a key.
    """
    keys = [key for key in (current_key, next_key) if key]
    if not keys:
        raise SignatureError("no signing key is given: set current_key, and next_key for key rotations")
    if not signature:
        raise SignatureError("the request has no Upstash-Signature header")
    claims = _claims(signature, keys, leeway)
    if url is not None and claims["sub"] != url:
        raise SignatureError(f"the request was signed for {claims['sub']!r}, not for {url!r}")
    raw = body.encode() if isinstance(body, str) else body
    signed = str(claims["body"]).rstrip("=")
    actual = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")
    if not hmac.compare_digest(signed, actual):
        raise SignatureError("the body is not the one that was signed")
    return claims


def _claims(signature: str, keys: list[str], leeway: float) -> Mapping[str, Any]:
    import jwt

    failure: Exception | None = None
    for key in keys:
        try:
            claims: Mapping[str, Any] = jwt.decode(
                signature,
                key,
                algorithms=["HS256"],
                issuer="Upstash",
                leeway=leeway,
                options={"require": ["iss", "sub", "exp", "body"]},
            )
        except jwt.InvalidSignatureError as error:
            failure = failure or error
        except jwt.PyJWTError as error:
            # The key was right, or is none, and something else is wrong: the error must say what.
            raise SignatureError(f"the signature is not valid: {error}") from None
        else:
            return claims
    raise SignatureError("the signature was made with another key") from failure
