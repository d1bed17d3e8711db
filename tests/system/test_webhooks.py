"""The receiver in a real API server with two workers, and one beside it that rings over its REST API."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dev.airflow.client import WITHIN, eventually
from dev.airflow.standalone import StandaloneAirflow
from remote_tasks_provider.bases.compat import KEEPS_ASSET_STATE
from remote_tasks_provider.bases.webhooks import WebhookSettings
from remote_tasks_provider.core.push.bell import WEBHOOK_ASSET
from tests.manus.test_push import pem
from tests.qstash.test_signature import CURRENT, NEXT
from tests.receiver.bells import KEY, SECRET, TYPES, post, served, webhook

pytestmark = pytest.mark.skipif(not KEEPS_ASSET_STATE, reason="below Airflow 3.3 there are no notes")

DAGS = Path(__file__).parent / "dags"
SETTINGS = WebhookSettings(
    "https://hooks.example.com/remote-tasks", tuple((service, f"{service}_default") for service in TYPES)
)
EXTRAS = {
    "manus": {"webhook_public_key": pem(KEY)},
    "qstash": {"webhook_secret": f"{CURRENT},{NEXT}"},
    "a2a": {"webhook_secret": SECRET},
}


@pytest.fixture(scope="module")
def airflow() -> Iterator[StandaloneAirflow]:
    connections = {
        f"{service}_default": json.dumps(
            {"conn_type": service, "password": "x", "host": "http://127.0.0.1:9", "extra": extra}
        )
        for service, extra in EXTRAS.items()
    }
    config = {
        "AIRFLOW__REMOTE_TASKS__WEBHOOK_URL": SETTINGS.url,
        "AIRFLOW__REMOTE_TASKS__WEBHOOK_CONNECTIONS": ",".join("/".join(one) for one in SETTINGS.connections),
        "AIRFLOW__API__WORKERS": "2",
    }
    with StandaloneAirflow(DAGS, connections=connections, config=config, start_timeout=300) as running:
        running.client.wait_for_dag("webhooks")
        eventually(lambda: _asset_id(running) or None, within=WITHIN, what="the asset is there")
        yield running


def _asset_id(airflow: StandaloneAirflow) -> int | None:
    found = airflow.client._get("assets", name_pattern=WEBHOOK_ASSET[0])
    return next((one["id"] for one in found["assets"]), None)


def notes(airflow: StandaloneAirflow) -> dict[str, Any]:
    found = airflow.client._get(f"assets/{_asset_id(airflow)}/state-store", limit="100")
    return {one["key"]: one["value"] for one in found["asset_state_store"]}


def replays_known(airflow: StandaloneAirflow) -> set[str]:
    """Return the keys by which webhooks that were accepted are known again."""
    return {key for key in notes(airflow) if key.startswith("seen:")}


def deliver(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Send a webhook as a service does: once more after a 503, which a busy Airflow may answer."""
    return eventually(
        lambda: None if (status := post(url, headers, body)) == 503 else status,
        within=WITHIN,
        what="the webhook is taken",
    )


def url(address: str, service: str) -> str:
    return f"{address}/remote-tasks/webhooks/{service}/{service}_default"


@pytest.mark.parametrize("service", TYPES)
def test_webhook_rings_in_the_api_server(airflow: StandaloneAirflow, service: str) -> None:
    deliver(url(airflow.url, service), *webhook(service, "warm"))
    before = notes(airflow)

    assert deliver(url(airflow.url, service), *webhook(service, "new")) == 200
    after = notes(airflow)
    assert after["bell"] != before.get("bell")
    assert after["bell"] == after[f"bell:{service}:{service}_default"]


def test_webhook_that_is_replayed_at_once_rings_once(airflow: StandaloneAirflow) -> None:
    sent = webhook("qstash", "replayed")
    deliver(url(airflow.url, "qstash"), *webhook("qstash", "warm"))
    before = replays_known(airflow)
    with ThreadPoolExecutor(24) as threads:
        statuses = list(threads.map(lambda _: deliver(url(airflow.url, "qstash"), *sent), range(24)))

    assert set(statuses) == {200}
    assert len(replays_known(airflow) - before) == 1


@pytest.mark.parametrize("service", TYPES)
def test_forged_webhook_is_refused_by_the_api_server(airflow: StandaloneAirflow, service: str) -> None:
    before = notes(airflow)

    assert deliver(url(airflow.url, service), {}, b"{}") == 401
    assert post(f"{airflow.url}/remote-tasks/webhooks/{service}/other", {}, b"{}") == 404
    assert notes(airflow) == before


def test_receiver_beside_airflow_rings_over_its_api(airflow: StandaloneAirflow) -> None:
    from remote_tasks_provider.receiver.serving import receiver_alone
    from remote_tasks_provider.receiver.stores import RestStore

    store = RestStore(airflow.url, airflow.username, airflow.password)
    settings = WebhookSettings(SETTINGS.url, (("qstash", "qstash_default"),))
    os.environ["AIRFLOW_CONN_QSTASH_DEFAULT"] = json.dumps(
        {"conn_type": "qstash", "password": "x", "extra": EXTRAS["qstash"]}
    )
    try:
        store.open()
        with served(receiver_alone(settings, store)) as address:
            before, rung = replays_known(airflow), notes(airflow).get("bell")
            statuses = [deliver(url(address, "qstash"), *webhook("qstash", "beside")) for _ in range(3)]
    finally:
        del os.environ["AIRFLOW_CONN_QSTASH_DEFAULT"]
        store.close()

    assert statuses == [200, 200, 200]
    assert notes(airflow)["bell"] != rung
    assert len(replays_known(airflow) - before) == 1
