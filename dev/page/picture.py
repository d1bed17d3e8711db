"""The picture of the Remote Tasks page, in Chromium, inside Airflow's UI: `make screenshots` takes it.

As a program it takes it in light and in dark, and checks what only a browser can tell: that a text with HTML
stays a text, that the theme is Airflow's, and that links lead out of the frame.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dev.browser.airflow_ui import HEIGHT, AirflowUi, chromium
from dev.page.rows import NOW, QSTASH_TRIGGER, Row, deferred
from dev.page.server import ApiServer
from dev.terminal import leave_through_cleanup, say

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator

NAME = "remote-tasks"
QUESTION = "Which headline shall I use on the front page: the short one, or the one with <b>numbers</b>?"
DAGS = ("weekly_report", "market_research", "enrich_leads", "translate_docs")
TASKS = ("research", "summarize", "draft")


def rows() -> Iterator[Row]:
    """Yield what a deployment waits for on some morning."""
    now = NOW.timestamp()
    day = f"{NOW:%Y-%m-%d}"
    yield Row(
        dag_id="publish_news",
        run_id=f"scheduled__{day}T05:00:00+00:00",
        task_id="plan",
        operator="ManusTaskOperator",
        state="awaiting_input",
        next_method="resume_with_reply",
        rendered={"manus_conn_id": "manus_default", "prompt": "Plan the front page"},
        xcoms={"remote_task_id": "Pq8RtY11aBcDw2", "remote_task_url": "https://manus.im/app/Pq8RtY11aBcDw2"},
        question=QUESTION,
        started=312,
    )
    for number in range(11):
        remote_id = f"Zk3VbQ{number:02d}tLw9xY"
        began = now - 300 * (number + 1) ** 1.6
        yield deferred(
            remote_id,
            dag_id=DAGS[number % 4],
            run_id=f"scheduled__{day}T{number % 10:02d}:00:00+00:00",
            task_id=TASKS[number % 3],
            started_at=began,
            operator="ManusTaskOperator",
            xcoms={"remote_task_url": f"https://manus.im/app/{remote_id}"},
            reported={"state": "running", "credits": (112, 40, 7)[number % 3], "at": now - number % 2},
            heartbeat=-3600,
        )
    yield Row(
        dag_id="notify_partners",
        run_id=f"scheduled__{day}T08:00:00+00:00",
        task_id="deliveries",
        operator="QStashMessageSensor",
        state="up_for_reschedule",
        rendered={
            "qstash_conn_id": "qstash_default",
            "message_id": [f"msg_26hZCxZCuWyyTWPmSVBrNB88{one}" for one in range(7)],
        },
        reschedules=[95, 60, 2],
        started=2,
    )
    yield deferred(
        dag_id="notify_partners",
        run_id=f"scheduled__{day}T09:00:00+00:00",
        task_id="invoice",
        operator="QStashPublishOperator",
        trigger=(
            QSTASH_TRIGGER,
            {
                "conn_id": "qstash_default",
                "message_ids": ["msg_26hZCxZCuWyyTWPmSVBrNB8Q2"],
                "poll_interval": 30.0,
                "started_at": now - 260,
            },
        ),
        reported={"state": "pending", "credits": None, "at": now - 3},
        heartbeat=-3600,
    )
    yield Row(
        dag_id="translate_docs",
        run_id=f"manual__{day}T10:01:00+00:00",
        task_id="translate",
        map_index=3,
        operator="A2ATaskOperator",
        state="running",
        rendered={"a2a_conn_id": "a2a_translator", "message": "Translate this"},
        xcoms={"remote_task_id": "3b0f7f0e-6f1c-4a07-9f8f-7f2a6a1d1e55"},
        started=1,
    )


def open_page(ui: AirflowUi, theme: str) -> FrameLocator:
    """Open the page in a theme of Airflow's UI; return the frame that it is in."""
    ui.page.goto(f"{ui.url}/")
    ui.page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
    ui.page.goto(f"{ui.url}/plugin/{NAME}")
    frame = ui.page.frame_locator("iframe")
    frame.locator("#rows tr").first.wait_for()
    ui.settle()
    return frame


def check(ui: AirflowUi, frame: FrameLocator, theme: str) -> None:
    """Check what is shown, and where links lead.

    :raises AssertionError: when something is not as it should be.
    """
    assert frame.locator("html").get_attribute("data-theme") == theme
    assert frame.locator(".question").inner_text() == QUESTION
    assert frame.locator(".question b").count() == 0
    frame.locator("#text").fill("Zk3VbQ04")
    frame.locator("#rows tr").nth(1).wait_for(state="detached")
    frame.get_by_role("button", name="Clear filters").click()
    frame.locator("#rows tr").nth(5).wait_for()
    frame.get_by_role("button", name="Credits", exact=True).click()
    frame.locator("th[aria-sort=ascending]").get_by_text("Credits").wait_for()
    frame.locator("#rows td.names a").first.click()
    ui.page.wait_for_url("**/dags/**")


def take(folder: Path, *, in_dark: bool = False) -> None:
    """Take the picture, or both; keep them in a folder."""
    from dev.browser.screenshots import Camera

    errors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="page-dags-") as dags, chromium() as page:
        page.on("pageerror", lambda error: errors.append(str(error)))
        with ApiServer(list(rows()), Path(dags)) as server:
            ui = AirflowUi(page, server.url)
            ui.log_in(server.username, server.password)
            for theme in ("light", "dark") if in_dark else ("light",):
                frame = open_page(ui, theme)
                Camera(page, folder).take(NAME if theme == "light" else f"{NAME}-{theme}", HEIGHT)
                check(ui, frame, theme)
    assert errors == []


def main() -> int:
    """Take both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to keep them")
    folder = parser.parse_args().folder
    leave_through_cleanup()
    folder.mkdir(parents=True, exist_ok=True)
    take(folder, in_dark=True)
    say(f"Look at {folder}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
