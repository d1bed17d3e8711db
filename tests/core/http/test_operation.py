"""Requests as data: what ends up in a URL."""

from __future__ import annotations

import pytest

from remote_tasks_provider.core.http.operation import Request, path, present


class TestPath:
    @pytest.mark.parametrize(
        ("task_id", "encoded"),
        [
            ("abc_1-2.3~", "abc_1-2.3~"),
            ("a/b", "a%2Fb"),
            ("a/../b", "a%2F..%2Fb"),
            ("%2e", "%252e"),
            ("a?b#c", "a%3Fb%23c"),
            ("ü 🙂", "%C3%BC%20%F0%9F%99%82"),
            ("{x}", "%7Bx%7D"),
        ],
    )
    def test_id_cannot_reach_another_endpoint(self, task_id: str, encoded: str) -> None:
        assert path("/v1/tasks/{task_id}", task_id=task_id) == f"/v1/tasks/{encoded}"


class TestUrl:
    def test_prefix_of_the_base_url_is_kept(self) -> None:
        assert Request("GET", "/v1/tasks").url("https://h/prefix") == "https://h/prefix/v1/tasks"

    def test_query_names_may_repeat_and_values_are_encoded(self) -> None:
        request = Request("GET", "/v1/tasks", query=(("status", "a"), ("status", "b"), ("query", "x & y=ü")))

        assert request.url("https://h") == "https://h/v1/tasks?status=a&status=b&query=x+%26+y%3D%C3%BC"

    def test_request_may_name_a_base_url_of_its_own(self) -> None:
        assert Request("GET", "/x", base_url="https://other/a").url("https://h") == "https://other/a/x"


def test_present_leaves_out_what_is_not_given() -> None:
    assert present({"a": None, "b": 0, "c": ""}) == {"b": 0, "c": ""}
