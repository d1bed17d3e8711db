"""What an answer means: the value asked for, or which error, whatever shape its body has."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    ApiError,
    AuthenticationError,
    InvalidArgumentError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RedirectError,
    RemoteTaskError,
    ServerError,
)
from remote_tasks_provider.core.http import response
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Operation, Refused, Response
from remote_tasks_provider.core.http.parsing import Items, Reader
from remote_tasks_provider.core.http.response import (
    Hint,
    date_of,
    read_response,
    retry_after,
    used_up_for,
)
from tests.core.build import SECRET, START, a_call, a_config, a_response


def _no_hint(operation: Operation[Any], status: int, message: str, config: ConnectionConfig) -> Hint | None:
    return None


def _error(response: Response, explain: Any = _no_hint, parse: Any = None) -> RemoteTaskError:
    operation = a_call(parse or (lambda response: response))
    with pytest.raises(RemoteTaskError) as caught:
        read_response(operation, response, a_config(), explain)
    assert SECRET not in f"{caught.value} {caught.value.to_json()}"
    return caught.value


def _api_error(*args: Any, **kwargs: Any) -> ApiError:
    error = _error(*args, **kwargs)
    assert isinstance(error, ApiError)
    return error


class TestStatus:
    @pytest.mark.parametrize("status", [200, 201, 202, 299])
    def test_status_2xx_is_good(self, status: int) -> None:
        assert read_response(a_call(), a_response(status, b"yes"), a_config(), _no_hint) == b"yes"

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, InvalidRequestError),
            (401, AuthenticationError),
            (402, InvalidRequestError),
            (403, PermissionDeniedError),
            (404, NotFoundError),
            (405, InvalidRequestError),
            (408, ServerError),
            (409, InvalidRequestError),
            (410, InvalidRequestError),
            (413, InvalidRequestError),
            (422, InvalidRequestError),
            (425, ServerError),
            (429, RateLimitedError),
            (499, InvalidRequestError),
            (500, ServerError),
            (501, ServerError),
            (502, ServerError),
            (503, ServerError),
            (504, ServerError),
            (529, ServerError),
            (599, ServerError),
            (199, InvalidRequestError),
        ],
    )
    def test_error_statuses_have_one_class_each(self, status: int, kind: type[ApiError]) -> None:
        error = _api_error(a_response(status, {"message": "no"}))

        assert type(error) is kind
        assert error.status_code == status
        assert error.endpoint == "Example GET /v1/things/{id}"


class TestErrorBodies:
    @pytest.mark.parametrize(
        ("body", "code", "message", "request_id"),
        [
            ({"code": 5, "message": "gone", "details": []}, "5", "gone", None),
            ({"error": "invalid token"}, None, "invalid token", None),
            (
                {"ok": False, "error": {"code": "not_found", "message": "gone"}, "request_id": "req_1"},
                "not_found",
                "gone",
                "req_1",
            ),
            ({"code": "permission_denied", "message": "scope"}, "permission_denied", "scope", None),
            ({"error": "short", "message": "long"}, None, "long", None),
            ({"error": {"message": ["odd"]}}, None, "['odd']", None),
            ({"error": None, "request_id": 7}, None, '{"error": null, "request_id": 7}', "7"),
            ({}, None, "{}", None),
            (["a list"], None, '["a list"]', None),
            (b"plain  text\nin lines", None, "plain text in lines", None),
            (b"", None, "", None),
            (b"\xff\xfe\x00", None, "\ufffd\ufffd\ufffd", None),
            (b"null", None, "null", None),
        ],
    )
    def test_known_shapes_are_read(
        self, body: Any, code: str | None, message: str, request_id: str | None
    ) -> None:
        error = _api_error(a_response(400, body))

        assert (error.code, error.message, error.request_id) == (code, message, request_id)

    @pytest.mark.parametrize(
        ("details", "code"),
        [
            ([{"@type": "x"}, {"reason": "TASK_NOT_FOUND"}, {"reason": "OTHER"}], "TASK_NOT_FOUND"),
            ([{"reason": ""}, {"reason": 5}, "text"], "404"),
            ({"reason": "TASK_NOT_FOUND"}, "404"),
            (None, "404"),
        ],
    )
    def test_reason_in_the_details_is_the_code(self, details: Any, code: str) -> None:
        error = _api_error(a_response(404, {"error": {"code": 404, "message": "no", "details": details}}))

        assert error.code == code

    def test_html_page_is_not_quoted(self) -> None:
        error = _api_error(
            a_response(502, b"<html><body>Bad gateway</body></html>", content_type="text/html")
        )

        assert error.message == "an HTML page instead of the API's answer"

    def test_request_id_may_stand_in_a_header(self) -> None:
        assert _api_error(a_response(500, {}, x_request_id="req_2")).request_id == "req_2"

    def test_long_texts_are_cut(self) -> None:
        error = _api_error(
            a_response(400, {"message": "x" * 10_000, "code": "y" * 999, "request_id": "z" * 999})
        )

        assert [len(text or "") for text in (error.message, error.code, error.request_id)] == [300, 60, 80]

    @pytest.mark.parametrize(
        "body",
        [
            {"message": f"key {SECRET} is bad"},
            {"error": SECRET},
            {"error": {"message": SECRET, "code": SECRET}, "request_id": SECRET},
            f"<{SECRET}>".encode(),
            [SECRET],
        ],
        ids=str,
    )
    def test_echoed_key_is_scrubbed(self, body: Any) -> None:
        assert "***" in str(_error(a_response(401, body)))


def test_argument_that_the_answer_shows_to_be_wrong_is_named() -> None:
    def parse(_response: Response) -> Any:
        raise InvalidArgumentError("after is 't9', and the list does not show that task")

    with pytest.raises(InvalidArgumentError, match="after is 't9'"):
        read_response(a_call(parse), a_response(200, {}), a_config(), _no_hint)


class TestHints:
    @pytest.mark.parametrize(
        ("status", "hint"),
        [(401, "Check the password"), (403, "is not allowed to do this"), (405, "Check the host"), (404, "")],
    )
    def test_status_that_points_to_the_connection_has_a_hint(self, status: int, hint: str) -> None:
        error = _api_error(a_response(status, {}))

        assert hint in error.hint
        assert bool(error.hint) is bool(hint)
        assert ("'example_default'" in error.hint) is bool(hint)

    @pytest.mark.parametrize(
        ("path", "hint"), [("GET /v1/things", "Check the host"), ("GET /v1/things/{id}", "")]
    )
    def test_status_404_without_an_id_is_about_the_host(self, path: str, hint: str) -> None:
        operation = replace(a_call(), name=path)
        with pytest.raises(NotFoundError) as caught:
            read_response(operation, a_response(404, {}), a_config(), _no_hint)

        assert caught.value.hint.startswith(hint)
        assert bool(caught.value.hint) is bool(hint)

    def test_vendor_hint_comes_first(self) -> None:
        error = _api_error(
            a_response(401, {"message": "m"}), lambda _, status, message, __: Hint(f"{status} {message}")
        )

        assert (type(error), error.hint) == (AuthenticationError, "401 m")

    def test_vendor_may_choose_the_error_class(self) -> None:
        error = _api_error(a_response(404, {}), lambda *_: Hint("other region", AuthenticationError))

        assert (type(error), error.status_code) == (AuthenticationError, 404)


class TestRedirect:
    @pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
    def test_redirect_is_an_error_that_names_the_target_without_its_query(self, status: int) -> None:
        target = f"https://elsewhere.example.com/{SECRET}/login?token={SECRET}"
        error = _error(a_response(status, b"", location=target))

        assert isinstance(error, RedirectError)
        assert f"HTTP {status}, a redirect to https://elsewhere.example.com/***/login." in str(error)
        assert "'example_default'" in str(error)

    def test_redirect_may_have_no_target(self) -> None:
        assert "a redirect to nowhere" in str(_error(a_response(302, b"")))


class TestInvalidResponse:
    def _fail(self, response: Response) -> Any:
        raise ValueError("field required at id")

    def test_invalid_response_names_operation_expectation_and_connection(self) -> None:
        error = _error(a_response(200, {"a": SECRET}), parse=self._fail)

        assert isinstance(error, InvalidResponseError)
        assert str(error) == (
            "Example GET /v1/things/{id}: expected a thing as JSON, but field required at id "
            """(application/json: '{"a": "***"}'). """
            "If this stays, check the host of connection 'example_default' (https://api.example.com)."
        )

    def test_long_body_is_quoted_only_at_its_beginning(self) -> None:
        error = _error(a_response(200, b"<p>" * 100_000, content_type="x" * 1000), parse=self._fail)

        assert len(str(error)) < 500

    def test_body_without_a_type_is_reported(self) -> None:
        error = _error(Response(200, {}, b""), parse=self._fail)

        assert "(no content type: '')" in str(error)

    def test_private_body_is_not_quoted(self) -> None:
        operation = replace(a_call(self._fail), is_private=True)
        with pytest.raises(InvalidResponseError) as caught:
            read_response(operation, a_response(200, {"body": "hush"}), a_config(), _no_hint)

        assert "(application/json)" in str(caught.value)


class TestOddItems:
    @pytest.fixture(autouse=True)
    def fresh_log(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(response, "_warned", set())

    def _read(self, body: Any, name: str = "GET /v1/things") -> Any:
        operation = replace(a_call(Reader(Items[str])), name=name)
        return read_response(operation, a_response(body=body), a_config(), _no_hint)

    def test_odd_items_are_reported_with_their_operation_and_number(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self._read(["a", 5, None, "b"]) == ["a", "b"]

        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert record.getMessage().startswith("Example GET /v1/things: left out 2 of the items")

    def test_odd_items_of_one_operation_are_warned_of_once(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        for name in ("GET /v1/things", "GET /v1/things", "GET /v1/others"):
            self._read(["a", 5], name)

        assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "WARNING"]

    def test_good_items_are_not_reported(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        self._read(["a"])

        assert caplog.records == []


class TestOddText:
    """What a service wrote goes into an error, and with it into Airflow's database."""

    @pytest.mark.parametrize(
        "body",
        [
            rb'{"message": "a\u0000b", "code": "\u0000", "request_id": "\ud800"}',
            rb'{"error": {"message": "a\ud800b", "code": "\udfff"}, "request_id": "\u0000"}',
            b'{"message": "a\x00b", "code": "\x00", "request_id": "\xff"}',
        ],
    )
    def test_error_body_is_read_without_what_cannot_be_stored(self, body: bytes) -> None:
        error = _api_error(a_response(400, body))

        assert (error.message, error.code, error.request_id) == ("a\ufffdb", "\ufffd", "\ufffd")

    @pytest.mark.parametrize("body", [b"a\x00b", b"a\xffb"])
    def test_plain_error_body_is_read_without_what_cannot_be_stored(self, body: bytes) -> None:
        assert _api_error(a_response(400, body, content_type="text/plain")).message == "a\ufffdb"

    @pytest.mark.parametrize("status", [200, 302, 500])
    def test_headers_are_read_without_what_cannot_be_stored(self, status: int) -> None:
        headers = dict.fromkeys(("location", "content_type", "x_request_id"), "a\x00b")

        error = _error(a_response(status, b"", **headers), parse=Reader(dict))

        assert "\x00" not in json.dumps(error.to_json()).replace("\\u0000", "\x00")
        assert "a\ufffdb" in str(error)

    def test_error_body_that_is_nested_very_deep_is_shown_as_text(self) -> None:
        body = b'{"message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

        assert len(_api_error(a_response(500, body)).message) <= 300

    @pytest.mark.parametrize("body", [b'{"message": NaN, "code": 1e999}', b'{"code": ' + b"9" * 5000 + b"}"])
    def test_error_body_with_odd_numbers_is_read(self, body: bytes) -> None:
        assert json.dumps(_api_error(a_response(500, body)).to_json(), allow_nan=False)


class TestRetryAfter:
    now = START

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "3"}, 3),
            ({"retry-after": "2.5"}, 2.5),
            ({"retry-after": "0"}, 0),
            ({"retry-after": "-5"}, 0),
            ({"retry-after": "86400"}, 3600),
            ({"retry-after": "1e300"}, None),
            ({"retry-after": "inf"}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after": "soon"}, None),
            ({"retry-after": ""}, None),
            ({"retry-after": formatdate(START + 20, usegmt=True)}, 20),
            ({"retry-after": formatdate(START + 20, usegmt=True).removesuffix(" GMT")}, 20),
            ({"retry-after": formatdate(START - 20, usegmt=True)}, 0),
            ({"retry-after": formatdate(START + 10**6, usegmt=True)}, 3600),
            ({"retry-after": "Wed, 99 Foo 2025 07:28:00 GMT"}, None),
            ({"burst-ratelimit-reset": str(START + 7)}, 7),
            ({"ratelimit-reset": str(START + 8)}, 8),
            ({"burst-ratelimit-reset": str(START + 7), "ratelimit-reset": str(START + 8)}, 7),
            ({"burst-ratelimit-reset": "?", "ratelimit-reset": str(START + 8)}, 8),
            ({"burst-ratelimit-reset": str(START - 7)}, 0),
            ({"retry-after": "3", "burst-ratelimit-reset": str(START + 7)}, 3),
            ({"retry-after": "soon", "burst-ratelimit-reset": str(START + 7)}, 7),
        ],
        ids=str,
    )
    def test_seconds_dates_and_resets_are_read_within_an_hour(
        self, headers: dict[str, str], seconds: float | None
    ) -> None:
        assert retry_after(headers, self.now) == seconds

    def test_error_carries_its_retry_after(self) -> None:
        assert _api_error(a_response(429, {}, retry_after="3")).retry_after == 3
        assert _api_error(a_response(503, {}, retry_after="4")).retry_after == 4
        assert json.dumps(_api_error(a_response(500, {})).to_json())


class TestErrorUnderGoodStatus:
    """Some services answer 200, and say in the body that they refuse."""

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, InvalidRequestError),
            (401, AuthenticationError),
            (404, NotFoundError),
            (429, RateLimitedError),
        ],
    )
    def test_error_under_a_good_status_has_the_class_of_its_own_status(
        self, status: int, kind: type[ApiError]
    ) -> None:
        def refuse(_: Response) -> None:
            raise Refused(status)

        body = {"ok": False, "request_id": "req_1", "error": {"code": "some_code", "message": "no, thanks"}}
        error = _error(a_response(200, body), parse=refuse)

        assert type(error) is kind
        assert (error.status_code, error.code, error.request_id) == (status, "some_code", "req_1")
        assert "no, thanks" in str(error)

    def test_reader_of_the_answer_may_know_the_code(self) -> None:
        def parse(_response: Response) -> Any:
            raise Refused(404, "NO_SUCH_THING")

        assert _api_error(a_response(200, {"error": {"code": -1}}), parse=parse).code == "NO_SUCH_THING"


class TestUsedUp:
    @pytest.mark.parametrize(
        ("left", "reset", "seconds"),
        [
            ("0", START + 1, 1.0),
            ("0", START + 0.25, 0.25),
            ("0.0", START + 1, 1.0),
            ("0", START - 5, 0.0),
            ("1", START + 1, None),
            ("99", START + 1, None),
            ("-1", START + 1, None),
            ("none", START + 1, None),
            (None, START + 1, None),
            ("0", None, None),
            ("0", "soon", None),
        ],
    )
    def test_good_answer_may_announce_the_end_of_the_allowance(
        self, left: str | None, reset: object, seconds: float | None
    ) -> None:
        told = {"burst-ratelimit-remaining": left, "burst-ratelimit-reset": reset}
        headers = {name: str(value) for name, value in told.items() if value is not None}

        assert used_up_for(headers, START) == (None if seconds is None else pytest.approx(seconds))

    def test_clock_far_ahead_of_ours_is_not_believed(self) -> None:
        headers = {"burst-ratelimit-remaining": "0", "burst-ratelimit-reset": str(START + 10**9)}

        found = used_up_for(headers, START)
        assert found is not None
        assert found <= 3600


class TestDate:
    @pytest.mark.parametrize(
        ("header", "moment"),
        [
            ("Fri, 27 Nov 2026 02:04:19 GMT", datetime(2026, 11, 27, 2, 4, 19, tzinfo=UTC)),
            ("Fri, 27 Nov 2026 03:04:19 +0100", datetime(2026, 11, 27, 2, 4, 19, tzinfo=UTC)),
            ("Fri, 27 Nov 2026 02:04:19 -0000", datetime(2026, 11, 27, 2, 4, 19, tzinfo=UTC)),
            ("yesterday", None),
            ("", None),
        ],
    )
    def test_date_is_the_services(self, header: str, moment: datetime | None) -> None:
        assert date_of(a_response(date=header)) == moment

    def test_missing_date_is_unknown(self) -> None:
        assert date_of(a_response()) is None
