"""How a website is named, published, and read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remote_tasks_provider.core.http.operation import Idempotency, Response
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.api import v2
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.websites import ManusWebsite, website_snapshot
from remote_tasks_sandbox import Sandbox


def read(**facts: Any) -> ManusWebsite:
    body = json.dumps({"ok": True, "website_id": "w1", **facts}).encode()
    return v2.get_website("t1").parse(Response(200, {}, body))


class TestRequest:
    def test_publication_names_the_website_and_who_may_open_it(self) -> None:
        by_task, by_id = v2.publish_website("t1"), v2.publish_website(website_id="w1", visibility="team")

        assert by_task.request.json == {"task_id": "t1"}
        assert by_id.request.json == {"website_id": "w1", "visibility": "team"}
        assert by_id.idempotency is Idempotency.NOT_IDEMPOTENT
        assert by_id.name == "POST /v2/website.publish {website_id}"

    def test_status_names_the_website(self) -> None:
        assert v2.get_website("t1").request.query == (("task_id", "t1"),)
        assert v2.get_website(website_id="w1").request.query == (("website_id", "w1"),)

    @pytest.mark.parametrize(
        ("where", "says"),
        [
            ({}, "either"),
            ({"remote_task_id": "t1", "website_id": "w1"}, "either"),
            ({"remote_task_id": ""}, "remote_task_id"),
            ({"website_id": {"id": "w1"}}, "website_id"),
        ],
    )
    def test_website_is_named_in_one_way(self, where: dict[str, Any], says: str) -> None:
        for build in (v2.publish_website, v2.get_website, v2.list_website_checkpoints):
            with pytest.raises(ValueError, match=says):
                build(**where)

    def test_publication_for_nobody_is_refused(self) -> None:
        with pytest.raises(ValueError, match="visibility"):
            v2.publish_website("t1", visibility="private")


class TestStatus:
    @pytest.mark.parametrize(
        ("word", "state"),
        [
            ("unpublished", TaskState.PENDING),
            ("Publishing", TaskState.RUNNING),
            ("published", TaskState.COMPLETED),
            ("failed", TaskState.FAILED),
            ("dreaming", TaskState.UNKNOWN),
            (None, TaskState.UNKNOWN),
        ],
    )
    def test_word_means_a_state(self, word: str | None, state: TaskState) -> None:
        assert read(publish_status=word).state is state

    def test_odd_fields_spoil_nothing_else(self) -> None:
        website = read(publish_status="published", site_urls=["https://a.test", 5], version_id=7, new=1)

        record = website_snapshot(website).to_record()
        assert (record["url"], record["site_urls"]) == ("https://a.test", ["https://a.test"])
        assert (record["id"], record["status"], record["version_id"]) == ("w1", "published", None)

    def test_addresses_are_bounded(self) -> None:
        urls = [f"https://{number}.test" for number in range(60)]

        website = website_snapshot(read(site_urls=["https://a.test/" + "x" * 2000, *urls]))

        assert (website.url, website.details["site_urls"]) == (urls[0], urls[:50])

    def test_website_without_an_address_has_none(self) -> None:
        assert website_snapshot(read(site_urls=None)).url is None


class TestHook:
    def test_versions_are_listed_newest_first(self, sandbox: Sandbox, manus_conn: str) -> None:
        sandbox.manus.add_task("t1", ["completed"], website=True)

        (version,) = ManusHook(manus_conn).list_website_checkpoints("t1")

        assert (version["version_id"], version["status"]) == ("v001", "success")

    def test_website_is_read_as_it_was_published(self, sandbox: Sandbox, manus_conn: str) -> None:
        sandbox.manus.add_task("t1", ["completed"], website=[("published", None)])
        hook = ManusHook(manus_conn)

        publication = hook.publish_website("t1", visibility="team")

        website = hook.get_website(website_id=publication.website_id)
        assert (website.state, website.visibility) == ("completed", "team")
        assert website.version_id == publication.version_id == "v001"
