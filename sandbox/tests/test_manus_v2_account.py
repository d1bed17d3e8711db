"""Manus v2 beside its tasks: files, projects, credits, and the lists a client may ask for."""

from __future__ import annotations

import pytest
import requests

START = 1_763_501_439


class TestUpload:
    def upload(self, manus_v2, name="a.csv"):
        return manus_v2.write("file.upload", filename=name).json()

    def test_address_is_given_for_three_minutes(self, sandbox, manus_v2):
        made = self.upload(manus_v2)
        file_id = made["file"]["id"]
        assert made["file"] == {
            "id": file_id,
            "filename": "a.csv",
            "status": "pending",
            "created_at": START,
        }
        assert made["upload_expires_at"] == START + 180
        sandbox.clock.advance(181)
        assert requests.put(made["upload_url"], data=b"x", timeout=10).status_code == 403
        assert manus_v2.read("file.detail", file_id=file_id).json()["file"]["status"] == "pending"

    def test_bytes_are_put_there(self, sandbox, manus_v2):
        made = self.upload(manus_v2)
        data = bytes(range(256)) * 4000
        answer = requests.put(made["upload_url"], data=data, headers={"Content-Type": "text/csv"}, timeout=10)
        assert answer.status_code == 200
        assert manus_v2.read("file.detail", file_id=made["file"]["id"]).json()["file"] == {
            "id": made["file"]["id"],
            "filename": "a.csv",
            "status": "uploaded",
            "created_at": START,
            "bytes": len(data),
            "content_type": "text/csv",
            "expires_at": START + 48 * 3600,
            "error_message": None,
        }
        assert sandbox.manus.uploads.get(made["file"]["id"]).content == data

    @pytest.mark.parametrize("header", ["x-manus-api-key", "API_KEY", "Authorization"])
    def test_key_must_not_travel_there(self, sandbox, manus_v2, header):
        made = self.upload(manus_v2)
        answer = requests.put(made["upload_url"], data=b"x", headers={header: "sk-sandbox"}, timeout=10)
        assert answer.status_code == 400
        record = sandbox.requests[-1]
        assert (record.method, record.status, record.auth[header.lower()]) == ("PUT", 400, True)
        assert sandbox.manus.uploads.get(made["file"]["id"]).status == "pending"

    def test_address_cannot_be_made_up(self, manus_v2):
        url = self.upload(manus_v2)["upload_url"]
        assert requests.put(url.replace("Signature=", "Signature=x"), timeout=10).status_code == 403
        assert requests.get(url, timeout=10).status_code == 403

    def test_faults_hit_the_upload_as_well(self, sandbox, manus_v2):
        made = self.upload(manus_v2)
        sandbox.faults.add("status", path="/manus/uploads/*", method="PUT", times=1, status=503)
        codes = [requests.put(made["upload_url"], data=b"x", timeout=10).status_code for _ in range(2)]
        assert codes == [503, 200]

    def test_deleted_file_is_gone(self, manus_v2):
        file_id = self.upload(manus_v2)["file"]["id"]
        assert manus_v2.write("file.delete", file_id=file_id).json()["ok"] is True
        answer = manus_v2.read("file.detail", file_id=file_id)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert manus_v2.write("file.delete", file_id=file_id).status_code == 404

    def test_upload_is_the_same_file_in_the_other_version(self, manus, manus_v2):
        file_id = self.upload(manus_v2)["file"]["id"]
        assert manus.get(f"/v1/files/{file_id}").json()["filename"] == "a.csv"

    @pytest.mark.parametrize(
        "body",
        [{}, {"filename": ""}, {"filename": "x.exe"}, {"filename": "x.BIN"}, {"name": "a"}],
        ids=str,
    )
    def test_filename_that_the_vendor_refuses_is_an_invalid_argument(self, manus_v2, body):
        assert manus_v2.write("file.upload", **body).status_code == 400

    @pytest.mark.parametrize("name", ["model.bin", "x.sh"])
    def test_blocked_file_is_refused_with_the_text_of_the_vendor(self, manus_v2, name):
        answer = manus_v2.write("file.upload", filename=name)
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "blocked file type")

    def test_file_detail_needs_an_id(self, manus_v2):
        assert manus_v2.read("file.detail").status_code == 400


class TestProjects:
    def test_projects_are_created_and_listed(self, manus, manus_v2):
        assert manus_v2.read("project.list").json()["data"] == []
        made = manus_v2.write("project.create", name="Reports", instruction="Be brief.").json()["project"]
        assert (made["name"], made["instruction"], made["created_at"]) == ("Reports", "Be brief.", START)
        assert manus_v2.read("project.list").json()["data"] == [made]
        assert manus.get("/v1/projects").json()["data"][0]["id"] == made["id"]

    def test_projects_need_a_name(self, manus_v2):
        assert manus_v2.write("project.create").status_code == 400


class TestCredits:
    def left(self, manus_v2):
        return manus_v2.read("usage.availableCredits").json()["data"]["total_credits"]

    def test_credits_are_what_the_setting_says_less_what_tasks_used(self, sandbox, manus_v2):
        assert self.left(manus_v2) == 10_000
        sandbox.settings.update({"manus_credits": 100})
        sandbox.manus.add_task(credit_usage=30)
        assert self.left(manus_v2) == 70
        sandbox.manus.add_task(credit_usage=90)
        assert self.left(manus_v2) == 0

    def test_usage_is_listed_newest_first_and_in_pages(self, sandbox, manus_v2):
        sandbox.manus.add_task("free")
        for number in range(25):
            sandbox.manus.add_task(f"t{number}", credit_usage=number + 1, created_at=START + number)
        first = manus_v2.read("usage.list").json()
        second = manus_v2.read("usage.list", cursor=first["next_cursor"]).json()
        records = first["data"] + second["data"]
        assert (len(first["data"]), second["has_more"]) == (20, False)
        assert [(one["task_id"], one["credits"]) for one in records] == [
            (f"t{number}", -number - 1) for number in range(24, -1, -1)
        ]
        assert {one["type"] for one in records} == {"cost"}

    def test_list_has_a_cursor_that_repeats_on_request(self, sandbox, manus_v2):
        sandbox.manus.add_task(credit_usage=1)
        sandbox.faults.add("repeat_cursor")
        first = manus_v2.read("usage.list").json()
        again = manus_v2.read("usage.list", cursor=first["next_cursor"]).json()
        assert (again["data"], again["next_cursor"]) == (first["data"], first["next_cursor"])


class TestLists:
    @pytest.mark.parametrize(
        ("operation", "field"),
        [("connector.list", "category"), ("skill.list", "owner_type"), ("browser.onlineList", "client_id")],
    )
    def test_lists_have_something_in_them(self, manus_v2, operation, field):
        assert field in manus_v2.read(operation).json()["data"][0]

    def test_connector_of_the_list_can_be_used(self, manus_v2):
        connector_id = manus_v2.read("connector.list").json()["data"][0]["id"]
        message = {"content": "Count", "connectors": [connector_id]}
        assert manus_v2.write("task.create", message=message).status_code == 200

    def test_user_is_known(self, manus_v2):
        assert manus_v2.read("user.me").json()["user_id"] == "user_sandbox"
