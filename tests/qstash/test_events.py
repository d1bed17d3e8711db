"""New dead letters, as QStash lists them."""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.core.polling.drivers import results_of
from remote_tasks_provider.core.polling.strategy import PollRequest
from remote_tasks_provider.qstash.api.v2_models import DlqMessage
from remote_tasks_provider.qstash.events import QSTASH_DEAD_LETTERS, _sight
from remote_tasks_provider.qstash.hooks import QStashHook
from tests.qstash.account import HOOK, SECRETS, QStash


def test_dead_letter_is_an_event_of_the_moment_in_which_it_came_into_the_queue(account: QStash) -> None:
    account.fail(f"{HOOK}*")
    headers = {"Upstash-Retries": "0", "Upstash-Label": "nightly"}
    account.qstash.publish(f"{HOOK}?token={SECRETS['query']}", SECRETS["body"], headers)
    account.clock.advance(600)
    (message,) = account.qstash.dlq_messages
    client = QStashHook().client

    plan = QSTASH_DEAD_LETTERS.poll_strategy(client.config).plan(PollRequest(["0.0"]))
    found: Any = results_of(plan, client.send)
    client.close()

    (event,) = found.values()
    assert event.key == event.payload["dlq_id"] == message.id
    assert event.at == message.at_ms / 1000
    assert event.payload["message_id"]
    assert not {secret for secret in SECRETS.values() if secret in repr(event)}


def test_dead_letter_whose_id_is_no_moment_has_the_one_of_its_message() -> None:
    message = DlqMessage.model_validate({"messageId": "m", "dlqId": "odd", "createdAt": 1_763_501_439_000})

    event = _sight(message)

    assert event is not None
    assert event.at == 1_763_501_439


def test_dead_letter_without_an_id_or_a_moment_is_no_event() -> None:
    assert _sight(DlqMessage.model_validate({"messageId": "m"})) is None
    assert _sight(DlqMessage.model_validate({"messageId": "m", "dlqId": "odd"})) is None
