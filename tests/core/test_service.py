"""A vendor as one value."""

from __future__ import annotations

from dataclasses import replace

import pytest

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.connection import ConnectionFields
from tests.core.shared_poller import World


class TestConnectionConfig:
    def test_config_is_read_from_the_connection(self) -> None:
        config = World().service.config(ConnectionFields("my_conn", password="key", host="https://h"))

        assert (config.service, config.conn_id, config.base_url) == ("Example", "my_conn", "https://h")
        assert config.auth == ("API_KEY", "key")

    def test_unusable_connection_is_refused(self) -> None:
        with pytest.raises(RemoteTaskError, match="password"):
            World().service.config(ConnectionFields("my_conn"))


class TestTaskType:
    def test_parameter_of_many_ids_is_the_plural(self) -> None:
        task_type = replace(World().task_type, id_param="message_id")

        assert task_type.ids_param == "message_ids"

    def test_task_without_a_cancel_operation_cannot_be_cancelled(self) -> None:
        assert World().task_type.cancel(None, "t1") is None
