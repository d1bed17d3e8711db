"""Schedules, queues, URL groups and keys."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from remote_tasks_sandbox.calls import Refused
from remote_tasks_sandbox.qstash.schedules import Cron

START = 1_763_501_439  # 2025-11-18 21:30:39 UTC, a Tuesday
HOOK = "https://example.com/hook"


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class TestCron:
    @pytest.mark.parametrize(
        ("expression", "following"),
        [
            ("* * * * *", ["2025-11-18 21:31", "2025-11-18 21:32"]),
            ("*/20 * * * *", ["2025-11-18 21:40", "2025-11-18 22:00"]),
            ("5,50 22-23 * * *", ["2025-11-18 22:05", "2025-11-18 22:50", "2025-11-18 23:05"]),
            (
                "0 9 * * mon-fri",
                ["2025-11-19 09:00", "2025-11-20 09:00", "2025-11-21 09:00", "2025-11-24 09:00"],
            ),
            ("0 0 1 jan *", ["2026-01-01 00:00", "2027-01-01 00:00"]),
            ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
            ("0 0 13 * 5", ["2025-11-21 00:00", "2025-11-28 00:00"]),
            ("0 0 * * 7", ["2025-11-23 00:00"]),
            ("10/25 21 * * *", ["2025-11-18 21:35", "2025-11-19 21:10"]),
            ("CRON_TZ=Asia/Tokyo 0 7 * * *", ["2025-11-18 22:00", "2025-11-19 22:00"]),
        ],
    )
    def test_cron_tells_when_it_is_due(self, expression, following):
        cron, moment, found = Cron.parse(expression), float(START), []
        for _ in following:
            moment = cron.after(moment)
            found.append(moment)
        assert found == [at(one) for one in following]

    def test_cron_runs_once_in_an_hour_that_a_zone_repeats(self):
        cron = Cron.parse("CRON_TZ=Europe/Berlin 30 2 * * *")
        first = cron.after(at("2025-10-25 12:00"))
        assert datetime.fromtimestamp(cron.after(first), UTC).day == 27

    def test_cron_of_a_day_that_never_comes_has_no_next_time(self):
        assert Cron.parse("0 0 30 2 *").after(START) is None

    @pytest.mark.parametrize(
        "expression",
        [
            *(
                "",
                "* * * *",
                "* * * * * *",
                "60 * * * *",
                "* 24 * * *",
                "* * 0 * *",
                "* * * 13 *",
                "* * * * 8",
            ),
            *("*/0 * * * *", "x * * * *", "1- * * * *", "*/x * * * *", "@daily"),
            *("CRON_TZ=Mars/Olympus * * * * *", "CRON_TZ= * * * * *", "CRON_TZ=../etc * * * * *"),
        ],
    )
    def test_cron_refuses_other_texts(self, expression):
        with pytest.raises(Refused, match="invalid cron"):
            Cron.parse(expression)


class TestSchedules:
    def create(self, client, destination=HOOK, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        cron = {"Upstash-Cron": "*/10 * * * *"}
        return client.call("POST", f"/v2/schedules/{destination}", data=b"hi", headers=cron | named)

    def test_schedule_publishes_whenever_it_is_due(self, sandbox, qstash):
        schedule_id = self.create(qstash, Upstash_Method="PUT", Upstash_Label="a").json()["scheduleId"]
        assert schedule_id.startswith("scd_")
        sandbox.clock.advance(1200)
        messages = sandbox.qstash.messages
        assert [one.created_at for one in messages] == [at("2025-11-18 21:40"), at("2025-11-18 21:50")]
        assert {(one.options.method, one.options.body, one.options.schedule_id) for one in messages} == {
            ("PUT", b"hi", schedule_id)
        }
        assert messages[0].state == "DELIVERED"
        assert {
            one["messageId"] for one in qstash.get("/v2/logs", scheduleId=schedule_id).json()["events"]
        } == {one.id for one in messages}

    def test_schedule_shows_the_states_of_its_messages(self, sandbox, qstash):
        sandbox.qstash.plan_delivery("*", [500], latency=590)
        self.create(qstash, Upstash_Schedule_Id="mine", Upstash_Retries="0")
        sandbox.clock.advance(1200)
        first, second = sandbox.qstash.messages
        assert qstash.get("/v2/schedules/mine").json() == {
            "scheduleId": "mine",
            "cron": "*/10 * * * *",
            "destination": HOOK,
            "createdAt": START * 1000,
            "method": "POST",
            "retries": 0,
            "delay": 0,
            "isPaused": False,
            "callerIP": "127.0.0.1",
            "body": "hi",
            "lastScheduleTime": at("2025-11-18 21:50") * 1000,
            "nextScheduleTime": at("2025-11-18 22:00") * 1000,
            "lastScheduleStates": {first.id: "FAIL", second.id: "IN_PROGRESS"},
        }
        sandbox.qstash.set_message_state(second.id, "DELIVERED")
        assert qstash.get("/v2/schedules/mine").json()["lastScheduleStates"][second.id] == "SUCCESS"

    def test_schedule_is_changed_by_its_id(self, sandbox, qstash):
        self.create(qstash, Upstash_Schedule_Id="mine")
        sandbox.clock.advance(60)
        self.create(qstash, "https://other.example/", Upstash_Schedule_Id="mine", Upstash_Cron="0 0 * * *")
        (schedule,) = qstash.get("/v2/schedules").json()
        assert (schedule["destination"], schedule["createdAt"]) == ("https://other.example/", START * 1000)
        sandbox.clock.advance(3600)
        assert sandbox.qstash.messages == []

    @pytest.mark.parametrize("method", ["POST", "PATCH"])
    def test_paused_schedule_misses_its_time(self, sandbox, qstash, method):
        self.create(qstash, Upstash_Schedule_Id="mine")
        assert qstash.call(method, "/v2/schedules/mine/pause").status_code == 200
        assert qstash.get("/v2/schedules/mine").json()["isPaused"] is True
        sandbox.clock.advance(3600)
        assert sandbox.qstash.messages == []
        assert qstash.call(method, "/v2/schedules/mine/resume").status_code == 200
        sandbox.clock.advance(600)
        assert len(sandbox.qstash.messages) == 1

    def test_deleted_schedule_does_not_run(self, sandbox, qstash):
        self.create(qstash, Upstash_Schedule_Id="mine")
        assert qstash.call("DELETE", "/v2/schedules/mine").status_code == 200
        assert qstash.get("/v2/schedules/mine").status_code == 404
        sandbox.clock.advance(3600)
        assert (sandbox.qstash.messages, qstash.get("/v2/schedules").json()) == ([], [])

    def test_schedule_can_go_through_a_queue_and_to_a_group(self, sandbox, qstash):
        members = {"endpoints": [{"url": "https://a.example"}, {"url": "https://b.example"}]}
        qstash.call("POST", "/v2/topics/team/endpoints", json=members)
        self.create(qstash, "team", Upstash_Queue_Name="q")
        sandbox.clock.advance(600)
        orders = [message.options for message in sandbox.qstash.messages]
        assert [(one.url, one.topic, one.queue) for one in orders] == [
            ("https://a.example", "team", "q"),
            ("https://b.example", "team", "q"),
        ]
        qstash.call("DELETE", "/v2/topics/team")
        sandbox.clock.advance(600)
        assert len(sandbox.qstash.messages) == 2

    def test_schedule_catches_up_one_day_after_a_year(self, sandbox, qstash):
        self.create(qstash)
        sandbox.clock.advance(365 * 86400)
        assert 140 <= len(sandbox.qstash.messages) <= 145

    @pytest.mark.parametrize(
        "headers", [{"Upstash-Cron": ""}, {"Upstash-Cron": "soon"}, {"Upstash-Retries": "99"}], ids=str
    )
    def test_wrong_schedule_is_refused(self, qstash, headers):
        assert self.create(qstash, **headers).status_code == 400
        assert qstash.get("/v2/schedules").json() == []

    def test_unknown_schedule_is_not_found(self, qstash):
        assert qstash.get("/v2/schedules/x").status_code == 404
        assert qstash.call("POST", "/v2/schedules/x/pause").status_code == 404


class TestQueues:
    def put(self, client, **body):
        return client.call("POST", "/v2/queues", json=body).status_code

    def test_queue_is_created_changed_and_deleted(self, sandbox, qstash):
        assert self.put(qstash, queueName="q", parallelism=2) == 200
        sandbox.clock.advance(1)
        assert self.put(qstash, queueName="q", parallelism=3) == 200
        assert qstash.get("/v2/queues/q").json() == {
            "name": "q",
            "createdAt": START * 1000,
            "updatedAt": (START + 1) * 1000,
            "parallelism": 3,
            "paused": False,
            "lag": 0,
        }
        assert qstash.call("DELETE", "/v2/queues/q").status_code == 200
        assert qstash.get("/v2/queues/q").status_code == 404

    def test_queue_deletion_cancels_its_messages(self, sandbox, qstash):
        self.put(qstash, queueName="q", parallelism=1, paused=True)
        (message_id,) = sandbox.qstash.publish(HOOK, queue="q")
        qstash.call("DELETE", "/v2/queues/q")
        assert sandbox.qstash.get_message(message_id).state == "CANCELLED"

    def test_paused_queue_stays_paused_when_it_is_changed(self, qstash):
        self.put(qstash, queueName="q", parallelism=1)
        assert qstash.call("POST", "/v2/queues/q/pause").status_code == 200
        self.put(qstash, queueName="q", parallelism=2)
        assert qstash.get("/v2/queues/q").json()["paused"] is True

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"queueName": ""},
            {"queueName": "a b"},
            {"queueName": 1},
            {"queueName": "q", "parallelism": 0},
            {"queueName": "q", "parallelism": True},
            {"queueName": "q", "parallelism": "2"},
        ],
        ids=str,
    )
    def test_wrong_queue_is_refused(self, qstash, body):
        assert self.put(qstash, **body) == 400

    def test_unknown_queue_is_refused(self, qstash):
        assert qstash.call("POST", "/v2/queues/q/pause").status_code == 400
        assert qstash.call("POST", "/v2/queues/q/resume").status_code == 400


class TestGroups:
    def put(self, client, *endpoints, method="POST"):
        return client.call(method, "/v2/topics/team/endpoints", json={"endpoints": list(endpoints)})

    def test_endpoints_come_and_go(self, sandbox, qstash):
        first, second = {"url": "https://a.example", "name": "a"}, {"url": "https://b.example"}
        assert self.put(qstash, first, second).status_code == 200
        sandbox.clock.advance(1)
        self.put(qstash, {"url": "https://b.example", "name": "b"})
        assert qstash.get("/v2/topics/team").json() == {
            "name": "team",
            "createdAt": START * 1000,
            "updatedAt": (START + 1) * 1000,
            "endpoints": [first, second | {"name": "b"}],
        }
        self.put(qstash, {"name": "a"}, method="DELETE")
        assert [one["name"] for one in qstash.get("/v2/topics").json()[0]["endpoints"]] == ["b"]
        self.put(qstash, {"url": "https://b.example"}, method="DELETE")
        assert qstash.get("/v2/topics/team").status_code == 404

    def test_group_can_be_deleted(self, qstash):
        self.put(qstash, {"url": HOOK})
        assert qstash.call("DELETE", "/v2/topics/team").status_code == 200
        assert qstash.get("/v2/topics").json() == []

    @pytest.mark.parametrize(
        "body", [{}, {"endpoints": []}, {"endpoints": "x"}, [], {"endpoints": [{"url": "a.b"}]}]
    )
    def test_wrong_endpoints_are_refused(self, qstash, body):
        assert qstash.call("POST", "/v2/topics/team/endpoints", json=body).status_code == 400
        assert qstash.get("/v2/topics").json() == []

    def test_name_of_a_url_group_is_no_address(self, qstash):
        assert (
            qstash.call("POST", "/v2/topics/a%3Ab/endpoints", json={"endpoints": [{"url": HOOK}]}).status_code
            == 400
        )

    def test_unknown_url_group_has_no_endpoints(self, qstash):
        assert self.put(qstash, {"url": HOOK}, method="DELETE").status_code == 404


class TestKeys:
    def test_next_key_becomes_the_current(self, sandbox, qstash):
        first = qstash.get("/v2/keys").json()
        second = qstash.call("POST", "/v2/keys/rotate").json()
        assert second["current"] == first["next"]
        assert second["next"] not in first.values()
        assert qstash.get("/v2/keys").json() == second
        sandbox.reset()
        assert qstash.get("/v2/keys").json() == first

    def test_global_parallelism_is_answered(self, sandbox, qstash):
        sandbox.qstash.plan_delivery("*", [200], latency=10)
        sandbox.qstash.publish(HOOK)
        assert qstash.get("/v2/globalParallelism").json() == {"parallelismMax": 100, "parallelismCount": 1}
