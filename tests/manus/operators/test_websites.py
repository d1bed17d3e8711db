"""Websites are published once, whatever happens to the worker or to an answer, and awaited."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowTaskTimeout,
)

from remote_tasks_provider.core.errors import NotFoundError, ServerError, TransportError
from remote_tasks_provider.manus import operators
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.operators import ManusPublishWebsiteOperator
from remote_tasks_provider.manus.triggers import ManusWebsiteTrigger
from tests.manus.airflow_task import MODES, Account, AirflowTask

BUILT = [("completed", None)]
SUCCEEDING = [("publishing", 60), ("published", None)]
FAILING = [("publishing", 60), ("failed", None)]
ENDLESS = [("publishing", None)]
PUBLISH = "*/website.publish"
STATUS = "*/website.status"


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"deferrable": request.param == "deferred"}


@pytest.fixture(autouse=True)
def began(account: Account) -> None:
    """The account has a website that was ready long before the DAG run began."""
    add(account, "t1")
    account.sandbox.clock.advance(3600)


def add(account: Account, task_id: str, script: Any = True) -> None:
    account.manus.add_task(task_id, BUILT, website=script)


def website(account: Account, task_id: str = "t1") -> Any:
    found = account.manus.get(task_id)
    assert found is not None
    return found.website


def publications(account: Account, task_id: str = "t1") -> list[Any]:
    return list(website(account, task_id).publications)


def then(account: Account, task_id: str, script: Any) -> None:
    """Say what becomes of the next publication."""
    website(account, task_id).script = script


def publishes(task_id: str | None = "t1", **arguments: Any) -> Callable[[], Any]:
    return lambda: ManusPublishWebsiteOperator(task_id="publish", remote_task_id=task_id, **arguments)


def run(account: Account, task_id: str | None = "t1", task: Any = None, **arguments: Any) -> Any:
    return (task or account.task()).attempt(publishes(task_id, **arguments))


def build_again(account: Account, task_id: str = "t1") -> None:
    ManusHook().send_message(task_id, "Make it blue.")
    account.sandbox.clock.advance(3600)


def die_after_publishing(task: AirflowTask, make: Callable[[], Any]) -> None:
    """Run an attempt whose worker dies when its request has taken effect."""
    real = ManusHook.publish_website

    def publish_and_die(*given: Any, **more: Any) -> None:
        real(*given, **more)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ManusHook, "publish_website", publish_and_die)
        with pytest.raises(SystemExit):
            task.attempt(make)


class TestSuccess:
    def test_website_is_published_and_awaited(self, account: Account, mode: dict[str, Any]) -> None:
        task = account.task()

        result = run(account, task=task, **mode)

        url = f"{account.sandbox.base_url}/manus/app/t1"
        assert result == {
            "website_id": "site-t1",
            "publish_status": "published",
            "site_urls": [url],
            "version_id": "v001",
        }
        assert task.xcoms["remote_task_url"] == url
        assert [one.visibility for one in publications(account)] == ["public"]
        assert len(task.deferrals) == mode["deferrable"]

    def test_website_is_named_by_its_id(self, account: Account, mode: dict[str, Any]) -> None:
        result = run(account, None, website_id="site-t1", visibility="team", **mode)

        assert result["version_id"] == "v001"
        assert [one.visibility for one in publications(account)] == ["team"]

    def test_connection_without_a_version_publishes(self, account: Account) -> None:
        account.connect("best")

        assert run(account)["publish_status"] == "published"

    def test_website_without_waiting_is_returned_while_it_is_published(self, account: Account) -> None:
        task = account.task()

        result = run(account, task=task, wait_for_completion=False)

        assert result == {
            "website_id": "site-t1",
            "publish_status": "publishing",
            "site_urls": [],
            "version_id": "",
        }
        assert "remote_task_url" not in task.xcoms

    def test_templates_are_rendered(self) -> None:
        made = ManusPublishWebsiteOperator(task_id="p", remote_task_id="{{ a }}", visibility="{{ b }}")

        made.render_template_fields({"a": "t1", "b": "team"})

        assert (made.remote_task_id, made.visibility) == ("t1", "team")
        assert "ManusPublishWebsiteOperator" in operators.__all__

    def test_trigger_names_the_websites(self) -> None:
        path, arguments = ManusWebsiteTrigger("manus_default", ["site-t1"]).serialize()

        assert path == "remote_tasks_provider.manus.triggers.ManusWebsiteTrigger"
        assert ManusWebsiteTrigger(**arguments).website_ids == ["site-t1"]


class TestFormerPublication:
    """What the status says of an earlier publication must not pass for the outcome of this one."""

    def test_former_success_is_not_taken_for_this_one(self, account: Account, mode: dict[str, Any]) -> None:
        run(account)
        build_again(account)

        assert run(account, **mode)["version_id"] == "v002"
        assert len(publications(account)) == 2

    @pytest.mark.parametrize("word", ["published", "failed"])
    def test_former_outcome_that_is_shown_for_a_while_is_waited_out(
        self, account: Account, mode: dict[str, Any], word: str
    ) -> None:
        then(account, "t1", [(word, None)])
        run(account, raise_on_failure=False)
        build_again(account)
        then(account, "t1", [("publishing", 30), ("published", None)])
        account.faults.add("lag", path=STATUS, seconds=20)

        assert run(account, **mode)["version_id"] == "v002"
        assert len(publications(account)) == 2

    def test_status_that_never_changes_is_believed(self, account: Account, mode: dict[str, Any]) -> None:
        run(account)
        account.sandbox.clock.advance(3600)
        account.faults.add("lag", path=STATUS, after=1)
        began = account.sandbox.clock.now()

        assert run(account, **mode)["publish_status"] == "published"
        assert account.sandbox.clock.now() - began == pytest.approx(90, abs=5)


class TestFailure:
    def test_failed_publication_fails_without_a_retry(self, account: Account, mode: dict[str, Any]) -> None:
        add(account, "t2", FAILING)

        with pytest.raises(AirflowFailException, match="Manus website site-t2 failed: it could not be publ"):
            run(account, "t2", **mode)

    def test_failed_publication_is_returned_on_request(self, account: Account, mode: dict[str, Any]) -> None:
        add(account, "t2", FAILING)

        result = run(account, "t2", raise_on_failure=False, **mode)

        assert (result["website_id"], result["publish_status"]) == ("site-t2", "failed")

    def test_clear_publishes_anew(self, account: Account, mode: dict[str, Any]) -> None:
        add(account, "t2", FAILING)
        task = account.task()
        with pytest.raises(AirflowFailException):
            run(account, "t2", task, **mode)
        then(account, "t2", SUCCEEDING)

        task.clear()

        assert run(account, "t2", task, **mode)["publish_status"] == "published"
        assert len(publications(account, "t2")) == 2

    def test_timeout_leaves_the_publication_alone(self, account: Account, mode: dict[str, Any]) -> None:
        add(account, "t2", ENDLESS)

        with pytest.raises(AirflowSensorTimeout, match=r"site-t2 \(running\)\. The remote side was left"):
            run(account, "t2", timeout=120, **mode)

        assert len(publications(account, "t2")) == 1

    def test_execution_timeout_is_an_attempt_s_and_the_next_one_waits_on(self, account: Account) -> None:
        add(account, "t2", [("publishing", 600), ("published", None)])
        task = account.task(retries=1)
        make = publishes("t2", deferrable=True, execution_timeout=timedelta(seconds=120))
        with pytest.raises(AirflowTaskTimeout):
            task.attempt(make)
        account.sandbox.clock.advance(600)
        task.retry()

        assert task.attempt(make)["publish_status"] == "published"
        assert len(publications(account, "t2")) == 1

    def test_outage_during_the_wait_is_tolerated(self, account: Account, mode: dict[str, Any]) -> None:
        account.faults.add("status", path=STATUS, status=503, after=2, times=20)

        assert run(account, **mode)["publish_status"] == "published"

    def test_outage_that_lasts_is_left_to_a_retry_which_publishes_nothing(
        self, account: Account, mode: dict[str, Any]
    ) -> None:
        add(account, "t2", SUCCEEDING)
        task, fault = account.task(retries=1), account.faults.add("status", path=STATUS, status=503, after=2)
        with pytest.raises(ServerError):
            run(account, "t2", task, outage_tolerance=300, **mode)
        account.faults.remove(fault)
        task.retry()

        assert run(account, "t2", task, **mode)["publish_status"] == "published"
        assert len(publications(account, "t2")) == 1

    def test_task_without_a_website_is_not_found(self, account: Account) -> None:
        account.manus.add_task("t3", BUILT)

        with pytest.raises(NotFoundError, match="website not found"):
            run(account, "t3")

    def test_v1_connection_is_refused_by_the_field_to_change(self, account: Account) -> None:
        account.connect("v1")

        with pytest.raises(AirflowFailException, match="a website needs API v2: set api_version to v2"):
            run(account)

        assert account.sandbox.requests == []

    def test_token_of_an_app_is_refused_with_the_reason(self, account: Account) -> None:
        account.connect("v2", auth="oauth")
        account.sandbox.settings.manus_oauth_token = account.sandbox.settings.manus_key

        with pytest.raises(AirflowFailException, match="needs an API key"):
            run(account)

    @pytest.mark.parametrize("where", [{}, {"remote_task_id": "t1", "website_id": "site-t1"}], ids=str)
    def test_website_that_is_not_named_in_exactly_one_way_is_refused(self, where: dict[str, Any]) -> None:
        with pytest.raises(AirflowFailException, match="either remote_task_id or website_id"):
            ManusPublishWebsiteOperator(task_id="publish", **where)


class TestOnce:
    def test_lost_answer_is_found_in_the_status(self, account: Account, mode: dict[str, Any]) -> None:
        account.faults.add("drop_after", path=PUBLISH)

        assert run(account, **mode)["publish_status"] == "published"
        assert len(publications(account)) == 1

    def test_lost_request_is_sent_again_by_a_retry(self, account: Account, mode: dict[str, Any]) -> None:
        account.faults.add("drop_before", path=PUBLISH, times=1)
        task = account.task(retries=1)

        assert task.attempts(publishes(**mode))["publish_status"] == "published"
        assert task.try_number == 2
        assert len(publications(account)) == 1

    def test_retry_after_a_dead_worker_publishes_nothing(
        self, account: Account, mode: dict[str, Any]
    ) -> None:
        task = account.task(retries=1)
        die_after_publishing(task, publishes(**mode))
        task.retry()

        assert task.attempt(publishes(**mode))["publish_status"] == "published"
        assert len(publications(account)) == 1

    def test_retry_without_a_record_leaves_it_to_a_person(self, account: Account) -> None:
        task = account.task(retries=1, remembers=False)
        die_after_publishing(task, publishes())
        account.sandbox.clock.advance(3600)
        task.retry()

        with pytest.raises(AirflowFailException, match="remote_task_id t1 is published already"):
            task.attempt(publishes())
        assert len(publications(account)) == 1

    @pytest.mark.parametrize("before", [True, False])
    def test_retry_without_a_record_publishes_what_the_run_has_not(
        self, account: Account, before: bool
    ) -> None:
        if before:
            run(account)
            account.sandbox.clock.advance(3600)
        task = account.task(retries=1, remembers=False)
        account.faults.add("drop_before", path=PUBLISH, times=1)
        with pytest.raises(TransportError):
            task.attempt(publishes())
        task.retry()

        assert task.attempt(publishes())["publish_status"] == "published"
        assert len(publications(account)) == 1 + before
