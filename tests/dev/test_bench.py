"""``dev/bench``, with numbers so small that they only show that it works."""

from __future__ import annotations

import asyncio
import gc
import runpy
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dev.bench import (
    airflow_run,
    from_trigger,
    imports,
    listing,
    listing_client,
    machine,
    waits,
    waits_client,
)
from dev.bench.__main__ import main
from dev.bench.figures import Section, count, milliseconds, percentiles, seconds, show_ratio
from dev.bench.processes import Child, ChildError, ask
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.http.connection import ConnectionFields
from remote_tasks_provider.core.http.transport import RequestsTransport
from remote_tasks_provider.manus.api.v1 import get_task
from remote_tasks_provider.manus.service import MANUS
from remote_tasks_sandbox import SandboxServer

LOAD = waits.Load(waits=6, longest=0.3, interval=0.2)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Iterator[listing.PageServer]:
    with listing.PageServer(pages=3, page_size=10) as server:
        for name, value in listing.connections(server.url).items():
            monkeypatch.setenv(name, value)
        yield server


class TestWaits:
    def test_sleeping_trigger_is_a_variant(self) -> None:
        result = asyncio.run(waits_client.wait_for(waits_client.asleep(0.01), ["a", "b"]))
        assert set(result["found"]) == {"a", "b"}

    @pytest.mark.parametrize("variant", ["ours", "http"])
    def test_waits_are_all_found_and_timed(self, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with SandboxServer() as server:
            for name, value in waits.connections(server).items():
                monkeypatch.setenv(name, value)
            make = waits_client.VARIANTS[variant](LOAD.interval)
            ends = waits.add_tasks(server, LOAD)
            result = asyncio.run(waits_client.wait_for(make, list(ends)))
            calls = server.sandbox.journal.total
        # Warnings about objects that the http provider leaves behind must not fail another test.
        gc.collect()
        outcome = waits.outcome(LOAD, ends, {**result, "idle": 0.0}, calls, refused=0)
        assert len(outcome.delays) == 6
        assert min(outcome.delays) >= 0
        # Airflow's first look-up of a connection imports a lot; this test does not measure that.
        assert max(outcome.delays) < 30
        assert outcome.calls > 0
        assert outcome.cpu > 0

    def test_heavy_task_has_its_conversation_while_it_runs(self) -> None:
        with SandboxServer() as server:
            (task_id,) = waits.add_tasks(server, waits.Load(waits=1, longest=60, conversation=5000))
            config = MANUS.config(ConnectionFields("c", server.manus_url, server.sandbox.settings.manus_key))
            client = Client(config, RequestsTransport(config), MANUS.explain)
            with closing(client):
                task = client.send(get_task(task_id))
        text = task.output[0].content[0].text
        assert task.state == "running"
        assert text is not None
        assert len(text) == 5000

    def test_wait_that_was_not_found_fails_the_benchmark(self) -> None:
        with pytest.raises(RuntimeError, match="0 of 1"):
            waits.outcome(LOAD, {"a": 1.0}, {"bad": [], "found": {}}, 0, 0)

    def test_idle_time_is_taken_off(self) -> None:
        result = {"bad": [], "found": {"a": 2.0}, "cpu": 1.5, "wall": 10, "idle": 0.1}
        result |= {"memory": 0, "block": 0, "computing": 0, "collecting": 0}
        outcome = waits.outcome(waits.Load(1), {"a": 1.5}, result, 1, 0)
        assert outcome.cpu == pytest.approx(0.5)
        assert outcome.delays == [0.5]


class TestListing:
    @pytest.mark.parametrize("variant", listing_client.VARIANTS)
    def test_variants_read_the_same_list(self, variant: str, listed: listing.PageServer) -> None:
        result = listing_client.measure({"variant": variant, "url": listed.url, "page_size": 10})
        assert (result["tasks"], result["completed"]) == (30, 18)
        assert result["wall"] > 0

    def test_listing_is_measured_in_its_own_process(self, listed: listing.PageServer) -> None:
        figures = listing.run(listed, ["bare"], page_size=10, rounds=1)
        assert figures["bare"]["memory"] > 0


class TestImports:
    def test_imports_of_both_variants_are_timed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The real modules take seconds to import.
        monkeypatch.setattr(imports, "CODE", "import time, {modules}\nprint(0.001, 1)")
        monkeypatch.setattr(imports, "MODULES", {"ours": ("json",), "http": ("json",)})
        section = imports.section(lambda text: None, quick=True)
        assert [row.met is None for row in section.rows] == [False, False]

    @pytest.mark.parametrize("variant", imports.MODULES)
    def test_modules_to_import_exist(self, variant: str) -> None:
        for name in imports.MODULES[variant]:
            __import__(name)


class TestDags:
    @pytest.mark.parametrize("variant", airflow_run.VARIANTS)
    def test_variant_has_a_file_with_its_dag_and_a_small_one(
        self, variant: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BENCH_WAITS", "2")
        monkeypatch.setenv("BENCH_INTERVAL", "5")
        names = runpy.run_path(str(airflow_run.DAGS / f"bench_{variant}.py"))
        # The name of the last one stays.
        assert names["dag"].dag_id == f"bench_{variant}_warm_up"
        assert names["dag"].task_ids == ["wait_0"]

    def test_many_sensors_and_one_sensor_await_the_same_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BENCH_WAITS", "3")
        monkeypatch.setenv("BENCH_INTERVAL", "5")
        names = runpy.run_path(str(from_trigger.DAGS / "many_dag.py"))

        assert len(names["many"].task_ids) == len(names["one"].get_task("wait").remote_task_id) == 3


class TestProcesses:
    def test_process_without_a_result_raises_with_its_output(self) -> None:
        with pytest.raises(ChildError, match="No module named"):
            ask("dev.bench.no_such_module", {}, within=20)

    def test_process_over_its_time_is_killed(self) -> None:
        with Child(waits.MODULE, {}, within=0.1) as child, pytest.raises(ChildError, match="-9"):
            child.receive()


class TestTable:
    def test_targets_are_computed(self) -> None:
        table = Section("Waits")
        table.compare("calls", 25, 3755, count, at_most=0.01)
        table.compare("CPU", 2.0, 1.0, seconds, at_most=0.1)
        table.limit("block", 0.2, None, milliseconds, at_most=0.1)
        assert [row.met for row in table.rows] == [True, False, False]
        assert [row.what for row in table.missed] == ["CPU", "block"]
        assert "| calls  | 25     | 3,755         | 1/150" in table.markdown()
        assert "NOT MET" in table.markdown()

    @pytest.mark.parametrize(
        ("ratio", "words"), [(0.01, "1/100"), (0.5, "0.50"), (1.25, "1.25"), (0.0, "0.00")]
    )
    def test_ratios_are_shown_as_fractions_or_decimals(self, ratio: float, words: str) -> None:
        assert show_ratio(ratio) == words

    def test_percentiles_of_few_values(self) -> None:
        assert percentiles([2.0]) == (2.0, 2.0)
        assert percentiles([float(value) for value in range(101)]) == (50.0, 95.0)


class TestPage:
    def test_page_is_written_between_its_marks_only(self, tmp_path: Path) -> None:
        page = tmp_path / "benchmarks.md"
        page.write_text(f"# Head\n{machine.BEGIN}\nold\n{machine.END}\nTail\n")
        machine.write_page("new", page)
        machine.write_page("newer", page)
        assert page.read_text() == f"# Head\n{machine.BEGIN}\n\nnewer\n\n{machine.END}\nTail\n"

    def test_page_in_docs_has_the_marks(self) -> None:
        text = machine.PAGE.read_text()
        assert text.index(machine.BEGIN) < text.index(machine.END)

    def test_machine_is_described_without_its_name(self) -> None:
        import socket

        assert "cores" in machine.description()
        assert socket.gethostname() not in machine.description()


def test_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "everything"])
    assert "invalid choice" in capsys.readouterr().err
