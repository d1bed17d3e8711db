"""Messages and confirmations are sent once, whatever happens to the worker or to the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import TransportError
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.operators import ManusConfirmActionOperator, ManusSendMessageOperator
from tests.manus.airflow_task import Account, AirflowTask

MAIL = {"type": "gmailSendAction"}


@pytest.fixture(params=["v1", "v2", "best"])
def version(request: pytest.FixtureRequest, account: Account) -> str:
    account.connect(request.param)
    return str(request.param)


def sends(task_id: str, content: str = "Go on.") -> Callable[[], Any]:
    return lambda: ManusSendMessageOperator(task_id="act", remote_task_id=task_id, content=content)


def confirms(task_id: str, **arguments: Any) -> Callable[[], Any]:
    given = {"input": {"accept": True}, "expect": "gmailSendAction", **arguments}
    return lambda: ManusConfirmActionOperator(task_id="act", remote_task_id=task_id, **given)


def finished(account: Account) -> str:
    return account.manus.add_task(script=[("completed", None)])


def two_mails(account: Account) -> str:
    """A task that asks to send a mail, and once that is confirmed to send another one."""
    script = [("waiting", None), ("running", 5), ("waiting", None), ("running", None)]
    return account.manus.add_task(script=script, waiting=[MAIL, {**MAIL, "description": "To all of them"}])


def die_after(method: str, task: AirflowTask, make: Callable[[], Any]) -> None:
    """Run an attempt whose worker dies when its request has taken effect."""
    real = getattr(ManusHook, method)

    def act_and_die(*given: Any, **more: Any) -> None:
        real(*given, **more)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ManusHook, method, act_and_die)
        with pytest.raises(SystemExit):
            task.attempt(make)


def die_before(method: str, task: AirflowTask, make: Callable[[], Any]) -> None:
    def die(*_given: Any, **_more: Any) -> None:
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ManusHook, method, die)
        with pytest.raises(SystemExit):
            task.attempt(make)


class TestMessage:
    def test_message_of_a_dead_worker_is_not_sent_again(self, account: Account, version: str) -> None:
        task_id, task = finished(account), account.task(retries=1)
        die_after("send_message", task, sends(task_id))
        task.retry()

        task.attempt(sends(task_id))
        assert len(account.manus.answers(task_id)) == 1

    def test_message_of_a_dead_worker_is_recognised_in_other_words(self, account: Account) -> None:
        task_id, task = finished(account), account.task(retries=1)
        die_after("send_message", task, sends(task_id, "It is 9:00."))
        task.retry()

        task.attempt(sends(task_id, "It is 9:05."))
        assert [one.text for one in account.manus.answers(task_id)] == ["It is 9:00."]

    def test_message_that_a_dead_worker_did_not_send_is_sent(self, account: Account, version: str) -> None:
        task_id, task = finished(account), account.task(retries=1)
        die_before("send_message", task, sends(task_id))
        task.retry()

        task.attempt(sends(task_id))
        assert len(account.manus.answers(task_id)) == 1

    def test_same_message_of_earlier_times_is_another_one(self, account: Account, version: str) -> None:
        task_id, task = finished(account), account.task(retries=1)
        account.task().attempt(sends(task_id))
        die_before("send_message", task, sends(task_id))
        task.retry()

        task.attempt(sends(task_id))
        assert len(account.manus.answers(task_id)) == 2

    def test_lost_message_is_sent_again_once_it_does_not_show(self, account: Account, version: str) -> None:
        task_id, task = finished(account), account.task(retries=1)
        account.faults.add("drop_before", path="*/task*", method="POST", times=1)

        with pytest.raises(TransportError):
            task.attempt(sends(task_id))
        task.retry()
        task.attempt(sends(task_id))
        assert len(account.manus.answers(task_id)) == 1

    def test_message_is_sent_again_after_a_clear(self, account: Account, version: str) -> None:
        task_id, task = finished(account), account.task()
        task.attempt(sends(task_id))
        task.clear()

        task.attempt(sends(task_id))
        assert len(account.manus.answers(task_id)) == 2

    def test_message_that_may_be_an_earlier_attempts_is_left_to_a_person_without_a_store(
        self, account: Account, version: str
    ) -> None:
        task_id, task = finished(account), account.task(retries=1, remembers=False)
        die_after("send_message", task, sends(task_id))
        task.retry()

        with pytest.raises(
            AirflowFailException, match=r"has this message already.*mark this task successful"
        ):
            task.attempt(sends(task_id))
        assert len(account.manus.answers(task_id)) == 1
        task.clear()
        task.attempt(sends(task_id))
        assert len(account.manus.answers(task_id)) == 2

    def test_message_that_the_conversation_does_not_have_is_sent_without_a_store(
        self, account: Account, version: str
    ) -> None:
        task_id, task = finished(account), account.task(retries=1, remembers=False)
        die_before("send_message", task, sends(task_id))
        task.retry()

        task.attempt(sends(task_id))
        assert len(account.manus.answers(task_id)) == 1


class TestConfirmation:
    def test_next_action_is_not_confirmed_by_the_next_attempt(self, account: Account) -> None:
        task_id, task = two_mails(account), account.task(retries=1)
        die_after("confirm_action", task, confirms(task_id))
        account.sandbox.clock.advance(10)
        assert account.word(task_id) == "waiting"
        task.retry()

        task.attempt(confirms(task_id))
        assert len(account.manus.answers(task_id)) == 1

    def test_action_that_a_dead_worker_did_not_confirm_is_confirmed(self, account: Account) -> None:
        task_id, task = two_mails(account), account.task(retries=1)
        die_before("confirm_action", task, confirms(task_id))
        task.retry()

        task.attempt(confirms(task_id))
        assert len(account.manus.answers(task_id)) == 1

    def test_lost_answer_of_a_confirmation_confirms_no_other_action(self, account: Account) -> None:
        task_id, task = two_mails(account), account.task(retries=1)
        account.faults.add("drop_after", path="*/task.confirmAction")

        task.attempt(confirms(task_id))
        account.sandbox.clock.advance(10)
        assert len(account.manus.answers(task_id)) == 1

    def test_clear_confirms_the_next_action(self, account: Account) -> None:
        task_id, task = two_mails(account), account.task()
        task.attempt(confirms(task_id))
        account.sandbox.clock.advance(10)
        task.clear()

        task.attempt(confirms(task_id))
        assert len(account.manus.answers(task_id)) == 2

    @pytest.mark.parametrize("waits", [10.0, 0.0], ids=["for the next one", "for nothing"])
    def test_answered_action_is_left_to_a_person_without_a_store(
        self, account: Account, waits: float
    ) -> None:
        task_id, task = two_mails(account), account.task(retries=1, remembers=False)
        die_after("confirm_action", task, confirms(task_id))
        account.sandbox.clock.advance(waits)
        task.retry()

        with pytest.raises(AirflowFailException, match=r"does not wait for gmailSend.*Nothing was sent"):
            task.attempt(confirms(task_id))
        assert len(account.manus.answers(task_id)) == 1

    def test_first_action_is_confirmed_by_any_attempt_without_a_store(self, account: Account) -> None:
        task_id, task = two_mails(account), account.task(retries=1, remembers=False)
        die_before("confirm_action", task, confirms(task_id))
        task.retry()

        task.attempt(confirms(task_id))
        assert len(account.manus.answers(task_id)) == 1
