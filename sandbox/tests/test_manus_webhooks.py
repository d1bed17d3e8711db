"""Webhooks of Manus: registered in both versions, signed, and delivered to a real socket of this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import subprocess
import sys
import threading
import time

import pytest
import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from remote_tasks_sandbox import SandboxServer
from sandbox.tests.receiver import Receiver, until
from tests.specs.published import published

START = 1_763_501_439
ELSEWHERE = "https://example.com/hook?x=1"


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def hook(sandbox, receiver):
    """The URL of a webhook that is registered and has a query."""
    return sandbox.manus.webhooks.add(f"{receiver.url}/in?x=1").url


def key_of(manus_v2):
    return load_pem_public_key(manus_v2.read("webhook.publicKey").json()["public_key"].encode())


def is_signed(got, url, key, *, double=False):
    stamp = got.headers["X-Webhook-Timestamp"]
    content = f"{stamp}.{url}.{hashlib.sha256(got.body).hexdigest()}".encode()
    signature = base64.b64decode(got.headers["X-Webhook-Signature"], validate=True)
    try:
        key.verify(signature, hashlib.sha256(content).digest() if double else content, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def events(receiver):
    return [json.loads(got.body) for got in receiver.got]


def told(sandbox):
    """What was delivered, once nothing is under way any more: event, task and reason."""
    deliveries = until(lambda: [one for one in [sandbox.manus.webhooks.deliveries] if done(one)])[0]
    return [(one.event_type, one.task_id, one.json["task_detail"].get("stop_reason")) for one in deliveries]


def done(deliveries):
    return all(one.status is not None for one in deliveries)


class TestKey:
    def test_key_of_v2_is_a_pem_of_2048_bits(self, manus_v2):
        shown = manus_v2.read("webhook.publicKey").json()
        assert set(shown) == {"ok", "request_id", "public_key", "algorithm"}
        assert shown["algorithm"] == "RSA-SHA256"
        assert key_of(manus_v2).key_size == 2048

    def test_key_is_the_same_in_both_versions_and_at_every_request(self, manus, manus_v2):
        first, second = (manus.get("/v1/webhook/public_key").json() for _ in range(2))
        assert first == second
        assert set(first) == {"public_key", "algorithm", "created_at"}
        assert time.strptime(first["created_at"], "%Y-%m-%dT%H:%M:%SZ")
        assert first["public_key"] == manus_v2.read("webhook.publicKey").json()["public_key"]

    def test_key_is_made_once_though_two_threads_want_it_at_the_same_time(self):
        code = (
            "from concurrent.futures import ThreadPoolExecutor as Pool\n"
            "from remote_tasks_sandbox.manus.webhooks import public_key\n"
            "with Pool(4) as pool:\n"
            "    keys = [pool.submit(public_key) for _ in range(4)]\n"
            "assert len({one.result()[0]['public_key'] for one in keys}) == 1\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    def test_unknown_path_beside_the_key_is_not_found(self, manus):
        assert manus.get("/v1/webhook/private_key").status_code == 404

    def test_sandbox_loads_no_cryptography_before_a_key_is_needed(self):
        code = (
            "import sys, remote_tasks_sandbox.__main__ as sandbox\nassert 'cryptography' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class TestRegistration:
    def test_webhook_of_v2_is_listed_until_it_is_deleted(self, manus_v2):
        made = manus_v2.write("webhook.create", url=ELSEWHERE).json()["webhook"]
        expected = {"id": made["id"], "url": ELSEWHERE, "status": "active", "created_at": START}
        assert made == expected
        assert manus_v2.read("webhook.list").json()["data"] == [expected]
        deleted = manus_v2.write("webhook.delete", webhook_id=made["id"])
        assert (deleted.status_code, set(deleted.json())) == (200, {"ok", "request_id"})
        assert manus_v2.read("webhook.list").json()["data"] == []
        answer = manus_v2.write("webhook.delete", webhook_id=made["id"])
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")

    def test_webhook_of_v1_is_that_of_v2(self, manus, manus_v2):
        made = manus.call("POST", "/v1/webhooks", json={"webhook": {"url": ELSEWHERE}})
        assert set(made.json()) == {"webhook_id"}
        webhook_id = made.json()["webhook_id"]
        assert [one["id"] for one in manus_v2.read("webhook.list").json()["data"]] == [webhook_id]
        deleted = manus.call("DELETE", f"/v1/webhooks/{webhook_id}")
        assert (deleted.status_code, deleted.content) == (204, b"")
        answer = manus.call("DELETE", f"/v1/webhooks/{webhook_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, 5)
        assert manus_v2.read("webhook.list").json()["data"] == []

    def test_answers_are_as_published(self, manus, manus_v2):
        webhook_id = manus_v2.write("webhook.create", url=ELSEWHERE).json()["webhook"]["id"]
        nested, deleted = {"webhook": {"url": ELSEWHERE}}, {"webhook_id": webhook_id}
        for method, operation, body in [
            ("POST", "/v1/webhooks", nested),
            ("POST", "/v2/webhook.create", nested["webhook"]),
            ("GET", "/v2/webhook.list", None),
            ("GET", "/v2/webhook.publicKey", None),
            ("POST", "/v2/webhook.delete", deleted),
            ("POST", "/v2/webhook.delete", deleted),
        ]:
            client, version = (manus, "v1") if operation.startswith("/v1/") else (manus_v2, "v2")
            answer = client.call(method, operation, json=body)
            spec = published(f"manus-{version}")
            assert list(spec.faults(method, operation, answer.status_code, answer.json())) == []

    def test_webhooks_are_listed_oldest_first(self, sandbox, manus_v2):
        urls = [f"https://example.com/{number}" for number in range(3)]
        for url in [*urls, urls[0]]:
            manus_v2.write("webhook.create", url=url)
        assert [one["url"] for one in manus_v2.read("webhook.list").json()["data"]] == [*urls, urls[0]]

    @pytest.mark.parametrize(
        "body", [{"url": ELSEWHERE}, {"webhook": ELSEWHERE}, {"webhook": {}}, {"webhook": {"url": 1}}, {}]
    )
    def test_body_of_another_form_is_refused_by_v1(self, sandbox, manus, body):
        answer = manus.call("POST", "/v1/webhooks", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, 3)
        assert sandbox.manus.webhooks.all() == []

    @pytest.mark.parametrize("body", [{}, {"url": 1}, {"url": ELSEWHERE, "events": ["task_stopped"]}])
    def test_body_of_another_form_is_refused_by_v2(self, sandbox, manus_v2, body):
        answer = manus_v2.write("webhook.create", **body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_argument")
        assert sandbox.manus.webhooks.all() == []

    @pytest.mark.parametrize(
        "url",
        [
            *("", "/hook", "example.com/hook", "http://example.com/hook", "ftp://127.0.0.1/", "https://"),
            *("http://127.0.0.1.example.com/", "http://10.0.0.1/", "https://[::1/", "https://a:port/"),
        ],
    )
    def test_url_must_be_https_unless_it_is_this_machine(self, sandbox, manus, manus_v2, url):
        assert manus_v2.write("webhook.create", url=url).status_code == 400
        assert manus.call("POST", "/v1/webhooks", json={"webhook": {"url": url}}).status_code == 400
        assert sandbox.manus.webhooks.all() == []

    def test_operations_are_for_keys_alone(self, server):
        headers = {"Authorization": "Bearer oauth-sandbox"}
        for name in ("webhook.list", "webhook.publicKey"):
            answer = requests.get(f"{server.manus_url}/v2/{name}", headers=headers, timeout=10)
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")

    def test_methods_that_v1_has_not_are_refused(self, manus):
        for method, path in (("GET", "/v1/webhooks"), ("GET", "/v1/webhooks/x"), ("POST", "/v1/webhook/x")):
            assert manus.call(method, path).status_code == 501

    def test_limits_count_a_registration_once(self, sandbox, manus_v2):
        sandbox.settings.update({"rate_limits": {"manus.webhook.create": 2}})
        statuses = [manus_v2.write("webhook.create", url=ELSEWHERE).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]

    def test_state_and_page_show_webhooks(self, sandbox, anyone):
        sandbox.manus.webhooks.add(ELSEWHERE)
        assert anyone.get("/_sandbox/state").json()["manus_webhooks"][0]["url"] == ELSEWHERE
        assert anyone.get("/_sandbox/page", path="/").json()["tables"]["manus_webhooks"]["total"] == 1


class TestTestRequest:
    def test_test_request_is_signed_and_comes_first(self, sandbox, manus_v2, receiver):
        url = f"{receiver.url}/in?x=1"
        assert manus_v2.write("webhook.create", url=url).status_code == 200
        (got,) = receiver.got
        assert (got.method, got.path, got.headers["Content-Type"]) == ("POST", "/in?x=1", "application/json")
        assert json.loads(got.body)["event_type"] == "webhook_test"
        assert is_signed(got, url, key_of(manus_v2))

    @pytest.mark.parametrize("refusal", [(500, {}), (204, {}), (302, {"Location": "/"}), None])
    def test_webhook_that_does_not_answer_200_is_not_added(self, manus, manus_v2, receiver, refusal):
        receiver.answers = [refusal, refusal]
        answer = manus_v2.write("webhook.create", url=receiver.url)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_argument")
        answer = manus.call("POST", "/v1/webhooks", json={"webhook": {"url": receiver.url}})
        assert (answer.status_code, answer.json()["code"]) == (400, 3)
        assert manus_v2.read("webhook.list").json()["data"] == []
        assert len(receiver.got) == 2

    def test_closed_port_is_not_added(self, sandbox, manus_v2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        answer = manus_v2.write("webhook.create", url=url)
        assert "refused" in answer.json()["error"]["message"].lower()
        assert sandbox.manus.webhooks.all() == []

    def test_sandbox_serves_others_while_a_test_request_is_under_way(self, sandbox, manus_v2):
        with socket.create_server(("127.0.0.1", 0)) as slow:
            url = f"http://127.0.0.1:{slow.getsockname()[1]}/"
            answers = []
            client = threading.Thread(
                target=lambda: answers.append(manus_v2.write("webhook.create", url=url))
            )
            client.start()
            connection, _ = slow.accept()
            key = requests.get(
                f"{manus_v2.base_url}/v2/webhook.publicKey",
                headers={"x-manus-api-key": "sk-sandbox"},
                timeout=5,
            )
            connection.recv(65536)  # what is left unread would reset the connection
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.close()
            client.join(10)
        assert (key.status_code, answers[0].status_code) == (200, 200)
        assert len(sandbox.manus.webhooks.all()) == 1

    def test_server_stops_while_a_test_request_is_under_way(self):
        with socket.create_server(("127.0.0.1", 0)) as slow:
            server = SandboxServer()
            server.start()
            options = {"json": {"url": f"http://127.0.0.1:{slow.getsockname()[1]}/"}, "timeout": 30}
            options["headers"] = {"x-manus-api-key": "sk-sandbox"}
            ended = []

            def register():
                try:
                    requests.post(f"{server.manus_url}/v2/webhook.create", **options)
                except requests.ConnectionError:
                    ended.append(True)

            client = threading.Thread(target=register)
            client.start()
            connection, _ = slow.accept()
            began = time.monotonic()
            server.stop()
            client.join(10)
            connection.close()
        assert (ended, time.monotonic() - began < 5) == ([True], True)

    def test_lost_answer_leaves_the_webhook(self, sandbox, manus_v2, receiver):
        sandbox.faults.add("drop_after", path="*/webhook.create")
        with pytest.raises(requests.ConnectionError):
            manus_v2.write("webhook.create", url=receiver.url)
        assert [one.url for one in sandbox.manus.webhooks.all()] == [receiver.url]


class TestDelivery:
    @pytest.mark.parametrize("form", ["single", "double"])
    def test_delivery_is_signed_in_the_form_of_the_setting(self, sandbox, manus_v2, receiver, hook, form):
        sandbox.settings.update({"manus_webhook_hash": form})
        sandbox.manus.add_task("one", title="Größe")
        got = until(lambda: receiver.got)[0]
        key, is_double = key_of(manus_v2), form == "double"
        assert is_signed(got, hook, key, double=is_double)
        assert not is_signed(got, hook, key, double=not is_double)
        assert not is_signed(got, hook.partition("?")[0], key, double=is_double)
        # The machine's time and not the sandbox's, which stands still in the past here.
        assert abs(int(got.headers["X-Webhook-Timestamp"]) - time.time()) < 60
        assert (got.method, got.path, got.headers["Content-Type"]) == ("POST", "/in?x=1", "application/json")

    def test_creation_and_end_are_told(self, server, sandbox, manus_v2, receiver, hook):
        sandbox.manus.plan(script=[("running", 5), ("stopped", None)], answer="Three.", files=["a.csv"])
        task_id = manus_v2.create("Count")
        until(lambda: len(receiver.got) == 1)
        sandbox.clock.advance(5)
        until(lambda: len(receiver.got) == 2)
        created, stopped = events(receiver)
        named = {"task_id": task_id, "task_title": "Count", "task_url": f"{server.url}/manus/app/{task_id}"}
        assert created == {
            "event_id": f"task_created_{task_id}_{START}",
            "event_type": "task_created",
            "task_detail": named,
        }
        (file,) = stopped["task_detail"].pop("attachments")
        assert stopped == {
            "event_id": f"task_stopped_{task_id}_{START + 5}",
            "event_type": "task_stopped",
            "task_detail": {**named, "message": "Three.", "stop_reason": "finish"},
        }
        content = requests.get(file.pop("url"), timeout=10).content
        assert file == {"file_name": "a.csv", "size_bytes": len(content)}

    def test_events_come_in_real_time_without_a_request(self, receiver):
        with SandboxServer() as server:
            server.sandbox.manus.webhooks.add(receiver.url)
            server.sandbox.manus.add_task("one", [("running", 0.1), ("stopped", None)])
            until(lambda: len(receiver.got) == 2)
        assert {one["event_type"] for one in events(receiver)} == {"task_created", "task_stopped"}

    def test_task_of_v1_is_told_too(self, manus, receiver, hook):
        body = {"prompt": "Count", "agentProfile": "manus-1.6"}
        task_id = manus.call("POST", "/v1/tasks", json=body).json()["task_id"]
        until(lambda: receiver.got)
        assert events(receiver)[0]["task_detail"]["task_id"] == task_id

    def test_structured_result_is_told_though_the_api_shows_it_later(self, sandbox, manus_v2, receiver, hook):
        result = {"success": True, "value": {"n": 3}, "error": None}
        sandbox.manus.add_task("one", ["stopped"], structured=result, output_lag=30)
        until(lambda: len(receiver.got) == 2)
        (detail,) = [one["task_detail"] for one in events(receiver) if one["event_type"] == "task_stopped"]
        assert (detail["structured_output"], detail["message"]) == (result, "Done.")
        assert "structured_output_result" not in manus_v2.types("one")

    def test_question_is_told_and_so_is_what_follows_the_answer(self, sandbox, manus_v2, hook):
        sandbox.manus.add_task("one", waiting={"description": "Which day?"})
        sandbox.clock.advance(2)
        assert told(sandbox) == [("task_created", "one", None), ("task_stopped", "one", "ask")]
        assert sandbox.manus.webhooks.deliveries[1].json["task_detail"]["message"] == "Which day?"
        manus_v2.write("task.sendMessage", task_id="one", message={"content": "Monday"})
        sandbox.clock.advance(2)
        assert told(sandbox)[2:] == [("task_stopped", "one", "finish")]

    def test_action_is_told_as_a_question(self, sandbox, hook):
        sandbox.manus.add_task("one", ["waiting"], waiting="gmailSendAction")
        assert told(sandbox)[1:] == [("task_stopped", "one", "ask")]

    def test_finished_task_that_is_spoken_to_finishes_once_more(self, sandbox, manus_v2, hook):
        sandbox.manus.add_task("one", ["completed"])
        manus_v2.write("task.sendMessage", task_id="one", message={"content": "More"})
        sandbox.clock.advance(2)
        assert told(sandbox)[1:] == [("task_stopped", "one", "finish")] * 2

    def test_statuses_that_passed_at_once_are_told_in_their_order(self, sandbox, hook):
        sandbox.manus.add_task("one", [("waiting", 5), ("running", 5), ("stopped", None)])
        sandbox.clock.advance(3600)
        assert [reason for _, _, reason in told(sandbox)] == [None, "ask", "finish"]
        ids = [one.json["event_id"] for one in sandbox.manus.webhooks.deliveries]
        assert [int(one.rpartition("_")[2]) - START for one in ids] == [0, 0, 10]

    def test_task_that_goes_by_reads_is_told(self, sandbox, manus_v2, hook):
        sandbox.manus.add_task("one", ["running", "stopped"], advance_after_reads=2)
        manus_v2.task("one")
        assert len(told(sandbox)) == 1
        manus_v2.task("one")
        assert told(sandbox)[1:] == [("task_stopped", "one", "finish")]

    def test_task_that_is_set_by_hand_is_told(self, sandbox, hook):
        sandbox.manus.add_task("one", ["running"])
        sandbox.manus.set_status("one", "completed")
        assert told(sandbox)[1:] == [("task_stopped", "one", "finish")]

    @pytest.mark.parametrize("word", ["error", "failed", "running", "DREAMING"])
    def test_failure_and_other_words_are_not_told(self, sandbox, hook, word):
        sandbox.manus.add_task("one", [("running", 1), (word, None)])
        sandbox.clock.advance(1)
        assert told(sandbox) == [("task_created", "one", None)]

    def test_stop_by_a_user_or_by_the_api_is_not_told(self, sandbox, manus_v2, hook):
        for name in ("owner", "api", "script"):
            sandbox.manus.add_task(name, ["running"], stopped_by_user=name == "script")
        sandbox.manus.stop_as_user("owner")
        manus_v2.write("task.stop", task_id="api")
        sandbox.manus.set_status("script", "stopped")
        assert {event for event, _, _ in told(sandbox)} == {"task_created"}

    def test_deleted_task_is_not_told(self, sandbox, hook):
        sandbox.manus.add_task("one", [("running", 5), ("stopped", None)])
        assert len(told(sandbox)) == 1
        sandbox.manus.delete_task("one")
        sandbox.clock.advance(5)
        assert len(told(sandbox)) == 1

    def test_planned_task_is_not_told_before_it_is_created(self, sandbox, hook):
        sandbox.manus.plan(title="Tried out")
        assert told(sandbox) == []


class TestWebhooks:
    def test_webhook_is_told_what_happens_from_then_on(self, sandbox, receiver):
        sandbox.manus.add_task("ended", ["completed"])
        sandbox.manus.add_task("running", [("running", 5), ("completed", None)])
        sandbox.manus.webhooks.add(receiver.url)
        sandbox.clock.advance(5)
        assert told(sandbox) == [("task_stopped", "running", "finish")]

    def test_later_webhook_is_not_told_what_the_first_one_was(self, sandbox, receiver, hook):
        sandbox.manus.add_task("one")
        second = sandbox.manus.webhooks.add(f"{receiver.url}/second")
        sandbox.clock.advance(5)
        until(lambda: len(receiver.got) == 3)
        found = [one.event_type for one in sandbox.manus.webhooks.deliveries if one.webhook_id == second.id]
        assert found == ["task_stopped"]

    def test_webhooks_are_told_the_same(self, sandbox, receiver):
        for number in range(3):
            sandbox.manus.webhooks.add(f"{receiver.url}/{number}")
        sandbox.manus.add_task("one", ["running"])
        until(lambda: len(receiver.got) == 3)
        assert {got.path for got in receiver.got} == {"/0", "/1", "/2"}
        assert len({got.body for got in receiver.got}) == 1
        assert len({got.headers["X-Webhook-Signature"] for got in receiver.got}) == 3

    def test_deleted_webhook_is_not_told(self, sandbox, manus_v2, receiver):
        first = manus_v2.write("webhook.create", url=f"{receiver.url}/first").json()["webhook"]
        manus_v2.write("webhook.create", url=f"{receiver.url}/second")
        sandbox.manus.add_task("one", [("running", 5), ("stopped", None)])
        until(lambda: len(receiver.got) == 4)
        manus_v2.write("webhook.delete", webhook_id=first["id"])
        sandbox.clock.advance(5)
        until(lambda: len(receiver.got) == 5)
        told(sandbox)
        assert [got.path for got in receiver.got].count("/first") == 2

    def test_last_webhook_that_is_deleted_ends_everything(self, sandbox, manus_v2, receiver):
        made = manus_v2.write("webhook.create", url=receiver.url).json()["webhook"]
        sandbox.manus.add_task("one", [("running", 5), ("stopped", None)])
        until(lambda: len(receiver.got) == 2)
        manus_v2.write("webhook.delete", webhook_id=made["id"])
        sandbox.clock.advance(5)
        sandbox.manus.webhooks.add(ELSEWHERE)
        sandbox.clock.advance(5)
        assert len(told(sandbox)) == 1

    def test_delivery_is_not_repeated_when_the_webhook_fails(self, sandbox, receiver, hook):
        receiver.answers = [(500, {}), None]
        sandbox.manus.add_task("one", ["completed"])
        told(sandbox)
        assert sorted(one.status for one in sandbox.manus.webhooks.deliveries) == [0, 500]
        assert len(receiver.got) == 2

    def test_addresses_of_elsewhere_are_never_contacted(self, sandbox, manus_v2, monkeypatch):
        tried = []
        monkeypatch.setattr(socket, "create_connection", lambda *args, **kwargs: tried.append(args))
        sandbox.manus.webhooks.add(ELSEWHERE)
        sandbox.manus.add_task("one", ["completed"])
        assert told(sandbox) == [("task_created", "one", None), ("task_stopped", "one", "finish")]
        assert [(one.status, one.real) for one in sandbox.manus.webhooks.deliveries] == [(200, False)] * 2
        assert tried == []

    def test_reset_forgets_webhooks_and_deliveries(self, sandbox, hook):
        sandbox.manus.add_task("one")
        assert told(sandbox)
        sandbox.reset()
        assert (sandbox.manus.webhooks.all(), sandbox.manus.webhooks.deliveries) == ([], [])

    def test_deliveries_are_listed_by_the_control_plane(self, sandbox, anyone, hook):
        sandbox.manus.add_task("one")
        told(sandbox)
        (shown,) = anyone.get("/_sandbox/manus/deliveries").json()["deliveries"]
        assert (shown["url"], shown["status"], shown["fault"]) == (hook, 200, None)
        assert json.loads(shown["body"])["event_type"] == "task_created"


class TestFaults:
    """What goes wrong with deliveries, one kind each; the others of the same task stay as they are."""

    @pytest.fixture
    def finish(self, sandbox, hook):
        """Return how to finish a task, whose creation was told without a fault."""

        def finish():
            sandbox.manus.add_task("one", ["running"])
            until(lambda: len(told(sandbox)) == 1)
            sandbox.manus.set_status("one", "completed")
            return told(sandbox)[1:]

        return finish

    def test_lost_delivery_is_never_sent(self, sandbox, receiver, finish):
        sandbox.faults.add("delivery_lost", path="*/task_stopped", times=1)
        assert finish() == []
        sandbox.clock.advance(3600)
        assert (told(sandbox)[1:], len(receiver.got)) == ([], 1)
        assert sandbox.faults.all()[0].applied == 1

    def test_doubled_delivery_is_sent_twice(self, sandbox, manus_v2, receiver, hook, finish):
        sandbox.faults.add("delivery_doubled", path="*/task_stopped")
        assert len(finish()) == 2
        assert receiver.got[1].body == receiver.got[2].body
        assert all(is_signed(got, hook, key_of(manus_v2)) for got in receiver.got)

    def test_reordered_delivery_is_sent_after_the_next_one(self, sandbox, receiver, hook):
        sandbox.faults.add("delivery_reordered", path="*/task_created", times=1)
        sandbox.manus.add_task("one", [("running", 1), ("completed", None)])
        sandbox.clock.advance(2)
        until(lambda: len(receiver.got) == 2)

        assert [kind for kind, *_ in told(sandbox)] == ["task_stopped", "task_created"]

    def test_late_delivery_is_signed_when_it_is_sent(self, sandbox, manus_v2, receiver, hook, finish):
        sandbox.faults.add("delivery_late", path="*/task_stopped", seconds=3600)
        assert finish() == []
        sandbox.clock.advance(3599)
        assert told(sandbox)[1:] == []
        sandbox.clock.advance(1)
        assert told(sandbox)[1:] == [("task_stopped", "one", "finish")]
        got = receiver.got[1]
        assert is_signed(got, hook, key_of(manus_v2))
        assert abs(int(got.headers["X-Webhook-Timestamp"]) - time.time()) < 60

    def test_late_delivery_follows_the_clock_that_jumps(self, sandbox, hook):
        sandbox.faults.add("delivery_late", path="*/task_stopped", seconds=60)
        sandbox.manus.add_task("one", [("running", 5), ("stopped", None)])
        sandbox.clock.advance(65)
        assert told(sandbox)[1:] == [("task_stopped", "one", "finish")]

    def test_late_delivery_does_not_outlive_its_webhook(self, sandbox, receiver):
        first = sandbox.manus.webhooks.add(f"{receiver.url}/1")
        sandbox.manus.webhooks.add(f"{receiver.url}/2")
        sandbox.faults.add("delivery_late", seconds=60)
        sandbox.manus.add_task("one", ["running"])
        assert told(sandbox) == []
        sandbox.manus.webhooks.remove(first.id)
        sandbox.clock.advance(60)
        assert len(told(sandbox)) == 1
        assert [got.path for got in receiver.got] == ["/2"]

    def test_replayed_delivery_has_a_signature_that_is_too_old(
        self, sandbox, manus_v2, receiver, hook, finish
    ):
        sandbox.faults.add("delivery_replayed", path="*/task_stopped")
        assert len(finish()) == 1
        sandbox.clock.advance(600)
        assert len(told(sandbox)[1:]) == 2
        first, again = receiver.got[1:]
        assert first.body == again.body
        assert is_signed(again, hook, key_of(manus_v2))
        age = time.time() - int(again.headers["X-Webhook-Timestamp"])
        assert 598 < age < 660

    def test_delivery_that_is_replayed_at_once_is_the_same_to_the_last_byte(self, sandbox, receiver, finish):
        sandbox.faults.add("delivery_replayed", path="*/task_stopped", seconds=0)
        assert len(finish()) == 2
        first, again = receiver.got[1:]
        assert (first.body, first.headers) == (again.body, again.headers)

    @pytest.mark.parametrize("form", ["single", "double"])
    def test_forged_delivery_has_a_wrong_signature(self, sandbox, manus_v2, receiver, hook, finish, form):
        sandbox.settings.update({"manus_webhook_hash": form})
        sandbox.faults.add("delivery_forged", path="*/task_stopped")
        assert len(finish()) == 1
        key = key_of(manus_v2)
        assert [is_signed(got, hook, key, double=form == "double") for got in receiver.got] == [True, False]
        assert not is_signed(receiver.got[1], hook, key, double=form == "single")
        assert sandbox.manus.webhooks.deliveries[1].fault == "delivery_forged"

    def test_fault_of_a_delivery_is_for_one_task_and_counts(self, sandbox, hook):
        sandbox.faults.add("delivery_lost", task_id="bad", times=1, after=1)
        for name in ("good", "bad"):
            sandbox.manus.add_task(name, ["completed"])
        assert told(sandbox) == [
            ("task_created", "good", None),
            ("task_stopped", "good", "finish"),
            ("task_created", "bad", None),
        ]

    def test_fault_that_fits_first_is_applied(self, sandbox, finish):
        sandbox.faults.add("delivery_lost", path="*/task_stopped", times=1)
        sandbox.faults.add("delivery_doubled", path="*/task_stopped", times=1)
        assert finish() == []
        assert [fault.applied for fault in sandbox.faults.all()] == [1, 0]

    def test_fault_of_a_delivery_hits_no_call_and_that_of_a_call_no_delivery(self, sandbox, manus_v2, hook):
        sandbox.faults.add("delivery_lost", path="*/never")
        sandbox.faults.add("delivery_lost", path="/manus/v2/*")
        sandbox.faults.add("status", path="/manus/webhooks/*", status=500)
        assert manus_v2.read("task.list").status_code == 200
        sandbox.manus.add_task("one")
        assert told(sandbox) == [("task_created", "one", None)]
        assert [fault.seen for fault in sandbox.faults.all()] == [0, 0, 0]

    def test_faults_of_deliveries_are_set_by_the_control_plane(self, sandbox, anyone, finish):
        fault = {"kind": "delivery_late", "path": "*/task_stopped", "seconds": 5, "times": 1}
        assert anyone.call("POST", "/_sandbox/faults", json=fault).status_code == 201
        assert anyone.call("POST", "/_sandbox/settings", json={"manus_webhook_hash": "double"}).ok
        assert not anyone.call("POST", "/_sandbox/settings", json={"manus_webhook_hash": "triple"}).ok
        assert not anyone.call("POST", "/_sandbox/faults", json={"kind": "delivery_late", "seconds": -1}).ok
        assert finish() == []
        sandbox.clock.advance(5)
        assert len(told(sandbox)) == 2
