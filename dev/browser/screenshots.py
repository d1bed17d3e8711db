"""`make screenshots`: take the pictures of the documentation again, into ``docs/images``.

They are taken in the playground, in a browser that nobody sees. Look at each of them before you commit it.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from dev.airflow.standalone import AirflowStartError
from dev.browser.airflow_ui import HEIGHT, WIDTH, AirflowUi, chromium
from dev.environments import ROOT
from dev.page import picture
from dev.playground import Playground, playground
from dev.terminal import leave_through_cleanup, say

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = ROOT / "docs" / "images"
#: A picture in the repository has at most so many bytes.
MOST_BYTES = 200 * 1024
COLOURS = 128


class Camera:
    """Takes pictures of a page and keeps them, with few colours, in a folder."""

    def __init__(self, page: Page, folder: Path) -> None:
        self._page = page
        self._folder = folder

    def take(self, name: str, height: int = HEIGHT) -> None:
        """Keep the page's upper part under this name.

        :raises ValueError: when the picture is too large for the repository.
        """
        shot = self._page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
        path = self._folder / f"{name}.png"
        Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS).save(path, optimize=True)
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ValueError(f"{path.name} has {size} bytes, more than {MOST_BYTES}")
        say(f"  {path.name}: {size // 1024} KB")


def take_all(running: Playground, ui: AirflowUi, camera: Camera) -> None:
    """Take every picture."""
    airflow, server, _ = running
    ui.log_in(airflow.username, airflow.password)
    asks = ui.trigger("example_a_person_answers")
    branches = ui.trigger("example_wait_and_branch")

    ui.connections()
    ui.test_connection(0)
    camera.take("connection-test", 400)
    form = ui.open_connection_form("manus_default", "Manus")
    camera.take("connection-form")
    form.get_by_text("Standard Fields").click()
    form.get_by_text("Extra Fields", exact=True).click()
    ui.settle()
    camera.take("connection-form-extra")

    ui.open_question("example_a_person_answers", asks, "plan", "To a lake")
    camera.take("question")
    airflow.client.wait_for_run("example_wait_and_branch", branches, within=180)
    ui.open_graph("example_wait_and_branch", branches)
    camera.take("branching-graph")
    ui.page.goto(server.url)
    ui.settle()
    camera.take("sandbox")


def main() -> int:
    """Start the playground, take the pictures, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=IMAGES, help="where to keep the pictures")
    folder = parser.parse_args().folder
    leave_through_cleanup()
    say("Starting the playground, for pictures of it ...")
    try:
        with playground(ROOT / "dags") as running, chromium() as page:
            take_all(running, AirflowUi(page, running.airflow.url), Camera(page, folder))
        picture.take(folder)
    except KeyboardInterrupt:
        say("\nInterrupted; everything is stopped.")
        return 130
    except AirflowStartError as error:
        say(f"\nAirflow did not start: {error}")
        return 1
    say(f"Look at each picture in {folder} before you commit it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
