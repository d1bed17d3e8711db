"""Many waits on one A2A agent, the official SDK's server: calls and delay, ours beside asking one by one.

All tasks hold until every wait has begun, and are then let go one after the other. When each has finished,
the agent itself says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import requests

from dev.a2a.peers import Agent
from dev.bench.figures import Section, count, milliseconds, percentiles, seconds
from dev.bench.processes import Child
from dev.bench.waits import MODULE, Load, Outcome, outcome

#: At most so many calls for each one that is made when each task is asked for.
FEWEST = 1 / 50
#: Seconds beside one interval within which 95 of 100 ends are known.
LATE = 2.0
_HEADERS = {"A2A-Version": "1.0"}


def connections(url: str) -> dict[str, str]:
    """Return the variables with which a measured process reaches the agent."""
    agent = {"conn_type": "a2a", "host": url, "extra": {"binding": "rest"}}
    http = {"conn_type": "http", "host": url}
    return {
        "AIRFLOW_CONN_BENCH_AGENT": json.dumps(agent),
        "AIRFLOW_CONN_BENCH_AGENT_HTTP": json.dumps(http),
    }


def begin(agent: Agent, text: str) -> str:
    """Begin a task; return its id."""
    message = {"messageId": text, "role": "ROLE_USER", "parts": [{"text": text}]}
    body = {"message": message, "configuration": {"returnImmediately": True}}
    answer = requests.post(f"{agent.url}/rest/message:send", json=body, headers=_HEADERS, timeout=60)
    return str(answer.json()["task"]["id"])


def ends(agent: Agent) -> dict[str, float]:
    """Return when each task finished, as the agent says."""
    found: dict[str, float] = {}
    query: dict[str, Any] = {"pageSize": 100, "historyLength": 0}
    while True:
        page = requests.get(f"{agent.url}/rest/tasks", query, headers=_HEADERS, timeout=60).json()
        for task in page["tasks"]:
            found[task["id"]] = datetime.fromisoformat(task["status"]["timestamp"]).timestamp()
        if not page["nextPageToken"]:
            return found
        query["pageToken"] = page["nextPageToken"]


def run(variant: str, load: Load, *, idle: float = 1.0) -> Outcome:
    """Let a fresh process wait for fresh tasks of a fresh agent."""
    within = 120 + 4 * load.longest + load.waits / 5
    with Agent("1.x") as agent:
        argument = {
            "variant": variant,
            "interval": load.interval,
            "idle": idle,
            "warm_up": begin(agent, "say ready"),
        }
        with Child(MODULE, argument, connections(agent.url), within) as child:
            child.receive()
            task_ids = [begin(agent, "hold; say done") for _ in range(load.waits)]
            agent.control("reset")
            child.send(task_ids)
            agent.control("spread", {"seconds": load.longest})
            result = child.receive()
        calls = len(agent.control("requests")["requests"])
        ended = ends(agent)
    return outcome(load, {task_id: ended[task_id] for task_id in task_ids}, result, calls, refused=0)


def section(say: Callable[[str], None], *, quick: bool = False) -> Section:
    """Measure both."""
    load = Load(20, 3.0, 1.0) if quick else Load(1_000, 120.0, 10.0)
    say(f"{load.waits:,} waits on an A2A agent, ours ...")
    mine = run("agent", load)
    say(f"{load.waits:,} waits on an A2A agent, one by one ...")
    theirs = run("agent by http", load)
    table = Section(
        f"{load.waits:,} waits on one A2A agent (official Python SDK), polled every {load.interval:g} s",
        other="one by one",
    )
    table.compare("calls", mine.calls, theirs.calls, count, at_most=FEWEST)
    late = load.interval + LATE
    mine_late, theirs_late = percentiles(mine.delays)[1], percentiles(theirs.delays)[1]
    table.limit("delay p95", mine_late, theirs_late, seconds, at_most=late)
    table.compare("delay p50", percentiles(mine.delays)[0], percentiles(theirs.delays)[0], seconds)
    table.compare("CPU per wait", mine.cpu_each, theirs.cpu_each, milliseconds)
    table.notes.append(
        f"The tasks finish one after the other within {load.longest:g} s. One by one is the http provider's "
        "`HttpEventTrigger`, a trigger for each task."
    )
    return table
