"""Values that belong to an event loop."""

from __future__ import annotations

import asyncio

from remote_tasks_provider.core.event_loops import PerLoop


class TestPerLoop:
    def test_loop_keeps_its_value(self) -> None:
        values = PerLoop(object)

        async def twice() -> bool:
            return values.get() is values.get()

        assert asyncio.run(twice())

    def test_closed_loop_is_forgotten_and_an_open_one_is_kept(self) -> None:
        values: PerLoop[list[int]] = PerLoop(list)

        async def get() -> list[int]:
            return values.get()

        waiting = asyncio.new_event_loop()
        try:
            first = waiting.run_until_complete(get())
            second = asyncio.run(get())
            third = asyncio.run(get())

            assert len({id(first), id(second), id(third)}) == 3
            assert len(values._values) == 2
            assert waiting.run_until_complete(get()) is first
        finally:
            waiting.close()

    def test_loops_of_other_threads_may_come_meanwhile(self) -> None:
        values = PerLoop(object)

        class Closed:
            def is_closed(self) -> bool:
                # What another thread would do now.
                values._values.pop(self, None)  # type: ignore[call-overload]
                return True

        values._values |= {Closed(): object(), Closed(): object()}  # type: ignore[dict-item]

        async def get() -> object:
            return values.get()

        asyncio.run(get())
        assert len(values) == 1
