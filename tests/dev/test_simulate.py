"""``dev/simulate``, with numbers so small that they only show that it works."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest

from dev.bench import machine
from dev.simulate import __main__ as command
from dev.simulate import clock, report
from dev.simulate.cases import CASES, TRIGGERERS, WAITS, Case, Target, grid, smaller
from dev.simulate.clock import START, VirtualLoop
from dev.simulate.scenario import VENDORS, Scenario
from dev.simulate.simulation import Outcome, simulate
from dev.simulate.vendor import NEVER, FakeTransport, Limits, Network, RemoteTask
from remote_tasks_provider.core.http.operation import Request, Response
from remote_tasks_sandbox.calls import Answer, Call
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.state import Sandbox


class TestClock:
    def test_virtual_hour_takes_no_time(self) -> None:
        async def main(loop: VirtualLoop) -> tuple[float, float, float]:
            before = time.monotonic()
            await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(60))
            return loop.time(), time.time(), time.monotonic() - before

        began = time.perf_counter()
        assert clock.run(main, seed=1) == (3600, START + 3600, 3600)
        assert time.perf_counter() - began < 1
        assert time.time() < START

    def test_time_of_other_threads_stays_real(self) -> None:
        async def main(_loop: VirtualLoop) -> list[float]:
            seen: list[float] = []
            thread = threading.Thread(target=lambda: seen.extend((time.time(), time.monotonic())))
            thread.start()
            thread.join()
            return seen

        wall, monotonic = clock.run(main, seed=1)
        assert abs(wall - time.time()) < 60
        assert abs(monotonic - time.monotonic()) < 60

    def test_timers_fire_in_order_at_their_moments(self) -> None:
        async def main(loop: VirtualLoop) -> list[float]:
            moments: list[float] = []

            async def note(seconds: float) -> None:
                await asyncio.sleep(seconds)
                moments.append(loop.time())

            await asyncio.gather(*(note(seconds) for seconds in (3, 0.1, 2)))
            return moments

        assert clock.run(main, seed=1) == pytest.approx([0.1, 2, 3])

    def test_wait_for_nothing_is_an_error(self) -> None:
        async def main(_loop: VirtualLoop) -> None:
            await asyncio.Event().wait()

        with pytest.raises(RuntimeError, match="nothing will ever happen"):
            clock.run(main, seed=1)

    def test_thread_is_replaced_by_a_call(self) -> None:
        async def main(_loop: VirtualLoop) -> tuple[int, str]:
            try:
                await asyncio.to_thread(int, "no number")
            except ValueError as error:
                return await asyncio.to_thread(int, "7"), str(error)[:7]
            return 0, ""

        assert clock.run(main, seed=1) == (7, "invalid")

    def test_seed_decides_what_is_random_inside_only(self) -> None:
        async def main(_loop: VirtualLoop) -> float:
            return random.random()

        state = random.getstate()
        assert clock.run(main, seed=1) == clock.run(main, seed=1) != clock.run(main, seed=2)
        assert random.getstate() == state


def answers(limits: Limits, moments: list[float]) -> list[tuple[int, str | None]]:
    """Call a vendor at these moments; return status and Retry-After of each answer."""

    async def main(loop: VirtualLoop) -> list[tuple[int, str | None]]:
        account = VENDORS["v1"].account(loop, [], limits)
        transport = FakeTransport(account, Network(0, 0), 1)
        found = []
        for moment in moments:
            await asyncio.sleep(moment - loop.time())
            response = await transport.send(Request("GET", "/v1/tasks"))
            found.append((response.status, response.headers.get("retry-after")))
        return found

    return clock.run(main, seed=1)


class TestLimits:
    def test_window_slides(self) -> None:
        limits = Limits(2, 60, says_when=True)
        assert answers(limits, [0, 30, 40, 61, 62]) == [
            (200, None),
            (200, None),
            (429, "20"),
            (200, None),
            (429, "28"),
        ]

    def test_refused_calls_count_where_the_vendor_counts_them(self) -> None:
        assert answers(Limits(1, 60), [0, 40, 70]) == [(200, None), (429, None), (200, None)]
        assert answers(Limits(1, 60, counts_refused=True), [0, 40, 70, 140])[2:] == [
            (429, None),
            (200, None),
        ]


class TestScenario:
    def test_tasks_are_the_same_each_time_and_in_order(self) -> None:
        scenario = Scenario("any", "v1", 2, 30, finishing=10, hidden=3, older=5, newer=4)
        tasks = scenario.tasks()
        assert [task.id for task in tasks] == [task.id for task in scenario.tasks()]
        assert [task.created for task in tasks] == sorted(task.created for task in tasks)
        assert [task.owner for task in tasks[:5] + tasks[-4:]] == [None] * 9
        assert sum(task.ends < NEVER for task in tasks) == 10
        assert sum(task.is_hidden for task in tasks) == 6

    def test_tasks_that_begin_one_after_the_other_are_created_when_their_waits_join(self) -> None:
        tasks = Scenario("any", "v1", 2, 5, joining=100, within=20, older=2, age=0).tasks()
        assert [task.created for task in tasks] == [-3, -2, *range(0, 100, 10)]
        assert all(0 <= task.ends - task.created <= 20 for task in tasks[2:])

    @pytest.mark.parametrize(("service", "cycle"), [("v1", 3.0), ("v2", 90.0), ("qstash", 0.3)])
    def test_shortest_cycle_is_pages_by_limit(self, service: str, cycle: float) -> None:
        assert Scenario("any", service, 5, 600).best_cycle == pytest.approx(cycle)


class TestSimulation:
    @pytest.mark.parametrize("service", VENDORS)
    def test_ends_are_all_noticed_where_there_is_room(self, service: str) -> None:
        scenario = Scenario("any", service, 2, 30, interval=5, within=60, failing=0.3)
        outcome = simulate(scenario)
        assert (outcome.finished, outcome.lost, outcome.wrong) == (60, 0, {})
        assert outcome.refused == 0
        assert 0 < outcome.quantiles[0] < outcome.quantiles[2] < 30

    def test_end_that_nobody_notices_counts_to_the_end(self) -> None:
        outcome = simulate(Scenario("any", "v1", 1, 3, within=10, lasts=30, limits=Limits(0)))
        assert (outcome.lost, outcome.span) == (3, 30)
        assert 20 <= outcome.quantiles[0] <= 30
        assert outcome.refused == outcome.calls > 0

    def test_hidden_tasks_are_asked_for_one_by_one(self) -> None:
        outcome = simulate(Scenario("any", "v1", 1, 10, interval=5, within=60, hidden=2, older=20))
        assert outcome.lost == 0
        assert outcome.journal.calls["GET /v1/tasks/{task_id}"] > 0

    def test_waits_that_join_later_count_from_the_end_of_their_task(self) -> None:
        outcome = simulate(Scenario("any", "v1", 1, 20, interval=5, joining=60, within=10))
        assert (outcome.finished, outcome.lost) == (20, 0)
        assert outcome.quantiles[2] < 15

    def test_log_is_shown_when_asked_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        simulate(Scenario("any", "v1", 1, 3, within=10, lasts=30, limits=Limits(0)), log=True)
        assert "rate limit exceeded" in capsys.readouterr().err


PLACES = {
    "v1": ("/v1/tasks", "limit", "data", "after", "last_id"),
    "v2": ("/v2/task.list", "limit", "data", "cursor", "next_cursor"),
    "qstash": ("/v2/logs", "count", "events", "cursor", "cursor"),
}


@pytest.mark.parametrize(("service", "items"), [("v1", 25), ("v2", 25), ("qstash", 50)])
def test_pages_follow_each_other(service: str, items: int) -> None:
    path, size, name, cursor, following = PLACES[service]

    async def main(loop: VirtualLoop) -> list[str]:
        make = VENDORS[service].make_id
        tasks = [RemoteTask(make(number), number, -100.0 + number) for number in range(25)]
        account = VENDORS[service].account(loop, tasks, Limits())
        found: list[str] = []
        query = [(size, "10")]
        while True:
            body = json.loads(account.answer(Request("GET", path, query=tuple(query))).body)
            found += [json.dumps(item) for item in body[name]]
            if not (body.get("has_more") or body.get("cursor")):
                return found
            query = [(size, "10"), (cursor, body[following])]

    found = clock.run(main, seed=1)
    assert len(found) == len(set(found)) == items


def shape(value: Any) -> Any:
    """Return a JSON value with types instead of its leaves; the order of fields does not count."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


ONE = "a" * 22
ANSWERS = [
    ("v1", "/v1/tasks", {}),
    ("v1", f"/v1/tasks/{ONE}", {}),
    ("v1", "/v1/tasks/other", {}),
    ("v2", "/v2/task.list", {}),
    ("v2", "/v2/task.detail", {"task_id": ONE}),
    ("v2", "/v2/task.detail", {"task_id": "other"}),
    ("v2", "/v2/task.listMessages", {"task_id": ONE}),
    ("qstash", "/v2/logs", {"messageIds": ONE}),
    ("qstash", "/v2/dlq", {"messageId": ONE}),
]


class TestShapes:
    """The simulated vendors write what the sandbox writes."""

    @pytest.mark.parametrize("is_refused", [False, True])
    @pytest.mark.parametrize("fails", [False, True])
    @pytest.mark.parametrize(("service", "path", "query"), ANSWERS)
    def test_answer_has_the_shape_of_the_sandbox(
        self, service: str, path: str, query: dict[str, str], fails: bool, is_refused: bool
    ) -> None:
        async def main(loop: VirtualLoop) -> Response:
            task = RemoteTask(ONE, 1, -100.0, -1.0, fails=fails)
            limits = Limits(0 if is_refused else 100)
            account = VENDORS[service].account(loop, [task], limits)
            return account.answer(Request("GET", path, query=tuple(query.items())))

        ours, theirs = clock.run(main, seed=1), sandbox_answer(path, query, fails, is_refused)
        assert ours.status == theirs.status
        assert shape(json.loads(ours.body)) == shape(json.loads(theirs.body))
        if is_refused and service == "qstash":
            assert ours.headers.keys() >= {name.lower() for name in theirs.headers}


def sandbox_answer(path: str, query: dict[str, str], fails: bool, is_refused: bool) -> Answer:
    """Return what the sandbox answers of a task that has ended."""
    sandbox = Sandbox()
    word = "failed" if fails else "completed"
    sandbox.manus.add_task(ONE, script=[word], answer="Done.", credit_usage=5)
    last = ["ERROR", "FAILED"] if fails else ["DELIVERED"]
    steps = [(word, 0) for word in ["CREATED", "ACTIVE", *last][:-1]]
    headers = {"content-type": "application/json"}
    sandbox.qstash.add_message(ONE, script=[*steps, (last[-1], None)], body="{}", headers=headers)
    if is_refused:
        v1, v2 = ("manus.list", "manus.get"), ("task.list", "task.detail", "task.listMessages")
        names = (*v1, *(f"manus.{name}" for name in v2), "qstash.logs", "qstash.dlq")
        sandbox.settings.update({"rate_limits": dict.fromkeys(names, 0)})
    vendor = "qstash" if path in ("/v2/logs", "/v2/dlq") else "manus"
    key, token = sandbox.settings.manus_key, sandbox.settings.qstash_token
    keys = {"api_key": key, "x-manus-api-key": key}
    keys = keys if vendor == "manus" else {"authorization": f"Bearer {token}"}
    call = Call(vendor, "GET", path, tuple(path.split("/")[1:]), tuple(query.items()), keys)
    return sandbox.vendors[vendor].answer(call, Plan())


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the signal handlers of the test process alone."""
    monkeypatch.setattr(command, "leave_through_cleanup", lambda: None)


class TestCommand:
    def test_cases_run_with_small_numbers(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert command.main(["--quick", "--minutes"]) == 0
        shown = capsys.readouterr().out
        assert all(case.scenario.name in shown for case in CASES)

    def test_grid_runs_with_small_numbers(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert command.main(["--grid", "--quick", "--triggerers", "2", "--waits", "300"]) == 0
        shown = capsys.readouterr().out
        assert all(vendor.label in shown for vendor in VENDORS.values())

    def test_jobs_are_given_to_processes(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pools: list[int] = []

        class Pool(ThreadPoolExecutor):
            def __init__(self, jobs: int, _context: Any) -> None:
                super().__init__(1)
                pools.append(jobs)

        monkeypatch.setattr(command, "ProcessPoolExecutor", Pool)
        assert command.main(["--quick", "--only", "5x600", "--jobs", "2"]) == 0
        assert pools == [2]
        assert "5x600 v2" in capsys.readouterr().out

    def test_names_are_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert command.main(["--list", "--only", "5x600"]) == 0
        assert capsys.readouterr().out == "5x600 v2\n"
        assert command.main(["--only", "no such case"]) == 2

    def test_missed_target_is_the_exit_status(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        target = Target("calls", lambda outcome: outcome.calls, 0)
        monkeypatch.setattr(command, "CASES", [Case(Scenario("any", "v1", 1, 3, within=10), [target])])
        assert command.main([]) == 1
        assert "NOT MET" in capsys.readouterr().out

    def test_options_change_the_vendor(self) -> None:
        options = command.parser().parse_args(["--limit", "7", "--says-when", "--seed", "3"])
        scenario = command.adapted(Scenario("any", "v1"), options)
        assert (scenario.allows, scenario.seed) == (Limits(7, 60, says_when=True), 3)

    def test_grid_has_a_scenario_for_each_pair_that_the_limit_can_show_in_time(self) -> None:
        found = {(one.service, one.triggerers, one.waits) for one in grid()}
        left_out = {("v2", 5, 10_000), ("v2", 10, 10_000)}
        assert found == set(product(VENDORS, TRIGGERERS, WAITS)) - left_out
        assert all(smaller(one).waits <= 100 for one in grid())
        assert all(smaller(one).waits <= 100 for one in grid())


class TestReport:
    def test_figure_that_is_no_number_meets_no_target(self) -> None:
        outcome = simulate(Scenario("any", "v1", 1, 2, finishing=0, lasts=40))
        assert not Target("p95", lambda one: one.quantiles[1], 1e9).is_met(outcome)
        assert "| - " in report.grid_table([outcome])

    def test_page_in_docs_has_the_marks(self) -> None:
        text = machine.PAGE.read_text()
        assert text.index(report.BEGIN) < text.index(report.END)

    def test_tables_go_between_the_marks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written: list[Any] = []
        monkeypatch.setattr(machine, "write_page", lambda body, marks: written.append((body, marks)))
        assert (
            command.main(
                ["--quick", "--write-docs", "--only", "5x600", "--triggerers", "2", "--waits", "200"]
            )
            == 0
        )
        ((body, marks),) = written
        assert marks == (report.BEGIN, report.END)
        assert body.count("#### ") == 3


def test_outcome_of_nothing_is_empty() -> None:
    outcome = simulate(Scenario("any", "v1", 1, 1, finishing=0, lasts=1))
    assert isinstance(outcome, Outcome)
    assert (outcome.finished, outcome.lost) == (0, 0)
