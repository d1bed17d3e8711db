"""What faults make of a callback: QStash believes to have made it, and the receiver has to live with that."""

from __future__ import annotations

import base64
import hashlib
import json
import time

import pytest

from sandbox.tests.receiver import Receiver, until


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


def publish(sandbox, receiver, *names):
    """Publish messages that call back, one after the other; return their ids."""
    ids = []
    for name in names or ("a",):
        headers = {"Upstash-Callback": f"{receiver.url}/{name}"}
        ids += sandbox.qstash.publish("https://example.com/hook", headers=headers)
        sandbox.clock.advance(1)
    return ids


def claims(got):
    return json.loads(base64.urlsafe_b64decode(got.headers["Upstash-Signature"].split(".")[1] + "=="))


def is_about_its_body(got):
    return base64.urlsafe_b64decode(claims(got)["body"] + "==") == hashlib.sha256(got.body).digest()


def paths(receiver):
    return [got.path for got in receiver.got]


class TestFaults:
    def test_callback_without_a_fault_is_sent_once(self, sandbox, receiver):
        (message_id,) = publish(sandbox, receiver)
        until(lambda: receiver.got)

        assert json.loads(receiver.got[0].body)["sourceMessageId"] == message_id
        assert is_about_its_body(receiver.got[0])

    def test_lost_callback_is_never_sent(self, sandbox, receiver):
        sandbox.faults.add("delivery_lost", path="/qstash/callbacks/callback", times=1)
        publish(sandbox, receiver, "lost", "sent")
        until(lambda: receiver.got)

        assert paths(receiver) == ["/sent"]

    def test_doubled_callback_is_sent_twice(self, sandbox, receiver):
        sandbox.faults.add("delivery_doubled", times=1)
        publish(sandbox, receiver)
        until(lambda: len(receiver.got) == 2)

        assert len({got.headers["Upstash-Signature"] for got in receiver.got}) == 1

    def test_late_callback_is_signed_when_it_is_sent(self, sandbox, receiver):
        sandbox.faults.add("delivery_late", seconds=3600, times=1)
        publish(sandbox, receiver, "late", "sent")
        until(lambda: receiver.got)
        sandbox.clock.advance(3600)
        until(lambda: len(receiver.got) == 2)

        assert paths(receiver) == ["/sent", "/late"]
        assert abs(claims(receiver.got[1])["iat"] - time.time()) < 60

    def test_reordered_callback_is_sent_after_the_next_one(self, sandbox, receiver):
        sandbox.faults.add("delivery_reordered", times=1)
        publish(sandbox, receiver, "first")
        publish(sandbox, receiver, "second")
        until(lambda: len(receiver.got) == 2)

        assert sorted(paths(receiver)) == ["/first", "/second"]

    def test_replayed_callback_has_a_signature_that_is_too_old(self, sandbox, receiver):
        sandbox.faults.add("delivery_replayed", times=1)
        publish(sandbox, receiver)
        until(lambda: receiver.got)
        sandbox.clock.advance(600)
        until(lambda: len(receiver.got) == 2)

        assert receiver.got[0].body == receiver.got[1].body
        assert claims(receiver.got[1])["exp"] < time.time()

    def test_callback_that_is_replayed_at_once_is_the_same(self, sandbox, receiver):
        sandbox.faults.add("delivery_replayed", seconds=0, times=1)
        publish(sandbox, receiver)
        sandbox.clock.advance(1)
        until(lambda: len(receiver.got) == 2)

        assert receiver.got[0] == receiver.got[1]

    def test_forged_callback_has_a_signature_of_something_else(self, sandbox, receiver):
        sandbox.faults.add("delivery_forged", times=1)
        publish(sandbox, receiver)
        until(lambda: receiver.got)

        assert not is_about_its_body(receiver.got[0])

    def test_fault_is_for_the_kind_of_callback_and_the_message(self, sandbox, receiver):
        sandbox.qstash.plan_delivery("*/hook", [500])
        sandbox.faults.add("delivery_lost", path="*/failure_callback")
        sandbox.faults.add("delivery_lost", task_id="another")
        headers = {
            "Upstash-Retries": "0",
            "Upstash-Callback": f"{receiver.url}/each",
            "Upstash-Failure-Callback": f"{receiver.url}/failed",
        }
        sandbox.qstash.publish("https://example.com/hook", headers=headers)
        sandbox.clock.advance(5)
        until(lambda: receiver.got)

        assert paths(receiver) == ["/each"]
        assert [fault.applied for fault in sandbox.faults.all()] == [1, 0]

    def test_fault_hits_no_delivery_that_is_no_callback(self, sandbox, receiver):
        sandbox.faults.add("delivery_lost")
        sandbox.qstash.publish(receiver.url)
        until(lambda: receiver.got)
