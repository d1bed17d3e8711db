"""Webhooks that came before, as a receiver outside Airflow remembers them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from remote_tasks_provider.core.push import rest_claims
from remote_tasks_provider.core.push.bell import BellNotStored, claim_key
from remote_tasks_provider.core.push.rest_bell import RestBell
from remote_tasks_provider.core.push.rest_claims import RestClaims
from tests.core.push.test_rest_bell import Airflow, airflow, bell

__all__ = ["airflow", "bell"]

MANUS = ("manus", "manus_default")


@pytest.fixture
def claims(bell: RestBell) -> Iterator[RestClaims]:
    return RestClaims(bell)


def notes(airflow: Airflow) -> list[str]:
    return sorted(airflow.store)


class TestClaim:
    def test_webhook_is_new_once(self, claims: RestClaims, airflow: Airflow) -> None:
        assert [claims.claim(*MANUS, one) for one in ("a", "a", "b", "a")] == [True, False, True, False]
        assert notes(airflow) == [claim_key(*MANUS, "a"), claim_key(*MANUS, "b")]

    def test_webhook_of_another_connection_is_another_one(self, claims: RestClaims) -> None:
        assert claims.claim("manus", "one", "a")
        assert claims.claim("manus", "two", "a")

    def test_webhook_is_new_to_one_of_two_receivers(self, bell: RestBell) -> None:
        assert RestClaims(bell).claim(*MANUS, "a")
        assert not RestClaims(bell).claim(*MANUS, "a")

    def test_released_webhook_is_new_again(self, claims: RestClaims, airflow: Airflow) -> None:
        claims.claim(*MANUS, "a")
        claims.release(*MANUS, "a")

        assert notes(airflow) == []
        assert claims.claim(*MANUS, "a")

    def test_webhook_is_claimed_from_the_asset_that_came_back(
        self, claims: RestClaims, airflow: Airflow
    ) -> None:
        claims.claim(*MANUS, "a")
        airflow.assets[9] = airflow.assets.pop(7)

        assert claims.claim(*MANUS, "b")
        assert airflow.notes[-1][0] == 9

    def test_webhook_is_not_claimed_without_the_asset(self, claims: RestClaims, airflow: Airflow) -> None:
        del airflow.assets[7]

        with pytest.raises(BellNotStored, match="no DAG names the asset"):
            claims.claim(*MANUS, "a")


class TestPruning:
    def fill(self, airflow: Airflow, count: int, age: timedelta) -> None:
        at = (datetime.now(UTC) - age).isoformat(timespec="milliseconds")
        airflow.store |= {claim_key(*MANUS, f"{index:04}"): {"id": "x", "at": at} for index in range(count)}

    def test_old_webhooks_are_forgotten_and_bells_are_not(self, claims: RestClaims, airflow: Airflow) -> None:
        self.fill(airflow, 3, timedelta(hours=3))
        airflow.store["bell"] = {"id": "x", "at": "2020-01-01T00:00:00.000+00:00"}
        claims.claim(*MANUS, "new")

        assert notes(airflow) == ["bell", claim_key(*MANUS, "new")]

    def test_young_webhooks_are_kept(self, claims: RestClaims, airflow: Airflow) -> None:
        self.fill(airflow, 3, timedelta(hours=1))
        claims.claim(*MANUS, "new")

        assert len(airflow.store) == 4

    def test_pruning_rests_between_two_pages(self, claims: RestClaims, airflow: Airflow) -> None:
        self.fill(airflow, 150, timedelta(hours=3))
        claims.claim(*MANUS, "new")
        claims.claim(*MANUS, "newer")

        assert len(airflow.store) == 52

    def test_pruning_passes_every_page_in_turn(
        self, claims: RestClaims, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rest_claims, "_PRUNE_EVERY", -1.0)
        self.fill(airflow, 150, timedelta(hours=1))
        oldest = claim_key(*MANUS, "0149")
        airflow.store[oldest] = {"at": "2020-01-01T00:00:00.000+00:00"}
        claims.claim(*MANUS, "0000")
        assert oldest in airflow.store
        claims.claim(*MANUS, "0000")

        assert oldest not in airflow.store
