"""Websites of Manus v2: built by a task, published by request."""

from __future__ import annotations

import pytest

START = 1_763_501_439
BUILT = [("completed", None)]
FAILING = [("publishing", 5), ("failed", None)]


class TestWebsite:
    def test_website_is_unpublished_until_asked(self, sandbox, manus_v2):
        sandbox.manus.add_task("t1", BUILT, website=True)
        answer = manus_v2.read("website.status", task_id="t1").json()
        del answer["request_id"]
        assert answer == {
            "ok": True,
            "website_id": "site-t1",
            "publish_status": "unpublished",
            "site_urls": [],
            "version_id": "",
            "status_updated_at": START,
            "visibility": "private",
        }

    @pytest.mark.parametrize("where", [{"task_id": "t1"}, {"website_id": "site-t1"}], ids=str)
    def test_publication_takes_its_time_and_makes_the_latest_checkpoint_live(self, sandbox, manus_v2, where):
        sandbox.manus.add_task("t1", BUILT, website=True)
        made = manus_v2.write("website.publish", **where).json()
        assert (made["website_id"], made["version_id"]) == ("site-t1", "v001")
        status = manus_v2.read("website.status", **where).json()
        assert (status["publish_status"], status["version_id"], status["site_urls"]) == ("publishing", "", [])
        sandbox.clock.advance(5)
        status = manus_v2.read("website.status", **where).json()
        assert (status["publish_status"], status["version_id"]) == ("published", "v001")
        assert (status["visibility"], status["status_updated_at"]) == ("public", START + 5)
        assert status["site_urls"] == [f"{sandbox.base_url}/manus/app/t1"]

    def test_former_version_is_live_until_the_next_is_published(self, sandbox, manus_v2):
        sandbox.manus.add_task("t1", BUILT, website=True)
        manus_v2.write("website.publish", task_id="t1", visibility="team")
        sandbox.clock.advance(5)
        manus_v2.write("task.sendMessage", task_id="t1", message={"content": "Make it blue."})
        sandbox.clock.advance(5)
        assert manus_v2.write("website.publish", task_id="t1").json()["version_id"] == "v002"
        versions = []
        for _ in range(2):
            versions.append(manus_v2.read("website.status", task_id="t1").json()["version_id"])
            listed = manus_v2.read("website.listCheckpoints", task_id="t1").json()
            assert listed["published_version_id"] == versions[-1]
            assert [one["version_id"] for one in listed["data"]] == ["v002", "v001"]
            sandbox.clock.advance(5)
        assert versions == ["v001", "v002"]
        website = sandbox.manus.get("t1").website
        assert [one.visibility for one in website.publications] == ["team", "public"]

    def test_publication_fails_on_demand(self, sandbox, manus_v2):
        sandbox.manus.add_task("t1", BUILT, website=FAILING)
        manus_v2.write("website.publish", task_id="t1")
        sandbox.clock.advance(5)
        status = manus_v2.read("website.status", task_id="t1").json()
        assert (status["publish_status"], status["site_urls"]) == ("failed", [])

    @pytest.mark.parametrize(("word", "status"), [("", "published"), (" fail", "failed")])
    def test_prompt_can_ask_for_a_website(self, sandbox, manus_v2, word, status):
        task_id = manus_v2.create(f"Build it.\nsandbox: website{word}\nsandbox: seconds 1")
        assert manus_v2.write("website.publish", task_id=task_id).status_code == 404
        sandbox.clock.advance(1)
        manus_v2.write("website.publish", task_id=task_id)
        sandbox.clock.advance(5)
        assert manus_v2.read("website.status", task_id=task_id).json()["publish_status"] == status

    def test_prompt_with_another_word_fails_the_task(self, sandbox, manus_v2):
        task_id = manus_v2.create("sandbox: website soon")
        sandbox.clock.advance(5)
        assert manus_v2.task(task_id)["status"] == "error"


class TestRefusals:
    @pytest.mark.parametrize("where", [{}, {"task_id": "t1", "website_id": "site-t1"}], ids=str)
    def test_website_is_named_in_exactly_one_way(self, sandbox, manus_v2, where):
        sandbox.manus.add_task("t1", BUILT, website=True)
        assert manus_v2.read("website.status", **where).status_code == 400
        assert manus_v2.read("website.listCheckpoints", **where).status_code == 400
        assert manus_v2.write("website.publish", **where).status_code == 400

    @pytest.mark.parametrize(
        "where", [{"task_id": "t1"}, {"website_id": "site-t1"}, {"website_id": "t9"}], ids=str
    )
    def test_task_without_a_website_has_none(self, sandbox, manus_v2, where):
        sandbox.manus.add_task("t1", BUILT)
        answer = manus_v2.read("website.status", **where)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")

    def test_visibility_is_public_or_team(self, sandbox, manus_v2):
        sandbox.manus.add_task("t1", BUILT, website=True)
        assert manus_v2.write("website.publish", task_id="t1", visibility="private").status_code == 400

    def test_token_may_not_publish(self, sandbox, server, manus_v2):
        sandbox.manus.add_task("t1", BUILT, website=True)
        headers = {"x-manus-api-key": None, "Authorization": "Bearer oauth-sandbox"}
        answer = manus_v2.call("GET", "/v2/website.status?task_id=t1", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
