"""A vendor as one value."""

from __future__ import annotations

import pytest

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.connection import ConnectionFields
from tests.core.shared_poller import World


class TestConnectionConfig:
    def test_config_is_read_from_the_connection(self) -> None:
        endpoint = World().service.endpoint(ConnectionFields("my_conn", password="key", host="https://h"))

        assert (endpoint.service, endpoint.conn_id, endpoint.base_url) == ("Example", "my_conn", "https://h")
        assert endpoint.auth == ("API_KEY", "key")

    def test_unusable_connection_is_refused(self) -> None:
        with pytest.raises(RemoteTaskError, match="password"):
            World().service.endpoint(ConnectionFields("my_conn"))
