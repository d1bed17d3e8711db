"""Every operation that a vendor has is emulated, or answers 501 with its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

#: Names of operations alone, as the vendors' schemas list them.
OPERATIONS: dict[str, list[str]] = json.loads((Path(__file__).parent / "operations.json").read_text())
#: Those that the vendors' pages and clients name beside the schemas.
MORE = {
    "manus": [
        *("POST /v1/responses", "GET /v1/responses/{id}", "GET /v1/webhook/public_key"),
        *("POST /oauth/token", "POST /oauth/revoke", "GET /v2/user.me"),
    ],
    "qstash": [
        *("POST /llm/v1/chat/completions", "POST /v2/notify/{eventId}", "GET /v2/waiters/{eventId}"),
        *("GET /v2/workflows/logs", "DELETE /v2/workflows/runs/{id}", "POST /v2/workflows/dlq/resume"),
        *("GET /v2/events", "POST /v1/publish/{destination}", "GET /v1/schedules"),
    ],
}


def is_route(answer) -> bool:
    """Whether an answer is about the operation, and not about a route that nobody knows."""
    return answer.status_code != 405 and not any(
        text in answer.text for text in ("unknown operation", '"message":"Not Found"')
    )


class TestOperations:
    @pytest.mark.parametrize(
        ("vendor", "operation"),
        [(vendor, one) for found in (OPERATIONS, MORE) for vendor, names in found.items() for one in names],
    )
    def test_operation_of_the_vendor_is_emulated_or_answers_501_with_its_name(
        self, manus, manus_v2, qstash, vendor, operation
    ):
        method, path = operation.split(" ")
        client = qstash if vendor == "qstash" else manus_v2 if path.startswith("/v2/") else manus
        answer = client.call(method, path.replace("{", "").replace("}", ""))
        assert is_route(answer), answer.text
        if answer.status_code == 501:
            assert f"{path.split('/')[2]}" in answer.text

    def test_route_that_no_vendor_has_is_seen_as_none(self, manus, manus_v2, qstash):
        assert not is_route(manus.get("/v1/nothing"))
        assert not is_route(manus_v2.get("/v2/no.thing"))
        assert not is_route(qstash.get("/v2/nothing"))
