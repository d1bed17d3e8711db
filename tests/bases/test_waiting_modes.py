"""The same history gives the same result in poke, reschedule and deferrable mode."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from remote_tasks_provider.manus.sensors import ManusTaskSensor
from tests.bases.history import START, Clock, install, live_through, no_answer, timeline

MODES = ("poke", "reschedule", "deferrable")


def sensor(mode: str, ids: Any = "a", **arguments: Any) -> ManusTaskSensor:
    arguments = {"poke_interval": 30, "timeout": 1000, **arguments}
    modes = {"deferrable": True} if mode == "deferrable" else {"deferrable": False, "mode": mode}
    return ManusTaskSensor(task_id="wait", remote_task_id=ids, **modes, **arguments)


# name: (history, the sensor's arguments, how it ends, a part of the result, seconds after which it ends)
ENDINGS: dict[str, tuple[Any, dict[str, Any], str, str, float]] = {
    "completed at the first look": (timeline((0, "completed")), {}, "success", '"state": "completed"', 0),
    "completed": (timeline((0, "running"), (100, "completed")), {}, "success", '"state": "completed"', 120),
    "failed": (
        timeline((0, "running"), (100, "failed")),
        {},
        "failed",
        "TaskFailedError: Manus task a failed: the",
        120,
    ),
    "error is another word for failed": (timeline((0, "error")), {}, "failed", "TaskFailedError", 0),
    "failed, told not to raise": (
        timeline((0, "running"), (40, "failed")),
        {"raise_on_failure": False},
        "success",
        '"state": "failed"',
        60,
    ),
    "failed under soft_fail is no skip": (
        timeline((0, "running"), (40, "failed")),
        {"soft_fail": True},
        "failed",
        "",
        60,
    ),
    "failed under never_fail": (
        timeline((0, "running"), (40, "failed")),
        {"never_fail": True},
        "skipped",
        "",
        60,
    ),
    "waiting, waited through": (
        timeline((0, "running"), (40, "pending"), (200, "completed")),
        {},
        "success",
        '"state": "completed"',
        210,
    ),
    "waiting, returned": (
        timeline((0, "running"), (40, "pending")),
        {"on_waiting": "return"},
        "success",
        '"state": "waiting"',
        60,
    ),
    "waiting, failed": (timeline((0, "pending")), {"on_waiting": "fail"}, "failed", "TaskNeedsInputError", 0),
    "waiting to the end": (timeline((0, "pending")), {}, "timeout", "waiting", 1000),
    "a word nobody knows, then completed": (
        timeline((0, "dreaming"), (100, "completed")),
        {},
        "success",
        '"state": "completed"',
        120,
    ),
    "a word nobody knows, for ever": (timeline((0, "dreaming")), {}, "timeout", "unknown", 1000),
    "404 that heals within the grace": (
        timeline((0, 404), (80, "running"), (200, "completed")),
        {},
        "success",
        '"state": "completed"',
        210,
    ),
    "404 that stays": (timeline((0, 404)), {}, "failed", "NotFoundError", 90),
    "404 that stays longer than the grace, then heals": (
        timeline((0, 404), (95, "completed")),
        {},
        "failed",
        "NotFoundError",
        90,
    ),
    "a task that vanishes": (timeline((0, "running"), (100, 404)), {}, "failed", "NotFoundError", 210),
    "a task that vanishes for a moment": (
        timeline((0, "running"), (100, 404), (130, "running"), (200, "completed")),
        {},
        "success",
        '"state": "completed"',
        210,
    ),
    "an outage within the tolerance": (
        timeline((0, "running"), (30, 503), (870, "completed")),
        {},
        "success",
        '"state": "completed"',
        870,
    ),
    "an outage beyond the tolerance": (
        timeline((0, "running"), (30, 503)),
        {},
        "retryable",
        "ServerError",
        930,
    ),
    "an outage beyond a tolerance of its own": (
        timeline((0, "running"), (30, 503)),
        {"outage_tolerance": 100},
        "retryable",
        "ServerError",
        130,
    ),
    "outages with good answers in between": (
        timeline((0, 503), (90, "running"), (100, 503), (210, "running"), (220, 503), (330, "completed")),
        {"outage_tolerance": 110},
        "success",
        '"state": "completed"',
        330,
    ),
    "no connection at all": (lambda at: no_answer(), {}, "retryable", "TransportError", 900),
    "failures under silent_fail": (
        timeline((0, 503), (700, "completed")),
        {"silent_fail": True},
        "success",
        '"state": "completed"',
        720,
    ),
    "failures under soft_fail are no skip": (
        timeline((0, 503)),
        {"soft_fail": True},
        "retryable",
        "ServerError",
        900,
    ),
    **{
        f"{status} that heals within the grace": (
            timeline((0, "running"), (50, status), (140, "completed")),
            {},
            "success",
            '"state": "completed"',
            150,
        )
        for status in (302, 400, 401, 403)
    },
    **{
        f"{status} that stays": (timeline((0, "running"), (50, status)), {}, "failed", kind, 150)
        for status, kind in {
            302: "RedirectError",
            400: "InvalidRequestError",
            401: "AuthenticationError",
            403: "PermissionDeniedError",
        }.items()
    },
    "a doubt that changes is another one": (
        timeline((0, "running"), (30, 401), (110, 404), (190, "completed")),
        {},
        "success",
        '"state": "completed"',
        210,
    ),
    "not JSON of a task": (lambda at: {"object": "list"}, {}, "retryable", "InvalidResponseError", 900),
    "told to slow down": (
        timeline((0, "running"), (20, 429), (400, "completed")),
        {},
        "success",
        '"state": "completed"',
        430,
    ),
    "timeout": (timeline((0, "running")), {}, "timeout", "Gave up after 1000 s", 1000),
    "timeout between two looks": (
        timeline((0, "running"), (50, "completed")),
        {"timeout": 45},
        "timeout",
        "",
        45,
    ),
    "completed just before the last look": (
        timeline((0, "running"), (44, "completed")),
        {"timeout": 45},
        "success",
        '"state": "completed"',
        45,
    ),
    "timeout of nought": (timeline((0, "running")), {"timeout": 0}, "timeout", "", 0),
    "timeout under soft_fail": (timeline((0, "running")), {"soft_fail": True}, "skipped", "Gave up", 1000),
    "growing pauses": (
        timeline((0, "running"), (500, "completed")),
        {"exponential_backoff": True, "max_wait": timedelta(seconds=200)},
        "success",
        '"state": "completed"',
        640,
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ENDINGS)
def test_outcome_is_the_same_in_all_modes(name: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history, arguments, expected_end, part, seconds = ENDINGS[name]
    clock = Clock()
    install(monkeypatch, clock, {"a": history})

    end, result = live_through(lambda how: sensor(how, **arguments), mode, clock)

    assert (end, clock.now - START) == (expected_end, seconds), result
    assert part in (result if isinstance(result, str) else json.dumps(result))


@pytest.mark.parametrize("name", ENDINGS)
def test_polls_come_at_the_same_moments_in_all_modes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history, arguments, *_ = ENDINGS[name]
    looks = {}
    for mode in MODES:
        clock = Clock()
        with monkeypatch.context() as patch:
            service = install(patch, clock, {"a": history})
            live_through(lambda how: sensor(how, **arguments), mode, clock)
        looks[mode] = [round(at, 3) for _, at in service.asked]

    assert looks["poke"] == looks["reschedule"] == looks["deferrable"]


class TestSeveralTasks:
    HISTORIES: ClassVar[dict[str, Any]] = {
        "a": timeline((0, "running"), (40, "completed")),
        "b": timeline((0, "running"), (200, "failed")),
        "c": timeline((0, "pending"), (100, "running"), (300, "completed")),
    }

    @pytest.mark.parametrize("mode", MODES)
    def test_tasks_are_all_waited_for_and_returned_in_order(
        self, mode: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        install(monkeypatch, clock, self.HISTORIES)

        end, result = live_through(
            lambda how: sensor(how, ["c", "a", "b", "a"], raise_on_failure=False), mode, clock
        )

        assert end == "success"
        assert [(one["id"], one["state"]) for one in result] == [
            ("c", "completed"),
            ("a", "completed"),
            ("b", "failed"),
            ("a", "completed"),
        ]
        assert clock.now - START == 300

    @pytest.mark.parametrize("mode", MODES)
    def test_failure_is_raised_once_all_are_finished(
        self, mode: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        install(monkeypatch, clock, self.HISTORIES)

        end, result = live_through(lambda how: sensor(how, ["a", "b", "c"]), mode, clock)

        assert (end, clock.now - START) == ("failed", 300)
        assert "1 of 3: Manus task b failed: the agent gave up" in result

    @pytest.mark.parametrize("mode", MODES)
    def test_waiting_task_is_returned_in_its_final_state(
        self, mode: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        install(monkeypatch, clock, {**self.HISTORIES, "b": timeline((0, "running"), (90, "completed"))})

        end, result = live_through(lambda how: sensor(how, ["b", "c"], on_waiting="return"), mode, clock)

        assert (end, [one["state"] for one in result]) == ("success", ["completed", "waiting"])

    @pytest.mark.parametrize("mode", MODES)
    def test_invalid_id_affects_only_its_own_task(self, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        install(monkeypatch, clock, {**self.HISTORIES, "x": lambda at: 500})

        end, result = live_through(lambda how: sensor(how, ["x", "a", "c"]), mode, clock)

        assert (end, clock.now - START) == ("retryable", 900)
        assert "The wait gave up 1 of 3 Manus tasks. Manus task x" in result

    @pytest.mark.parametrize("mode", MODES)
    def test_wrong_key_is_tried_once_per_poll(self, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        service = install(monkeypatch, clock, dict.fromkeys("abc", lambda at: 401))

        end, result = live_through(lambda how: sensor(how, ["a", "b", "c"]), mode, clock)

        assert (end, clock.now - START) == ("failed", 90)
        assert "AuthenticationError" in result
        assert service.asked == [("list", at) for at in (0, 30, 60, 90)]

    @pytest.mark.parametrize("mode", MODES)
    def test_empty_list_has_nothing_to_wait_for(self, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        install(monkeypatch, Clock(), {})

        assert live_through(lambda how: sensor(how, []), mode, Clock()) == ("success", [])
