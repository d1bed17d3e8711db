"""Whatever is sent to the real app over a real socket, it never stumbles, and only what is signed rings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("starlette")

import requests

from tests.receiver.bells import TYPES, Notes, define_connections, served, webhook
from tests.receiver.test_app import Running, make_receiver

_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "x-webhook-signature",
            "x-webhook-timestamp",
            "upstash-signature",
            "x-a2a-notification-token",
            "authorization",
            "content-type",
            "content-encoding",
        ]
    ),
    st.one_of(
        st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=300),
        st.sampled_from(["Bearer ", "Basic x", "a.b.c", "e30.e30.e30", "1764187304", "0", "=" * 344, "gzip"]),
    ),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["task_detail", "task"]), inner)
    ),
    max_leaves=8,
)
_BODIES = st.binary(max_size=400) | _JSON.map(lambda one: str(one).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("service", TYPES)
def test_app_never_stumbles_over_what_it_is_sent(service: str, set_connection: Callable[..., str]) -> None:
    define_connections(set_connection)
    notes = Notes()
    with served(make_receiver(notes)) as address, requests.Session() as session:
        url = Running(address, notes).url(service)

        @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(
            headers=_HEADERS, body=_BODIES, keep=st.booleans(), query=st.sampled_from(["", "?a=%ff", "?x"])
        )
        def send(headers: dict[str, str], body: bytes, keep: bool, query: str) -> None:
            good, good_body = webhook(service)
            sent: Any = {
                **(good if keep else {}),
                **{name: one.encode("latin-1") for name, one in headers.items()},
            }
            if body == good_body:
                return
            answer = session.post(url + query, data=body, headers=sent, timeout=10)
            allowed = {200, 401} if service == "a2a" and keep else {401}
            assert answer.status_code in allowed

        send()

    assert service == "a2a" or notes.rings == []
