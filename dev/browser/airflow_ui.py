"""Airflow's UI as a person uses it: log in, press *Trigger*, look at a run, answer, test a connection."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Seconds for one step in the UI; a busy machine is slow.
PATIENCE = 60.0
#: A picture is a page of this size, in CSS pixels.
WIDTH, HEIGHT = 1280, 800


@contextlib.contextmanager
def chromium() -> Iterator[Page]:
    """Open a page in a headless browser: this machine's Chromium or Chrome, else the one of Playwright."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        try:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.set_default_timeout(PATIENCE * 1000)
            yield page
        finally:
            browser.close()


class AirflowUi:
    """One user's browser window.

    :param url: where Airflow's UI is.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def log_in(self, username: str, password: str) -> None:
        """Fill in the login form."""
        self.page.goto(self.url)
        self.page.locator("input").first.fill(username)
        self.page.locator("input[type=password]").fill(password)
        self.page.get_by_role("button", name=re.compile("sign in", re.IGNORECASE)).click()
        self.page.wait_for_url(lambda url: "login" not in url)

    def listed_dags(self) -> list[str]:
        """Return the ids of the DAGs on the page *Dags*."""
        self.page.goto(f"{self.url}/dags")
        links = self.page.locator("a[href^='/dags/']")
        links.first.wait_for()
        self.settle()
        hrefs = [str(link.get_attribute("href")) for link in links.all()]
        return sorted({found[1] for href in hrefs if (found := re.fullmatch(r"/dags/([\w.-]+)/?", href))})

    def trigger(self, dag_id: str) -> str:
        """Press *Trigger*, and again in the form, as it is; return the run's id."""
        self.page.goto(f"{self.url}/dags/{dag_id}")
        self.page.get_by_role("button", name="Trigger").first.click()
        self.page.get_by_role("dialog").get_by_role("button", name="Trigger").last.click()
        self.page.wait_for_url(re.compile("/runs/manual"))
        return unquote(self.page.url.rpartition("/runs/")[2].split("?")[0].strip("/"))

    def open_graph(self, dag_id: str, run_id: str) -> None:
        """Show the graph of a run and nothing beside it."""
        self.page.goto(f"{self.url}/dags/{dag_id}/runs/{run_id}")
        self.page.get_by_label(re.compile("Show Graph")).click()
        self.page.get_by_label("Collapse Details Panel").click()
        # Where the button was, the mouse would lie on a task and open its tooltip.
        self.page.mouse.move(WIDTH / 2, HEIGHT - 1)
        self.settle()

    def open_question(self, dag_id: str, run_id: str, task_id: str, option: str, within: float = 120) -> None:
        """Wait until *Required Actions* lists a question of a task, and open it; ``option`` is one of it."""
        deadline = time.monotonic() + within
        path = f"/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/required_actions"
        while True:
            self.page.goto(f"{self.url}/required_actions")
            self.settle()
            if any(unquote(str(link.get_attribute("href"))) == path for link in self.page.locator("a").all()):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"no required action of {dag_id}.{task_id} within {within:g} s")
        self.page.goto(self.url + path)
        self._respond.or_(self._button(option)).first.wait_for()
        self.settle()

    def answer(self, option: str, text: str | None = None) -> None:
        """Choose an option of the question that is open, fill in the field *Answer*, and respond."""
        if text is not None:
            self.page.locator("[name=element_answer]").fill(text)
        # Airflow shows a few options as buttons, and many as a list.
        if self._respond.count():
            self.page.get_by_role("combobox").last.click()
            self.page.get_by_role("option", name=option, exact=True).click()
            self._respond.click()
        else:
            self._button(option).click()
        self.settle()

    @property
    def _respond(self) -> Locator:
        return self.page.get_by_role("button", name="Respond")

    def _button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def connections(self) -> list[str]:
        """Return the ids of the connections on the page *Connections*."""
        self.page.goto(f"{self.url}/connections")
        self.page.get_by_label("Test Connection").first.wait_for()
        return [str(cell.inner_text()) for cell in self.page.locator("tbody tr td:nth-child(2)").all()]

    def test_connection(self, place: int) -> tuple[bool, str]:
        """Press the button *Test Connection* of the connection in this place.

        :param place: from 0 on.
        :returns: whether it worked, and what the UI says.
        """
        # The tooltip of another button could lie over this one.
        self.page.mouse.move(WIDTH / 2, HEIGHT - 1)
        self.connections()
        with self.page.expect_response(re.compile("/connections/test")) as answer:
            self.page.get_by_label("Test Connection").nth(place).click()
        self.page.mouse.move(WIDTH / 2, HEIGHT - 1)
        self.settle()
        body = answer.value.json()
        return body.get("status") is True, str(body.get("message") or body.get("detail"))

    def add_connection(self, conn_id: str, conn_type: str, host: str, password: str, port: str) -> None:
        """Fill in the form of a new connection, and save it."""
        form = self.open_connection_form(conn_id, conn_type)
        form.locator("input[name=host]").fill(host)
        form.locator("input[type=password]").fill(password)
        form.locator("input[name=port]").fill(port)
        form.get_by_role("button", name="Save").click()
        form.wait_for(state="hidden")

    def open_connection_form(self, conn_id: str, conn_type: str) -> Locator:
        """Open the form of a new connection; return it."""
        self.page.goto(f"{self.url}/connections")
        self.page.get_by_role("button", name=re.compile("add connection", re.IGNORECASE)).click()
        form = self.page.get_by_role("dialog")
        form.locator("input").first.fill(conn_id)
        form.get_by_role("combobox").click()
        self.page.keyboard.type(conn_type)
        self.page.get_by_role("option", name=conn_type, exact=True).click()
        self.settle()
        return form

    def settle(self, seconds: float = 1.5) -> None:
        """Let what moves come to rest."""
        self.page.wait_for_timeout(seconds * 1000)
