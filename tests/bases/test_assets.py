"""The assets of webhooks, on every Airflow."""

from __future__ import annotations

import pytest

from remote_tasks_provider.bases.assets import events_asset, webhook_asset


def test_webhook_asset_is_made_on_every_airflow() -> None:
    assert webhook_asset().uri.startswith("remote-tasks://webhooks")


def test_events_asset_is_one_of_the_connection() -> None:
    assert events_asset("manus", "my conn").uri.startswith("remote-tasks://manus/my")


@pytest.mark.parametrize("wrong", ["", " "])
def test_events_asset_needs_a_connection(wrong: str) -> None:
    with pytest.raises(ValueError, match="conn_id"):
        events_asset("manus", wrong)
