"""What the stores do with bells and claims."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from remote_tasks_provider.core.push.bell import BellNotStored
from remote_tasks_provider.core.push.events import VerifiedEvent
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.receiver.stores import Store
from sandbox.tests.receiver import until


class SlowBell:
    """A bell that takes until it is let go."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.go = Event()
        self.fails = False

    def ring(self, service: str, conn_id: str) -> None:
        self.began.append(conn_id)
        assert self.go.wait(10)
        if self.fails:
            raise BellNotStored("the database is gone")

    def publish(self, *_args: Any, **_options: Any) -> bool:
        raise AssertionError("no connection of these has asked for events")


class Claims:
    """Claims that remember."""

    def __init__(self) -> None:
        self.claimed: set[str] = set()

    def claim(self, service: str, conn_id: str, event_id: str) -> bool:
        self.claimed.add(event_id)
        return True

    def release(self, service: str, conn_id: str, event_id: str) -> None:
        self.claimed.remove(event_id)


def waiters(store: Store, conn_id: str) -> int:
    """Return how many webhooks wait for the ring that another one of them will make."""
    rung: Any = store._ring._next.get(("manus", conn_id))
    return len(rung._condition._waiters) if rung else -1


@pytest.fixture
def bell() -> SlowBell:
    return SlowBell()


@pytest.fixture
def claims() -> Claims:
    return Claims()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


@pytest.fixture
def store(bell: SlowBell, claims: Claims) -> Store:
    return Store(bell, claims)


class TestBurst:
    @pytest.fixture
    def come(self, store: Store, bell: SlowBell, threads: ThreadPoolExecutor) -> Any:
        def come(*names: str, conn_id: str = "m") -> list[Future[bool]]:
            """Webhooks come; return when the first one rings, or all wait for a ring."""
            is_first = not bell.began
            events = [VerifiedEvent(name, (), TaskState.COMPLETED) for name in names]
            kept = [
                threads.submit(store.keep, "manus", conn_id, event, starts_dags=False) for event in events
            ]
            until(lambda: bell.began if is_first else waiters(store, conn_id) == len(names) - 1)
            return kept

        return come

    def test_webhooks_that_come_while_a_bell_rings_share_the_next_one(
        self, bell: SlowBell, come: Any
    ) -> None:
        kept = come("first") + come(*(f"event {number}" for number in range(10)))
        bell.go.set()

        assert [one.result(10) for one in kept] == [True] * 11
        assert bell.began == ["m", "m"]

    def test_connections_have_bells_of_their_own(self, bell: SlowBell, come: Any) -> None:
        kept = come("first") + come("second", conn_id="other")
        bell.go.set()

        assert [one.result(10) for one in kept] == [True, True]
        assert bell.began == ["m", "other"]

    def test_ring_that_fails_leaves_no_webhook_claimed(
        self, bell: SlowBell, claims: Claims, come: Any
    ) -> None:
        bell.fails = True
        kept = come("first") + come("second", "third")
        bell.go.set()

        assert {type(one.exception(10)) for one in kept} == {BellNotStored}
        assert claims.claimed == set()
