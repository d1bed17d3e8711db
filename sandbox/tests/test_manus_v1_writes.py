"""What a client changes through Manus v1: tasks, files, projects."""

from __future__ import annotations

import pytest
import requests

START = 1_763_501_439
MINIMUM = {"prompt": "Count", "agentProfile": "manus-1.6"}


def post(client, path, body):
    return client.call("POST", path, json=body)


class TestCreate:
    def test_create_answers_with_what_finds_the_task_again(self, server, manus):
        body = post(manus, "/v1/tasks", MINIMUM).json()
        task_id = body["task_id"]
        assert body == {
            "task_id": task_id,
            "task_title": "Count",
            "task_url": f"{server.url}/manus/app/{task_id}",
        }
        assert manus.get(f"/v1/tasks/{task_id}").json()["status"] == "running"

    def test_task_completes_after_some_seconds(self, sandbox, manus):
        task_id = post(manus, "/v1/tasks", MINIMUM).json()["task_id"]
        sandbox.clock.advance(5)
        assert manus.get(f"/v1/tasks/{task_id}").json()["status"] == "completed"

    def test_create_is_kept_with_its_request(self, sandbox, manus):
        body = {**MINIMUM, "locale": "en-US", "hideInTaskList": True}
        task_id = post(manus, "/v1/tasks", body).json()["task_id"]
        sandbox.clock.advance(5)
        (created,) = sandbox.manus.created
        assert (created.id, created.version, created.body, created.at) == (task_id, "v1", body, START)
        assert manus.get(f"/v1/tasks/{task_id}").json()["locale"] == "en-US"

    def test_task_hidden_from_the_list_in_the_app_is_listed_all_the_same(self, manus):
        task_id = post(manus, "/v1/tasks", {**MINIMUM, "hideInTaskList": True}).json()["task_id"]
        assert [task["id"] for task in manus.get("/v1/tasks").json()["data"]] == [task_id]

    def test_shareable_link_is_made_on_request(self, anyone, manus):
        body = post(manus, "/v1/tasks", {**MINIMUM, "createShareableLink": True}).json()
        assert anyone.session.get(body["share_url"], timeout=10).status_code == 200

    def test_profile_shows_in_the_model(self, manus):
        body = post(manus, "/v1/tasks", {**MINIMUM, "agentProfile": "manus-1.6-lite"}).json()
        assert manus.get(f"/v1/tasks/{body['task_id']}").json()["model"] == "manus-1.6-lite-agent"

    def test_project_must_be_there(self, sandbox, manus):
        project_id = sandbox.manus.add_project("Reports")
        task_id = post(manus, "/v1/tasks", {**MINIMUM, "projectId": project_id}).json()["task_id"]
        assert manus.get("/v1/tasks", project_id=project_id).json()["data"][0]["id"] == task_id
        assert post(manus, "/v1/tasks", {**MINIMUM, "projectId": "nobody"}).status_code == 404

    @pytest.mark.parametrize(
        "attachment",
        [
            {"filename": "a.csv", "url": "https://example.com/a.csv", "mimeType": "text/csv"},
            {"filename": "a.csv", "fileData": "data:text/csv;base64,YQ=="},
        ],
        ids=str,
    )
    def test_create_takes_every_form_of_attachment(self, sandbox, manus, attachment):
        task_id = post(manus, "/v1/tasks", {**MINIMUM, "attachments": [attachment]}).json()["task_id"]
        (kept,) = sandbox.manus.get(task_id).attachments
        assert (kept.name, kept.mime_type) == ("a.csv", "text/csv")

    @pytest.mark.parametrize(
        "changes",
        [
            {"prompt": None},
            {"prompt": " "},
            {"prompt": 5},
            {"agentProfile": None},
            {"agentProfile": "manus-9"},
            {"agent_profile": "manus-1.6"},
            {"taskMode": "dream"},
            {"connectors": "gmail"},
            {"connectors": ["gmail"]},
            {"hideInTaskList": "yes"},
            {"attachments": [{"filename": "a"}]},
            {"attachments": [{"url": "https://example.com"}]},
            {"attachments": [{"filename": "a", "url": "ftp://example.com"}]},
            {"attachments": [{"filename": "a", "fileData": "YQ=="}]},
            {"attachments": [{"filename": "a", "file_id": "b", "url": "https://example.com"}]},
            {"surprise": 1},
        ],
        ids=str,
    )
    def test_body_that_is_not_as_documented_answers_400_with_code_3(self, sandbox, manus, changes):
        answer = post(manus, "/v1/tasks", {**MINIMUM, **changes})
        assert (answer.status_code, answer.json()["code"]) == (400, 3)
        assert sandbox.manus.created == []
        assert len(sandbox.manus) == 0

    @pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"text"'])
    def test_body_that_is_no_object_answers_400(self, manus, raw):
        answer = manus.call("POST", "/v1/tasks", data=raw)
        assert (answer.status_code, answer.json()["code"]) == (400, 3)


class TestContinue:
    def test_question_is_answered_with_the_tasks_id(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=[("pending", None)], question="Which day?")
        answer = post(manus, "/v1/tasks", {**MINIMUM, "prompt": "Monday", "taskId": task_id})
        assert answer.json()["task_id"] == task_id
        assert manus.get(f"/v1/tasks/{task_id}").json()["status"] == "running"
        sandbox.clock.advance(2)
        body = manus.get(f"/v1/tasks/{task_id}").json()
        assert body["status"] == "completed"
        said = [(one["role"], one["content"][0]["text"]) for one in body["output"][1:]]
        assert said == [("assistant", "Which day?"), ("user", "Monday"), ("assistant", "Done.")]

    def test_continued_task_is_no_new_task(self, sandbox, manus):
        task_id = sandbox.manus.add_task(script=["completed"])
        post(manus, "/v1/tasks", {**MINIMUM, "taskId": task_id})
        assert sandbox.manus.created == []
        assert [one.text for one in sandbox.manus.answers(task_id)] == ["Count"]
        assert len(sandbox.manus) == 1

    def test_unknown_task_answers_404(self, manus):
        answer = post(manus, "/v1/tasks", {**MINIMUM, "taskId": "nobody"})
        assert (answer.status_code, answer.json()["code"]) == (404, 5)


class TestUpdate:
    def test_update_changes_title_and_sharing(self, sandbox, manus):
        sandbox.manus.add_task("one", title="Old")
        manus.get("/v1/tasks/one")
        body = manus.call("PUT", "/v1/tasks/one", json={"title": "New", "enableShared": True}).json()
        assert (body["task_id"], body["task_title"]) == ("one", "New")
        assert "share_url" in body
        assert manus.get("/v1/tasks/one").json()["metadata"]["task_title"] == "New"
        body = manus.call("PUT", "/v1/tasks/one", json={"enableShared": False}).json()
        assert "share_url" not in body

    @pytest.mark.parametrize(
        "body", [{"name": "x"}, {"title": 1}, {"enableVisibleInTaskList": "no"}], ids=str
    )
    def test_update_takes_nothing_else(self, sandbox, manus, body):
        sandbox.manus.add_task("one")
        answer = manus.call("PUT", "/v1/tasks/one", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, 3)

    def test_unknown_task_answers_404(self, manus):
        assert manus.call("PUT", "/v1/tasks/nobody", json={}).status_code == 404


class TestDelete:
    def test_delete_removes_a_task_even_while_it_runs(self, sandbox, manus):
        sandbox.manus.add_task("one")
        answer = manus.call("DELETE", "/v1/tasks/one")
        assert answer.json() == {"id": "one", "object": "task.deleted", "deleted": True}
        assert manus.get("/v1/tasks/one").status_code == 404
        assert manus.call("DELETE", "/v1/tasks/one").status_code == 404


class TestFiles:
    def test_files_are_announced_uploaded_and_used(self, sandbox, manus):
        made = post(manus, "/v1/files", {"filename": "a.csv"}).json()
        assert made["status"] == "pending"
        assert int(made["upload_expires_at"]) == START + 180
        url = made["upload_url"]
        assert requests.put(url, data=b"x,y", headers={"Content-Type": "text/csv"}, timeout=10).ok
        assert manus.get(f"/v1/files/{made['id']}").json() == {
            "id": made["id"],
            "object": "file",
            "bytes": "3",
            "created_at": str(START),
            "expires_at": str(START + 48 * 3600),
            "filename": "a.csv",
            "status": "uploaded",
            "content_type": "text/csv",
        }
        attachment = {"filename": "a.csv", "file_id": made["id"]}
        assert post(manus, "/v1/tasks", {**MINIMUM, "attachments": [attachment]}).status_code == 200

    def test_file_that_was_not_uploaded_cannot_be_used(self, manus):
        made = post(manus, "/v1/files", {"filename": "a.csv"}).json()
        for file_id, status in ((made["id"], 400), ("nobody", 404)):
            body = {**MINIMUM, "attachments": [{"filename": "a.csv", "file_id": file_id}]}
            assert post(manus, "/v1/tasks", body).status_code == status

    def test_ten_newest_are_listed(self, manus):
        assert manus.get("/v1/files").json() == {"object": "list"}
        for number in range(11):
            post(manus, "/v1/files", {"filename": f"{number}.csv"})
        names = [one["filename"] for one in manus.get("/v1/files").json()["data"]]
        assert names == [f"{number}.csv" for number in range(10, 0, -1)]

    def test_files_are_gone_once_deleted_and_after_two_days(self, sandbox, manus):
        first, second = (post(manus, "/v1/files", {"filename": "a.csv"}).json()["id"] for _ in range(2))
        answer = manus.call("DELETE", f"/v1/files/{first}")
        assert answer.json() == {"id": first, "object": "file.deleted", "deleted": True}
        sandbox.clock.advance(48 * 3600)
        for file_id in (first, second):
            answer = manus.get(f"/v1/files/{file_id}")
            assert answer.status_code == 404
            assert answer.json() == {
                "code": 5,
                "message": "file not found or has been deleted",
                "details": [],
            }

    @pytest.mark.parametrize("name", ["", " ", "run.sh", "SETUP.EXE"])
    def test_names_that_the_vendor_refuses_answer_400(self, manus, name):
        assert post(manus, "/v1/files", {"filename": name}).status_code == 400


class TestProjects:
    def test_projects_are_created_and_listed_newest_first(self, manus):
        assert manus.get("/v1/projects").json() == {}
        made = post(manus, "/v1/projects", {"name": "Reports", "instruction": "Be brief."}).json()
        assert (made["name"], made["instruction"], made["created_at"]) == ("Reports", "Be brief.", str(START))
        newer = post(manus, "/v1/projects", {"name": "News"}).json()
        assert manus.get("/v1/projects").json() == {"data": [newer, made]}
        assert manus.get("/v1/projects", limit=1).json() == {"data": [newer]}

    def test_projects_need_a_name(self, manus):
        assert post(manus, "/v1/projects", {"instruction": "Be brief."}).status_code == 400


class TestFaultsOnWrites:
    def test_lost_answer_leaves_the_task_behind(self, sandbox, manus):
        sandbox.faults.add("drop_after", path="/manus/v1/tasks", method="POST", times=1)
        with pytest.raises(requests.exceptions.ConnectionError):
            post(manus, "/v1/tasks", MINIMUM)
        assert len(sandbox.manus.created) == 1

    def test_lost_request_leaves_nothing(self, sandbox, manus):
        sandbox.faults.add("drop_before", method="POST", times=1)
        with pytest.raises(requests.exceptions.ConnectionError):
            post(manus, "/v1/tasks", MINIMUM)
        assert sandbox.manus.created == []

    def test_rate_limits_are_counted_by_operation(self, sandbox, manus):
        sandbox.settings.rate_limits = {"manus.create": 1}
        assert [post(manus, "/v1/tasks", MINIMUM).status_code for _ in range(2)] == [200, 429]
        assert manus.get("/v1/tasks").status_code == 200
