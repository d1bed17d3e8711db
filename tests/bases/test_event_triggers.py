"""Watchers: what they fire, that a restart skips nothing, and that the cursor waits for Airflow."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.a2a.triggers import A2ATaskEventTrigger
from remote_tasks_provider.bases import event_spacing, event_triggers, watching
from remote_tasks_provider.bases.assets import webhook_asset
from remote_tasks_provider.bases.compat import SHARES_STREAMS, airflow_is_at_least
from remote_tasks_provider.bases.event_triggers import RemoteEventTrigger
from remote_tasks_provider.bases.watching import listings
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import ConnectionUnavailableError
from remote_tasks_provider.core.http.client import AsyncClient
from remote_tasks_provider.core.http.operation import Operation, Page, Request, Response
from remote_tasks_provider.core.http.rate_limit import RateLimiter
from remote_tasks_provider.core.polling.drivers import AsyncLink
from remote_tasks_provider.core.push.watch import Cursor, Listing, Sighting
from remote_tasks_provider.core.service import TaskType
from remote_tasks_provider.manus.service import MANUS
from remote_tasks_provider.manus.triggers import ManusTaskEventTrigger
from remote_tasks_provider.qstash.triggers import QStashDeadLetterEventTrigger
from tests.core.build import a_config, a_response
from tests.core.fake_clock import Timekeeper, settle
from tests.core.shared_poller import BellTower

TRIGGERS = [ManusTaskEventTrigger, QStashDeadLetterEventTrigger, A2ATaskEventTrigger]


def operation() -> Operation[Any]:
    def read(response: Response) -> Page[Any]:
        return Page([tuple(one) for one in json.loads(response.body)])

    return Operation("GET /things", Request("GET", "/things"), "things", read)


@dataclass
class Service:
    """A service whose list has what :attr:`things` says."""

    time: Timekeeper = field(default_factory=Timekeeper)
    things: list[tuple[str, float, bool]] = field(default_factory=list)
    bells: BellTower = field(default_factory=BellTower)
    polls: list[float] = field(default_factory=list)
    error: int = 0
    is_away: bool = False
    push: bool = False
    closed: int = 0

    def __post_init__(self) -> None:
        self.events = TaskType(
            MANUS,
            "Things",
            lambda _config: Listing(lambda _since: operation(), self._sight, is_sorted=True),
            has_bell=True,
        )

    @staticmethod
    def _sight(item: Any) -> Sighting:
        key, at, ended = item
        return Sighting(key, at, {"id": key} if ended else None)

    def add(self, key: str, *, ended: bool = True) -> None:
        self.things.append((key, self.time.wall, ended))

    async def send(self, _request: Request) -> Response:
        self.polls.append(self.time.monotonic - 1000)
        await asyncio.sleep(0)
        return a_response(self.error, {}) if self.error else a_response(200, self.things[::-1])

    async def aclose(self) -> None:
        self.closed += 1

    async def _read(self) -> Any:
        if self.is_away:
            raise ConnectionUnavailableError("no backend")
        return a_config(max_attempts=1, push=self.push)

    async def _connect(self, config: Any) -> AsyncClient:
        transport: Any = self
        return AsyncClient(config, transport, MANUS.explain, RateLimiter({}), self.clocks)

    @property
    def clocks(self) -> Clocks:
        return self.time.clocks

    def listings(self, cursor: Cursor) -> AsyncIterator[list[Sighting]]:
        link = AsyncLink(self._read, self._connect)
        return listings(self.events, link, cursor, 60.0, self.bells, self.clocks)


def play(story: Callable[[Service], Coroutine[Any, Any, None]]) -> Service:
    async def run() -> Service:
        service = Service()
        await story(service)
        await settle()
        assert len(asyncio.all_tasks()) == 1
        assert service.closed
        assert not service.bells.listeners
        return service

    return asyncio.run(run())


async def end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class TestLoop:
    def test_list_is_read_once_an_interval(self) -> None:
        async def story(service: Service) -> None:
            task = asyncio.ensure_future(self._watch(service, []))
            await service.time.let_pass(181)
            assert service.polls == [0, 60, 120, 180]
            await end(task)

        play(story)

    def test_bell_lists_at_once(self) -> None:
        async def story(service: Service) -> None:
            service.push = True
            task = asyncio.ensure_future(self._watch(service, []))
            await service.time.let_pass(10)
            service.bells.ring()
            await service.time.let_pass(30)
            assert service.polls == [0, 10, 15, 30]
            await end(task)

        play(story)

    def test_trouble_is_said_once_and_the_list_read_again(self, caplog: pytest.LogCaptureFixture) -> None:
        heard: list[Any] = []

        async def story(service: Service) -> None:
            task = asyncio.ensure_future(self._watch(service, heard))
            service.error = 500
            await service.time.let_pass(181)
            service.error = 0
            await service.time.let_pass(60)
            service.is_away = True
            await service.time.let_pass(600)
            await end(task)

        with caplog.at_level(logging.INFO):
            play(story)
        said = [one.getMessage() for one in caplog.records if one.name == watching.__name__]
        assert [line.partition(": ")[2].partition(",")[0] for line in said] == ["not listed", "listed again."]
        assert heard

    @staticmethod
    async def _watch(service: Service, heard: list[Any]) -> None:
        cursor = Cursor()
        found = service.listings(cursor)
        try:
            async for sightings in found:
                heard.append(sightings)
        finally:
            await found.aclose()  # type: ignore[attr-defined]


class Store:
    """The state store of an asset."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], Any] = {}
        self.failures = 0

    async def read(self, asset: str, key: str) -> Any:
        if self.failures:
            self.failures -= 1
            raise TimeoutError
        return self.values.get((asset, key))

    async def write(self, asset: str, key: str, value: Any) -> None:
        self.values[asset, key] = json.loads(json.dumps(value))


@pytest.mark.skipif(not SHARES_STREAMS, reason="Airflow has no shared streams")
class TestProducer:
    """The acknowledged stream, driven as Airflow's triggerer drives it."""

    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> Store:
        from remote_tasks_provider.bases import watch_producer

        made = Store()
        monkeypatch.setattr(watch_producer, "read_state", made.read)
        monkeypatch.setattr(watch_producer, "write_state", made.write)
        return made

    @staticmethod
    def _producer(service: Service) -> Any:
        from remote_tasks_provider.bases.watch_producer import WatchProducer

        return WatchProducer("an-asset", "cursor", service.listings, service.clocks)

    @staticmethod
    def _stream(producer: Any, heard: list[tuple[Any, Any]]) -> asyncio.Task[None]:
        async def read() -> None:
            stream = producer.open_stream()
            try:
                async for item in stream:
                    heard.append(item)
            finally:
                await stream.aclose()

        return asyncio.ensure_future(read())

    @staticmethod
    def _items(heard: list[tuple[Any, Any]], acked: int = 1, failed: int = 0) -> list[Any]:
        outcome = SimpleNamespace(acked=acked, failed=failed, rejected=0)
        return [SimpleNamespace(broker_payload=payload, outcome=outcome) for _, payload in heard]

    def test_events_come_once_and_what_was_there_before_does_not(self, store: Store) -> None:
        async def story(service: Service) -> None:
            heard: list[tuple[Any, Any]] = []
            service.add("old")
            producer = self._producer(service)
            task = self._stream(producer, heard)
            await service.time.let_pass(1)
            assert store.values, "the beginning is kept at once"
            service.add("new")
            await service.time.let_pass(180)
            assert [event for event, _ in heard] == [{"id": "new"}]
            await end(task)

        play(story)

    def test_triggerer_that_dies_before_airflow_has_the_event_tells_it_again(self, store: Store) -> None:
        async def story(service: Service) -> None:
            first: list[tuple[Any, Any]] = []
            task = self._stream(self._producer(service), first)
            await service.time.let_pass(1)
            service.add("new")
            await service.time.let_pass(60)
            await end(task)
            assert len(first) == 1
            second: list[tuple[Any, Any]] = []
            task = self._stream(self._producer(service), second)
            await service.time.let_pass(1)
            assert second == first
            await end(task)

        play(story)

    def test_triggerer_that_takes_over_skips_nothing_and_repeats_nothing(self, store: Store) -> None:
        async def story(service: Service) -> None:
            heard: list[tuple[Any, Any]] = []
            producer = self._producer(service)
            task = self._stream(producer, heard)
            await service.time.let_pass(1)
            service.add("a")
            await service.time.let_pass(60)
            await producer.advance(self._items(heard))
            await end(task)
            service.add("while none was there")
            await service.time.let_pass(300)
            second: list[tuple[Any, Any]] = []
            task = self._stream(self._producer(service), second)
            await service.time.let_pass(120)
            assert [event["id"] for event, _ in second] == ["while none was there"]
            await end(task)

        play(story)

    @pytest.mark.parametrize(("acked", "failed"), [(0, 1), (1, 1), (0, 0)])
    def test_event_that_airflow_has_not_stored_moves_no_cursor(
        self, store: Store, acked: int, failed: int
    ) -> None:
        async def story(service: Service) -> None:
            heard: list[tuple[Any, Any]] = []
            producer = self._producer(service)
            task = self._stream(producer, heard)
            await service.time.let_pass(1)
            service.add("a")
            await service.time.let_pass(60)
            before = dict(store.values)
            with pytest.raises(RuntimeError):
                await producer.advance(self._items(heard, acked, failed))
            assert store.values == before
            await end(task)

        play(story)

    def test_end_is_told_again_after_the_task_ran_again_even_by_the_next_triggerer(
        self, store: Store
    ) -> None:
        async def story(service: Service) -> None:
            heard: list[tuple[Any, Any]] = []
            producer = self._producer(service)
            task = self._stream(producer, heard)
            await service.time.let_pass(1)
            service.add("task")
            await service.time.let_pass(60)
            await producer.advance(self._items(heard))
            service.things.clear()
            service.add("task", ended=False)
            await service.time.let_pass(60)
            await end(task)
            service.things.clear()
            service.add("task")
            second: list[tuple[Any, Any]] = []
            task = self._stream(self._producer(service), second)
            await service.time.let_pass(1)
            assert [event["id"] for event, _ in second] == ["task"]
            await end(task)

        play(story)

    def test_last_event_of_a_burst_comes_when_a_scheduler_has_looked(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(event_spacing, "QUEUES_EACH_EVENT", False)

        async def story(service: Service) -> None:
            heard: list[tuple[Any, Any]] = []
            task = self._stream(self._producer(service), heard)
            await service.time.let_pass(1)
            for name in ("a", "b", "c"):
                service.add(name)
            await service.time.let_pass(60)
            assert [event["id"] for event, _ in heard] == ["a", "b"]
            await service.time.let_pass(10)
            assert [event["id"] for event, _ in heard] == ["a", "b", "c"]
            await end(task)

        play(story)

    def test_lone_event_comes_at_once_and_none_waits_where_each_starts_a_run(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def story(service: Service) -> None:
            heard: list[tuple[Any, Any]] = []
            task = self._stream(self._producer(service), heard)
            await service.time.let_pass(1)
            service.add("a")
            await service.time.let_pass(60)
            assert len(heard) == 1
            monkeypatch.setattr(event_spacing, "QUEUES_EACH_EVENT", True)
            service.add("b")
            service.add("c")
            await service.time.let_pass(60)
            assert len(heard) == 3
            await end(task)

        play(story)

    def test_events_on_their_way_are_bounded(self, store: Store) -> None:
        async def story(service: Service) -> None:
            heard: list[tuple[Any, Any]] = []
            producer = self._producer(service)
            task = self._stream(producer, heard)
            await service.time.let_pass(1)
            for number in range(250):
                service.add(f"{number}")
            await service.time.let_pass(60)
            assert len(heard) == 100
            await producer.advance(self._items(heard))
            await service.time.let_pass(1)
            assert len(heard) == 200
            await end(task)

        play(story)

    def test_cursor_that_cannot_be_read_is_waited_for(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def story(service: Service) -> None:
            store.failures = 3
            task = self._stream(self._producer(service), [])
            await service.time.let_pass(29)
            assert service.polls == []
            await service.time.let_pass(2)
            assert service.polls
            await end(task)

        with caplog.at_level(logging.WARNING):
            play(story)
        assert caplog.text.count("cannot be read") == 1


class TestTrigger:
    @pytest.mark.parametrize("kind", TRIGGERS)
    def test_stored_arguments_make_the_same_trigger(self, kind: type[RemoteEventTrigger]) -> None:
        path, arguments = kind(asset="an-asset", conn_id="a_connection", poll_interval=30).serialize()
        again = kind(**json.loads(json.dumps(arguments)))

        assert path == f"{kind.__module__}.{kind.__name__}"
        assert arguments == {"asset": "an-asset", "conn_id": "a_connection", "poll_interval": 30}
        assert again.serialize() == (path, arguments)
        assert again.shared_stream_key() == kind("an-asset", "a_connection", 30).shared_stream_key()

    @pytest.mark.skipif(not airflow_is_at_least("3"), reason="a dataset of Airflow 2 has no name")
    def test_asset_may_be_given_itself(self) -> None:
        assert ManusTaskEventTrigger(webhook_asset(), "m").asset == "remote-tasks-webhooks"

    @pytest.mark.parametrize("wrong", [{"asset": None}, {"conn_id": " "}, {"poll_interval": 0}])
    def test_argument_that_cannot_be_right_is_refused_in_the_dag_file(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ManusTaskEventTrigger(**{"asset": "a", "conn_id": "m", "poll_interval": 60, **wrong})

    def test_assets_do_not_share_a_trigger(self) -> None:
        one, other = ManusTaskEventTrigger("a", "m"), ManusTaskEventTrigger("b", "m")

        assert one.serialize() != other.serialize()
        assert one.shared_stream_key() != other.shared_stream_key()

    @pytest.mark.skipif(not SHARES_STREAMS, reason="Airflow has no shared streams")
    @pytest.mark.parametrize("kind", TRIGGERS)
    def test_airflow_acknowledges_the_stream(self, kind: type[RemoteEventTrigger]) -> None:
        from airflow.triggers.shared_stream import SharedStreamProducer

        producer = kind.create_shared_stream_producer({"asset": "a", "conn_id": "m", "poll_interval": 60.0})
        assert isinstance(producer, SharedStreamProducer)

    def test_stream_becomes_events(self) -> None:
        async def stream() -> AsyncIterator[Any]:
            yield {"id": "a"}

        async def read() -> list[Any]:
            trigger = ManusTaskEventTrigger("a", "m")
            return [event.payload async for event in trigger.filter_shared_stream(stream())]

        assert asyncio.run(read()) == [{"id": "a"}]

    @pytest.mark.parametrize("shares", [True, False])
    def test_trigger_without_a_stream_keeps_its_cursor_in_memory_and_says_so(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, shares: bool
    ) -> None:
        monkeypatch.setattr(event_triggers, "SHARES_STREAMS", shares)
        heard: list[Any] = []

        async def story(service: Service) -> None:
            monkeypatch.setattr(ManusTaskEventTrigger, "clocks", service.clocks)
            monkeypatch.setattr(
                RemoteEventTrigger, "_listings", lambda _self, cursor: service.listings(cursor)
            )

            async def read() -> None:
                async for event in ManusTaskEventTrigger("a", "m").run():
                    heard.append(event.payload)

            service.add("old")
            task = asyncio.ensure_future(read())
            await service.time.let_pass(1)
            service.add("new")
            await service.time.let_pass(120)
            await end(task)

        with caplog.at_level(logging.WARNING):
            play(story)
        assert heard == [{"id": "new"}]
        assert caplog.text.count("Airflow 3.3") == (0 if shares else 1)
