"""Keys are read once at a time, kept for an hour, and read again when they may have changed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.receiver.known import Known, KnownConnection, NoKeys, hook_class, read_known
from remote_tasks_sandbox import Sandbox

FIRST, SECOND = Known(("one",), False), Known(("two",), False)


class Readings:
    """What reading a connection gives, one after the other; the last one again and again."""

    def __init__(self, *found: Any) -> None:
        self._found = list(found)
        self.count = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.now = 1000.0

    def read(self, *_: Any) -> Known:
        self.count += 1
        self.go_on.wait(10)
        found: Any = self._found.pop(0) if len(self._found) > 1 else self._found[0]
        if isinstance(found, Exception):
            raise found
        return found

    def connection(self) -> KnownConnection:
        return KnownConnection(hook_class("manus"), "manus_default", self.read, lambda: self.now)


class TestReading:
    def test_connection_is_read_once_an_hour(self) -> None:
        readings = Readings(FIRST, SECOND)

        async def run() -> list[Known]:
            connection = readings.connection()
            found = [await connection.known() for _ in range(5)]
            readings.now += 3599
            found.append(await connection.known())
            readings.now += 1
            return [*found, await connection.known()]

        assert asyncio.run(run()) == [FIRST] * 6 + [SECOND]
        assert readings.count == 2

    def test_connection_is_read_once_for_many_webhooks(self) -> None:
        readings = Readings(FIRST)
        readings.go_on.clear()

        async def run() -> list[Known]:
            connection = readings.connection()
            waiting = [asyncio.create_task(connection.known()) for _ in range(50)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            readings.go_on.set()
            return await asyncio.gather(*waiting[1:])

        assert asyncio.run(run()) == [FIRST] * 49
        assert readings.count == 1

    def test_failure_is_not_repeated_for_ten_seconds(self, log_lines: list[str]) -> None:
        readings = Readings(OSError("away"), FIRST)

        async def run() -> None:
            connection = readings.connection()
            for _ in range(3):
                with pytest.raises(NoKeys):
                    await connection.known()
            assert readings.count == 1
            readings.now += 10
            assert await connection.known() == FIRST

        asyncio.run(run())
        assert [line for line in log_lines if "OSError: away" in line] == [log_lines[0]]

    def test_keys_are_read_again_for_a_refusal_once_a_minute(self) -> None:
        readings = Readings(FIRST, SECOND)

        async def run() -> list[Known | None]:
            connection = readings.connection()
            await connection.known()
            found = [await connection.read_again()]
            readings.now += 60
            return [*found, await connection.read_again(), await connection.read_again()]

        assert asyncio.run(run()) == [None, SECOND, None]

    def test_failed_reading_for_a_refusal_leaves_the_keys(self) -> None:
        readings = Readings(FIRST, OSError("away"))

        async def run() -> None:
            connection = readings.connection()
            await connection.known()
            readings.now += 60
            assert await connection.read_again() is None
            assert await connection.known() == FIRST

        asyncio.run(run())


class TestKeys:
    def test_keys_of_manus_and_qstash_are_asked_for(
        self, sandbox: Sandbox, manus_conn: str, qstash_conn: str
    ) -> None:
        manus, qstash = (read_known(hook_class(one), f"{one}_default") for one in ("manus", "qstash"))

        assert manus.keys[0].startswith("-----BEGIN PUBLIC KEY-----")
        settings = sandbox.settings
        assert qstash.keys == (settings.qstash_current_signing_key, settings.qstash_next_signing_key)

    def test_key_of_manus_is_asked_for_by_v1_alone(
        self, server: Any, sandbox: Sandbox, set_connection: Callable[..., str]
    ) -> None:
        set_connection(
            "old",
            conn_type="manus",
            host=server.manus_url,
            password="sk-sandbox",
            extra={"api_version": "v1"},
        )

        assert "PUBLIC KEY" in read_known(hook_class("manus"), "old").keys[0]
        assert [call.path for call in sandbox.requests] == ["/manus/v1/webhook/public_key"]

    def test_pasted_keys_spare_the_request(
        self, server: Any, sandbox: Sandbox, set_connection: Callable[..., str]
    ) -> None:
        extra = {"webhook_secret": "one,two"}
        set_connection("pasted", conn_type="qstash", host=server.qstash_url, password="x", extra=extra)

        assert read_known(hook_class("qstash"), "pasted").keys == ("one", "two")
        assert sandbox.requests == []

    def test_keys_are_no_part_of_what_is_shown(self) -> None:
        assert "sesame" not in repr(Known(("sesame",), True))


def test_unknown_service_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="names the type 'nothing'; there are a2a, manus, qstash"):
        hook_class("nothing")


def test_service_without_webhooks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    hook = hook_class("manus")
    monkeypatch.setattr(hook, "service", replace(hook.service, webhooks=None))
    with pytest.raises(InvalidArgumentError, match="Manus sends no webhooks"):
        hook_class("manus")
