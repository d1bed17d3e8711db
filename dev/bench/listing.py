"""Reading a long list of tasks: our typed hook next to a bare loop and the http provider's hook.

The server sends pages that it made beforehand, so that its own work isn't measured.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dev.bench.figures import Row, Section, count, megabytes, seconds, show_ratio
from dev.bench.listing_client import VARIANTS
from dev.bench.processes import ask

MODULE = "dev.bench.listing_client"
#: Ten times as many pages may need this many times the memory.
FLAT = 1.25
#: Ours, with typed objects, may take this many times the time of the bare loop.
MOST = 1.0

Figures = dict[str, dict[str, float]]


def task(number: int) -> dict[str, Any]:
    """Return a task as Manus sends it: a small one, about 1 kB, with a short conversation."""
    task_id = f"{number:022d}"
    said = [
        ("user", f"Compare the prices of supplier {number} with last month's and name the five largest."),
        ("assistant", "I have read both lists. Prices rose by 3 % on average. " + "The largest: … " * 16),
    ]
    return {
        "id": task_id,
        "object": "task",
        "created_at": str(1_763_000_000 + number),
        "updated_at": str(1_763_000_300 + number),
        "status": ("completed", "completed", "completed", "running", "failed")[number % 5],
        "model": "manus-1.6-agent",
        "metadata": {
            "task_title": f"Prices of supplier {number}",
            "task_url": f"https://manus.im/app/{task_id}",
        },
        "output": [
            {
                "id": f"message-{number}-{place}",
                "status": "completed",
                "role": role,
                "type": "message",
                "content": [{"type": "output_text", "text": text}],
            }
            for place, (role, text) in enumerate(said)
        ],
        "credit_usage": 100 + number % 400,
    }


def page(first: int, size: int, *, more: bool) -> bytes:
    """Return one page of a list."""
    tasks = [task(number) for number in range(first, first + size)]
    body = {"object": "list", "data": tasks, "first_id": tasks[0]["id"], "last_id": tasks[-1]["id"]}
    return json.dumps(body | ({"has_more": True} if more else {}), ensure_ascii=False).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; the body must not wait for the acknowledgement of the head.
    disable_nagle_algorithm = True
    pages: dict[str, bytes]

    def do_GET(self) -> None:
        body = self.pages["".join(parse_qs(urlsplit(self.path).query).get("after", []))]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class PageServer:
    """Serves pages made beforehand; a context manager."""

    def __init__(self, pages: int, page_size: int) -> None:
        self.size = 0
        bodies = {}
        cursor = ""
        for number in range(pages):
            body = page(number * page_size, page_size, more=number < pages - 1)
            bodies[cursor] = body
            cursor = f"{(number + 1) * page_size - 1:022d}"
            self.size += len(body)
        handler = type("Handler", (_Handler,), {"pages": bodies})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> PageServer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def connections(url: str) -> dict[str, str]:
    """Return the variables with which a measured process reaches the server."""
    return {
        "AIRFLOW_CONN_BENCH_MANUS": json.dumps({"conn_type": "manus", "host": url, "password": "any"}),
        "AIRFLOW_CONN_BENCH_HTTP": json.dumps({"conn_type": "http", "host": url}),
    }


def run(server: PageServer, variants: Sequence[str], page_size: int, rounds: int) -> Figures:
    """Let the variants read the list alternately; return the median of each figure."""
    results: dict[str, list[Any]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            argument = {"variant": variant, "url": server.url, "page_size": page_size}
            results[variant].append(ask(MODULE, argument, connections(server.url), within=120))
    if len({(result["tasks"], result["completed"]) for all_ in results.values() for result in all_}) != 1:
        raise RuntimeError(f"the variants did not read the same list: {results}")
    return {
        variant: {name: median(result[name] for result in all_) for name in ("wall", "cpu", "memory")}
        for variant, all_ in results.items()
    }


def section(say: Callable[[str], None], *, quick: bool = False) -> Section:
    """Measure all."""
    pages, page_size, rounds = (10, 200, 1) if quick else (100, 1_000, 5)
    with PageServer(pages // 10, page_size) as server:
        short = run(server, ("ours", "bare"), page_size, 1 if quick else 3)
    with PageServer(pages, page_size) as server:
        long = run(server, tuple(VARIANTS), page_size, rounds)
        tasks, each = pages * page_size, server.size / (pages * page_size)
    for variant, figures in long.items():
        say(f"  {variant}: {seconds(figures['wall'])}, {megabytes(figures['memory'])}")
    return _table(short, long, tasks, each, pages)


def _table(short: Figures, long: Figures, tasks: int, each: float, pages: int) -> Section:
    ours, bare, http = long["ours"], long["bare"], long["http"]
    table = Section(
        f"Listing {tasks:,} tasks of {each:,.0f} bytes, {tasks // pages:,} a page", other="HttpHook"
    )
    table.compare("time", ours["wall"], http["wall"], seconds)
    ratio = ours["wall"] / bare["wall"]
    shown = f"{seconds(bare['wall'])} (bare loop)"
    row = ("time, against a bare loop", seconds(ours["wall"]), shown, show_ratio(ratio))
    table.rows.append(Row(*row, f"≤ {MOST}", ratio <= MOST))
    talk = long["ours_conversations"]
    table.compare("time, every conversation parsed", talk["wall"], http["wall"], seconds)
    table.compare("CPU of the reading process", ours["cpu"], http["cpu"], seconds)
    table.compare("peak memory", ours["memory"], http["memory"], megabytes)
    growth = ours["memory"] / short["ours"]["memory"]
    shown = f"{megabytes(short['ours']['memory'])} (ours, {count(pages // 10)} pages)"
    table.rows.append(
        Row(
            f"peak memory, {count(pages)} pages",
            megabytes(ours["memory"]),
            shown,
            show_ratio(growth),
            f"≤ {FLAT}",
            growth <= FLAT,
        )
    )
    table.notes += [
        "Ours returns typed `ManusTask` objects; a conversation is parsed when `output` is read. The bare "
        "loop is a `requests.Session`, `json.loads` and the same cursor, all plain dicts; "
        "`HttpHook.run(...).json()` is the http provider's way, in the same loop.",
        "Medians of processes that ran alternately; memory is the growth of the process's peak while it "
        "reads.",
    ]
    return table
