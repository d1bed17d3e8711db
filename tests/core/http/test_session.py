"""A session tells its attempts how far they are; the transports' own tests show the rest."""

from __future__ import annotations

import pytest

from remote_tasks_provider.core.http.environment import network_settings
from remote_tasks_provider.core.http.session import FAILURES, attempt, make_session
from tests.core.raw_server import RawServer, answer


def test_connection_that_is_made_too_late_is_not_used() -> None:
    with (
        RawServer(answer()) as server,
        make_session(network_settings(server.url), "x") as session,
        attempt(60) as late,
    ):
        late.overran = True
        with pytest.raises(FAILURES):
            session.get(server.url)

    assert late.sent is False
    assert server.requests == []
