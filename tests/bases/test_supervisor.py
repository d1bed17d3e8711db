"""Questions to Airflow from the event loop: whoever leaves, the answer is read."""

from __future__ import annotations

import asyncio

import pytest

from remote_tasks_provider.bases import supervisor
from remote_tasks_provider.bases.supervisor import ask, in_thread


def test_answer_is_returned() -> None:
    assert asyncio.run(ask(in_thread(divmod, 7, 2))) == (3, 1)


def test_error_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(ask(in_thread(divmod, 7, 0)))


@pytest.mark.parametrize("fails", [False, True])
def test_question_outlives_whoever_asked(fails: bool) -> None:
    heard: list[str] = []
    complaints: list[object] = []

    async def question(written: asyncio.Event, answer: asyncio.Event) -> None:
        written.set()
        await answer.wait()
        heard.append("answer")
        if fails:
            raise ValueError("refused")

    async def leave() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        written, answer = asyncio.Event(), asyncio.Event()
        asker = asyncio.ensure_future(ask(question(written, answer)))
        await written.wait()
        asker.cancel()
        assert (await asyncio.gather(asker, return_exceptions=True))[0].__class__ is asyncio.CancelledError
        answer.set()
        await asyncio.gather(*supervisor._questions, return_exceptions=True)

    asyncio.run(leave())

    assert heard == ["answer"]
    assert not complaints
    assert not supervisor._questions


def test_question_without_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LONGEST_ANSWER", 0.01)
    heard: list[str] = []

    async def wait() -> None:
        answer = asyncio.Event()

        async def question() -> None:
            await answer.wait()
            heard.append("answer")

        with pytest.raises(TimeoutError, match=r"Airflow did not answer within 0\.01 s"):
            await ask(question())
        answer.set()
        await asyncio.gather(*supervisor._questions)

    asyncio.run(wait())

    assert heard == ["answer"]
