"""What QStash is asked to deliver is checked before anything is sent."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.qstash.api.options import PublishOptions, destination_url

URL = "https://example.com/hook"
NOW = 1_780_000_000
DAY = 86400


def order(destination: str | None = URL, body: Any = None, **options: Any) -> PublishOptions:
    return PublishOptions(destination, body, **({"plan": "free"} | options))


def headers(**options: Any) -> dict[str, str]:
    return dict(order(**options).sent_headers)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW))


class TestDestination:
    @pytest.mark.parametrize(
        "url",
        [
            URL,
            "http://example.com",
            "https://example.com:8443/a/b?c=d&e=%2F#".removesuffix("#"),
            "https://example.com/a%20b",
            "http://localhost:8080/hook",
            "HTTPS://example.com/hook",
        ],
    )
    def test_url_is_sent_unchanged(self, url: str) -> None:
        assert order(url).target == url

    def test_unsafe_characters_are_encoded_once(self) -> None:
        assert destination_url("https://example.com/é a%C3%A9/[1]/100%?q=ü", "x") == (
            "https://example.com/%C3%A9%20a%C3%A9/%5B1%5D/100%25?q=%C3%BC"
        )

    @pytest.mark.parametrize("name", ["my-group", "group_1", "G"])
    def test_word_is_the_name_of_a_url_group(self, name: str) -> None:
        assert order(name).target == name
        assert order(None, url_group=name).target == name

    def test_group_that_could_be_a_host_has_its_own_parameter(self) -> None:
        assert order(None, url_group="api.v2").target == "api.v2"

    @pytest.mark.parametrize(
        ("destination", "why"),
        [
            ("example.com/hook", r"without a scheme and a host.*write https://example\.com/hook"),
            ("example.com", "without a scheme and a host"),
            ("//example.com/hook", "write https://example.com/hook"),
            ("localhost", "without a scheme and a host"),
            ("localhost:8080/hook", "without a scheme and a host"),
            ("ftp://example.com/x", "delivers to http:// and https:// only"),
            ("https://", "http:// and https:// only"),
            ("https:///hook", "http:// and https:// only"),
            ("https://[::1/hook", "no URL"),
            ("", "did a template or an XCom come out empty"),
            ("  ", "did a template or an XCom come out empty"),
            ("None", "did a template or an XCom come out empty"),
            ("null", "did a template or an XCom come out empty"),
            (5, "it must be a URL"),
            (f"{URL}#part", "a fragment"),
            (f" {URL}", "a space around it|without a scheme"),
            (f"{URL}\n", "a line break"),
            ("https://user:hush@example.com/hook", "send an Authorization header"),
            ("https://user@example.com/hook", "send an Authorization header"),
            ("https://bücher.example/hook", "its host as an ASCII name"),
            ("https://[2001:db8::1]/hook", "its host as an ASCII name"),
            ("https://example.com/../../v2/dlq/retry", r"without '\.' and '\.\.'"),
            ("https://example.com/a/./b", r"without '\.' and '\.\.'"),
        ],
    )
    def test_invalid_destination_is_refused_with_the_fix(self, destination: Any, why: str) -> None:
        with pytest.raises(ValueError, match=why) as caught:
            order(destination)
        assert "destination" in str(caught.value)

    @pytest.mark.parametrize("url", ["example.com/h?key=hush", "ftp://user:hush@h/x?key=hush", "hush@x?hush"])
    def test_query_and_user_are_not_shown(self, url: str) -> None:
        with pytest.raises(ValueError, match="destination") as caught:
            order(url)
        assert "hush" not in str(caught.value)

    @pytest.mark.parametrize(("destination", "url_group"), [(None, None), (URL, "group"), ("", "group")])
    def test_destination_is_given_exactly_once(self, destination: str | None, url_group: str | None) -> None:
        with pytest.raises(ValueError, match="give one of destination"):
            order(destination, url_group=url_group)

    @pytest.mark.parametrize("name", ["", "None", "a b", "a/b", "a:b", "é"])
    def test_group_name_is_checked(self, name: str) -> None:
        with pytest.raises(ValueError, match="url_group"):
            order(None, url_group=name)

    @pytest.mark.parametrize("name", ["callback", "failure_callback"])
    @pytest.mark.parametrize("url", ["example.com/hook", "", "None"])
    def test_callbacks_are_checked(self, name: str, url: str) -> None:
        with pytest.raises(ValueError, match=rf"^{name} is"):
            order(**{name: url})


class TestBody:
    @pytest.mark.parametrize(
        ("body", "sent", "kind"),
        [
            ("Grüezi", "Grüezi".encode(), "text/plain; charset=utf-8"),
            ("", b"", "text/plain; charset=utf-8"),
            (b"\xff\x00", b"\xff\x00", "application/octet-stream"),
            ({"a": "ü"}, '{"a":"ü"}'.encode(), "application/json"),
            ([1, None], b"[1,null]", "application/json"),
            (5, b"5", "application/json"),
            (False, b"false", "application/json"),
        ],
    )
    def test_body_is_sent_with_its_type(self, body: Any, sent: bytes, kind: str) -> None:
        made = order(body=body)

        assert (made.content, dict(made.sent_headers)["Content-Type"]) == (sent, kind)

    def test_absent_body_has_no_type(self) -> None:
        assert (order().content, "Content-Type" in headers()) == (b"", False)

    def test_content_type_of_the_user_is_taken_in_any_case(self) -> None:
        made = headers(body="<a/>", headers={"content-TYPE": "text/xml"})

        assert [value for name, value in made.items() if name.lower() == "content-type"] == ["text/xml"]

    @pytest.mark.parametrize(
        "body", [{1, 2}, object(), {"a": datetime.now(UTC)}, float("nan"), {"a": [1e999]}]
    )
    def test_body_that_is_not_json_is_refused(self, body: Any) -> None:
        with pytest.raises(ValueError, match="body cannot be written as JSON"):
            order(body=body)

    @pytest.mark.parametrize(
        ("plan", "most"), [("free", 1024**2), ("payg", 10 * 1024**2), ("fixed", 50 * 1024**2)]
    )
    def test_body_over_the_size_of_the_plan_is_refused_with_the_fix(self, plan: str, most: int) -> None:
        assert len(order(body=b"x" * most, plan=plan).content) == most
        with pytest.raises(ValueError, match=rf"body has {most + 1} bytes.*{plan!r} allows.*set plan in the"):
            order(body=b"x" * (most + 1), plan=plan)


class TestHeaders:
    def test_headers_are_forwarded_to_the_destination(self) -> None:
        assert headers(headers={"Authorization": "Bearer x", "X-Number": 5}) == {
            "Upstash-Forward-Authorization": "Bearer x",
            "Upstash-Forward-X-Number": "5",
            "Upstash-Method": "POST",
        }

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ({"Upstash-Delay": "5s"}, "QStash's own: give it by its parameter"),
            ({"upstash-retries": "5"}, "QStash's own"),
            ({"X Y": "1"}, "which no HTTP header can have"),
            ({"": "1"}, "which no HTTP header can have"),
            ({"X\n": "1"}, "which no HTTP header can have"),
            ({5: "1"}, "which no HTTP header can have"),
            ({"X": "hush\r\nUpstash-Delay: 5s"}, "a line break"),
            ({"X": "hush é"}, "no ASCII"),
            ({"X": " hush"}, "a space around it"),
            ({"X": None}, "is None"),
            ({"X-A": "hush", "x-a": "hush"}, "twice"),
            ("X: hush", "it must be a dict"),
            ([("X", "hush")], "it must be a dict"),
        ],
        ids=str,
    )
    def test_invalid_headers_are_refused_and_never_shown(self, given: Any, why: str) -> None:
        with pytest.raises(ValueError, match=why) as caught:
            order(headers=given)
        assert "hush" not in str(caught.value)

    def test_headers_body_and_query_are_in_no_repr(self) -> None:
        made = order(f"{URL}?key=hush", "hush", headers={"Authorization": "hush"})

        assert "hush" not in repr(made)


class TestTimes:
    @pytest.mark.parametrize(
        ("delay", "sent"),
        [
            (90, "90s"),
            (0.2, "1s"),
            (90.6, "91s"),
            ("90", "90s"),
            (timedelta(minutes=2), "120s"),
            ("1d10h30m5s", f"{DAY + 10 * 3600 + 30 * 60 + 5}s"),
            ("2m", "120s"),
            (" 5s ", "5s"),
            (7 * DAY, f"{7 * DAY}s"),
        ],
    )
    def test_delay_is_sent_in_seconds(self, delay: Any, sent: str) -> None:
        assert headers(delay=delay)["Upstash-Delay"] == sent

    @pytest.mark.parametrize("zero", [0, "0", "0s", timedelta(0)])
    def test_delay_of_zero_is_taken(self, zero: Any) -> None:
        assert headers(delay=zero)["Upstash-Delay"] == "0s"

    def test_timeout_of_zero_is_refused(self) -> None:
        with pytest.raises(ValueError, match="timeout is 0"):
            order(timeout=0)

    @pytest.mark.parametrize("delay", ["", "5 minutes", "1h1d", "-5", "1.5h", -5, True, "None", [5]])
    def test_invalid_delay_is_refused(self, delay: Any) -> None:
        with pytest.raises(ValueError, match="delay is"):
            order(delay=delay)

    @pytest.mark.parametrize(
        ("plan", "delay"),
        [("free", 7 * DAY + 1), ("free", "7d1s"), ("payg", timedelta(days=366))],
    )
    def test_delay_beyond_the_plan_is_refused_with_the_fix(self, plan: str, delay: Any) -> None:
        with pytest.raises(ValueError, match=rf"delay is \d+ s; the plan {plan!r} allows"):
            order(delay=delay, plan=plan)

    def test_largest_plan_has_no_limit(self) -> None:
        assert headers(delay="9999d", plan="fixed")["Upstash-Delay"] == f"{9999 * DAY}s"
        assert headers(not_before=NOW + 9999 * DAY, plan="fixed")

    @pytest.mark.parametrize(
        "moment",
        [NOW + 60, str(NOW + 60), datetime.fromtimestamp(NOW + 60, UTC), "2026-05-28T20:27:40+00:00"],
    )
    def test_moment_is_sent_in_unix_seconds(self, moment: Any) -> None:
        assert headers(not_before=moment)["Upstash-Not-Before"] == str(NOW + 60)

    @pytest.mark.parametrize("moment", [datetime.fromisoformat("2026-05-28"), "tomorrow", "", True, -1])
    def test_invalid_moment_is_refused(self, moment: Any) -> None:
        with pytest.raises(ValueError, match="not_before is"):
            order(not_before=moment)

    def test_moment_in_milliseconds_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"not_before is .* looks like milliseconds"):
            order(not_before=(NOW + 60) * 1000)

    @pytest.mark.parametrize("moment", [NOW + 7 * DAY + 1])
    def test_moment_beyond_the_plan_is_refused(self, moment: int) -> None:
        with pytest.raises(ValueError, match=r"not_before is .* s from now; the plan 'free' allows"):
            order(not_before=moment)

    def test_moment_in_the_past_is_accepted(self) -> None:
        assert headers(not_before=NOW - 60)["Upstash-Not-Before"] == str(NOW - 60)

    def test_delay_and_moment_together_are_refused(self) -> None:
        with pytest.raises(ValueError, match="delay and not_before are both given; choose one"):
            order(delay=5, not_before=NOW + 5)

    @pytest.mark.parametrize("given", [{"delay": 5}, {"not_before": NOW + 5}])
    def test_delay_and_moment_are_refused_with_a_queue(self, given: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="with a queue"):
            order(queue="q", **given)

    @pytest.mark.parametrize(("timeout", "sent"), [("2m", "120s"), (900, "900s")])
    def test_timeout_is_sent_in_seconds(self, timeout: Any, sent: str) -> None:
        assert headers(timeout=timeout)["Upstash-Timeout"] == sent

    def test_timeout_beyond_the_plan_is_refused(self) -> None:
        assert headers(timeout="2h", plan="payg")
        with pytest.raises(ValueError, match="timeout is 901 s; the plan 'free' allows 900 s"):
            order(timeout=901)


class TestDeduplication:
    @pytest.mark.parametrize("given", [{"deduplication_id": "a-1"}, {"content_based_deduplication": True}])
    def test_message_with_a_deduplication_id_can_be_repeated(self, given: dict[str, Any]) -> None:
        assert order(**given).has_key
        assert not order().has_key

    @pytest.mark.parametrize("word", ["a:b", "a b", "é", " a", "None", "a\n", "x" * 513])
    def test_invalid_deduplication_id_is_refused(self, word: str) -> None:
        with pytest.raises(ValueError, match="deduplication_id"):
            order(deduplication_id=word)

    def test_deduplication_methods_exclude_each_other(self) -> None:
        with pytest.raises(ValueError, match="choose one"):
            order(deduplication_id="a", content_based_deduplication=True)


class TestTheRest:
    def test_options_have_their_headers(self) -> None:
        made = headers(
            method="put",
            retries=0,
            retry_delay="1000 * (1 + retried)",
            callback="https://example.com/done",
            failure_callback="https://example.com/failed",
            flow_control={"key": "k", "parallelism": 2, "rate": "10", "period": "1m"},
            labels=["a", "b c"],
            redact="body, header[Authorization]",
        )

        assert made == {
            "Upstash-Method": "PUT",
            "Upstash-Retries": "0",
            "Upstash-Retry-Delay": "1000 * (1 + retried)",
            "Upstash-Callback": "https://example.com/done",
            "Upstash-Failure-Callback": "https://example.com/failed",
            "Upstash-Label": "a,b c",
            "Upstash-Redact-Fields": "body, header[Authorization]",
            "Upstash-Flow-Control-Key": "k",
            "Upstash-Flow-Control-Value": "parallelism=2, rate=10, period=60s",
        }

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("method", "HEAD"),
            ("method", ""),
            ("retries", -1),
            ("retries", 1.5),
            ("retries", "three"),
            ("retry_delay", "1\nUpstash-Delay: 5s"),
            ("retry_delay", ""),
            ("retry_delay", 1000),
            ("redact", "body\r\nX: y"),
            ("redact", " "),
            ("redact", "None"),
            ("retry_delay", "None"),
            ("labels", "a,b"),
            ("labels", ["a", ""]),
            ("labels", ["a\n"]),
            ("labels", "größe"),
            ("labels", ["None"]),
            ("labels", "none"),
            ("labels", [None]),
            ("labels", {"a": 1}),
            ("queue", ""),
            ("queue", "None"),
            ("queue", "a/b"),
            ("flow_control", {"rate": 5}),
            ("flow_control", {"key": "k"}),
            ("flow_control", {"key": "a\n", "rate": 5}),
            ("flow_control", {"key": "None", "rate": 5}),
            ("flow_control", {"key": "", "rate": 5}),
            ("flow_control", {"key": "k", "rate": None}),
            ("flow_control", {"key": "k", "rate": 0}),
            ("flow_control", {"key": "k", "rate": 5, "perid": 5}),
            ("flow_control", {"key": "k", "rate": 5, "period": "soon"}),
        ],
    )
    def test_invalid_option_is_refused_by_name(self, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match=name):
            order(**{name: value})

    def test_labels_are_read_once(self) -> None:
        assert headers(labels=(one for one in "ab"))["Upstash-Label"] == "a,b"
        assert "Upstash-Label" not in headers(labels=[])


class TestWords:
    @pytest.mark.parametrize(
        ("labels", "sent"), [("a", "a"), (["a", "b"], "a,b"), (5, "5"), ([5, "b"], "5,b"), (1.5, "1.5")]
    )
    def test_label_may_be_a_number_as_native_templates_give_it(self, labels: Any, sent: str) -> None:
        assert headers(labels=labels)["Upstash-Label"] == sent

    def test_flow_control_key_may_be_a_number(self) -> None:
        assert headers(flow_control={"key": 5, "rate": 5})["Upstash-Flow-Control-Key"] == "5"

    @pytest.mark.parametrize("key", ["user:1", "a/b", "a b", "user@example.com"])
    def test_flow_control_key_may_have_any_character(self, key: str) -> None:
        assert headers(flow_control={"key": key, "rate": 5})["Upstash-Flow-Control-Key"] == key


class TestSchedule:
    def test_message_of_a_schedule_may_have_a_queue_and_a_delay(self) -> None:
        found = headers(queue="q", delay="1m", is_scheduled=True)

        assert found["Upstash-Delay"] == "60s"

    def test_message_to_a_queue_may_not_be_delayed(self) -> None:
        with pytest.raises(InvalidArgumentError, match="with a queue"):
            order(queue="q", delay="1m")


class TestCallbackOptions:
    CALLBACK: ClassVar[dict[str, Any]] = {
        "method": "put",
        "retries": "2",
        "retry_delay": "1000",
        "delay": "1m",
        "timeout": 30,
        "headers": {"Authorization": "Bearer s3cret", "Content-Type": "text/plain"},
    }

    @pytest.mark.parametrize(
        ("name", "prefix"),
        [("callback", "Upstash-Callback"), ("failure_callback", "Upstash-Failure-Callback")],
    )
    def test_options_travel_under_the_callback(self, name: str, prefix: str) -> None:
        found = headers(**{name: "https://example.com/done", f"{name}_options": self.CALLBACK})

        assert {key: value for key, value in found.items() if key.startswith(f"{prefix}-")} == {
            f"{prefix}-Method": "PUT",
            f"{prefix}-Retries": "2",
            f"{prefix}-Retry-Delay": "1000",
            f"{prefix}-Delay": "60s",
            f"{prefix}-Timeout": "30s",
            f"{prefix}-Forward-Authorization": "Bearer s3cret",
            f"{prefix}-Forward-Content-Type": "text/plain",
        }

    def test_options_without_their_callback_are_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match="callback_options is given without callback"):
            order(callback_options={"retries": 2})

    @pytest.mark.parametrize(
        "wrong",
        [
            {"retry": 2},
            {"retries": -1},
            {"method": "SHOUT"},
            {"timeout": 0},
            {"headers": {"a b": "c"}},
            ["a"],
            "a",
        ],
    )
    def test_wrong_options_are_refused(self, wrong: Any) -> None:
        with pytest.raises(InvalidArgumentError):
            order(callback="https://example.com/done", callback_options=wrong)

    def test_options_that_a_template_has_made_a_text_of_are_not_shown(self) -> None:
        with pytest.raises(
            InvalidArgumentError, match="callback_options is a str; it must be a dict"
        ) as caught:
            order(callback="https://example.com/done", callback_options=str(self.CALLBACK))
        assert "s3cret" not in str(caught.value)

    def test_options_are_in_no_repr(self) -> None:
        assert "s3cret" not in repr(order(callback="https://example.com", callback_options=self.CALLBACK))


class TestExtraHeaders:
    def test_header_that_is_not_known_is_sent(self) -> None:
        assert headers(extra_headers={"Upstash-New": 5})["Upstash-New"] == "5"

    @pytest.mark.parametrize(
        "name",
        [
            *("Authorization", "upstash-deduplication-id", "Upstash-Method", "content-type", "Host"),
            *("Accept", "user-agent", "Transfer-Encoding", "Connection", "Proxy-Authorization"),
        ],
    )
    def test_header_that_the_provider_sends_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidArgumentError, match="which this provider sends itself"):
            order(extra_headers={name: "a"})

    @pytest.mark.parametrize("name", ["Upstash-Forward-X-Key", "upstash-forward-x-KEY"])
    def test_header_that_is_forwarded_already_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidArgumentError, match="which this provider sends itself"):
            order(headers={"X-Key": "a"}, extra_headers={name: "b"})

    @pytest.mark.parametrize(
        "wrong",
        [
            *({"a b": "hush"}, {"A": "hush\nc"}, {"A": "hüsh"}, {"A": " hush"}, {"A": None}),
            *(["A"], "hush", {"A": "hush", "a": "c"}),
        ],
        ids=str,
    )
    def test_header_that_cannot_be_sent_is_refused_and_never_shown(self, wrong: Any) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            order(extra_headers=wrong)
        assert "hush" not in str(caught.value)
        assert "hüsh" not in str(caught.value)


class TestNames:
    def test_names_of_the_operator_are_those_of_a_message_too(self) -> None:
        given = {"qstash_queue": "q", "delivery_retries": 2, "delivery_timeout": "5s", "labels": "a"}

        assert PublishOptions.by_field(given) == {"queue": "q", "retries": 2, "timeout": "5s", "labels": "a"}

    def test_option_that_is_given_twice_is_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match="delivery_retries is given twice"):
            PublishOptions.by_field({"retries": 1, "delivery_retries": 2})
