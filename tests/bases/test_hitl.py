"""Questions to a person: what is shown, what counts as an answer, and how a task pauses for it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, TaskDeferred
from markdown_it import MarkdownIt
from packaging.version import Version

import remote_tasks_provider.bases.hitl as human_module
from remote_tasks_provider.bases.compat import AWAITS_INPUT, SUPPORTS_HITL
from remote_tasks_provider.bases.hitl import HITLMixin
from remote_tasks_provider.bases.hitl_forms import (
    QUESTION_KEY,
    Question,
    Reply,
    ReplyRefusedError,
    form_of,
    is_reply,
    read_reply,
)
from remote_tasks_provider.core.errors import RemoteTaskError
from tests.bases.history import START, Clock, TaskInstance

with_people = pytest.mark.skipif(not SUPPORTS_HITL, reason="Airflow below 3.1.3")

PAGE = "https://manus.im/app/a"
FIELDS = {"answer": {"type": "string", "minLength": 1}}


def question(text: str = "Which colour?", **more: Any) -> Question:
    return Question(**{"subject": "The agent asks", "text": text, "fields": FIELDS, "url": PAGE, **more})


TWO_BUTTONS = question(options=("Send", "Stop"))


def event(code: str, *chosen: str, **answers: Any) -> dict[str, Any]:
    """As Airflow resumes a task with it."""
    return {
        "chosen_options": list(chosen or ("Send",)),
        "params_input": {**answers, "question_code": code},
        "responded_at": datetime.fromtimestamp(START, UTC),
        "responded_by_user": {"id": "7", "name": "Ada"},
        "timedout": False,
    }


# ------------------------------------------------------------------------------------------------ questions


class TestQuestion:
    @pytest.mark.parametrize(
        "other",
        [
            {"text": "Which size?"},
            {"subject": "Another"},
            {"options": ("Yes", "No")},
            {"fields": {}},
            {"url": "https://manus.im/app/b"},
        ],
    )
    def test_code_differs_with_every_difference(self, other: dict[str, Any]) -> None:
        assert question(**other).code != question().code

    def test_question_survives_being_stored(self) -> None:
        asked = question("a\u202eb" * 9000, options=(" Yes ", "No", "Yes", ""), url="https://x.example/a b")

        stored = Question(**json.loads(json.dumps(asked.to_json())))

        assert (stored, stored.code) == (asked, asked.code)
        assert stored.options == ("Yes", "No")

    @pytest.mark.parametrize("options", [(), ("", " \u200b ")])
    def test_question_without_an_option_is_refused(self, options: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match="options is empty"):
            question(options=options)

    @pytest.mark.parametrize("name", ["chosen_options", "_options", "question_code", "two words", "", "ä"])
    def test_field_name_that_does_not_fit_a_form_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="cannot be the name of a field"):
            question(fields={name: {}})

    def test_field_hints_are_cleaned(self) -> None:
        asked = question(fields={"a": {"title": "x\x00" + "y" * 900, "enum": ["b\u202e"], "maximum": 3}})

        schema = asked.fields["a"]
        assert (len(schema["title"]), schema["title"][:2], schema["title"][-1]) == (500, "xy", "…")
        assert (schema["enum"], schema["maximum"]) == (["b"], 3)


def shown(text: str, **more: Any) -> str:
    """Return what a person sees of a question's text: HTML, as a renderer of Markdown makes it."""
    body = form_of(question(text, **more), None, defaults=None)["body"]
    html: str = MarkdownIt("gfm-like", {"linkify": False}).render(body)
    return html.split("</blockquote>")[0]


class TestRendering:
    def test_form_that_will_be_replaced_speaks_of_no_other_question(self) -> None:
        kept, replaced = (
            form_of(question(), None, defaults=None, is_replaced=one)["body"] for one in (False, True)
        )

        assert "answered this already" in kept
        assert "answered this already" not in replaced

    @pytest.mark.parametrize(
        "text",
        [
            "# A heading",
            "**bold** _it_ ~~no~~ `code`",
            "![pixel](https://evil.example/p.png)",
            "[click](javascript:alert)",
            "https://evil.example/ www.evil.example a@evil.example",
            "<script>alert(1)</script> <b>x</b> &lt;b&gt;",
            "- a list",
            "1. a list",
            "---",
            "> a quotation",
            "| a | b |\n|---|---|\n| c | d |",
            "```\ncode\n```",
            "    code",
            "a line\\",
            "[ref]: https://evil.example",
            "two\nlines\n\n  indented",
        ],
    )
    def test_agent_text_is_shown_verbatim(self, text: str) -> None:
        html = shown(text)

        for tag in (
            "<h",
            "<strong",
            "<em",
            "<s>",
            "<code",
            "<img",
            "<a ",
            "<script",
            "<b>",
            "<ul",
            "<ol",
            "<table",
        ):
            assert tag not in html
        seen = html.replace("<br />", "").replace("<br>", "")
        for tag in ("<blockquote>", "<p>", "</p>"):
            seen = seen.replace(tag, "")
        for entity, char in {"&lt;": "<", "&gt;": ">", "&quot;": '"', "\xa0": " ", "&amp;": "&"}.items():
            seen = seen.replace(entity, char)
        assert "".join(seen.split()) == "".join(text.split())

    def test_lines_stay_lines(self) -> None:
        assert "Shall I:<br />\n\xa0\xa0- go" in shown("Shall I:\n  - go").replace("<br>", "<br />")

    def test_hidden_and_reordering_characters_are_removed(self) -> None:
        assert question("pay\u202e\u2066\x00\ud800\u200b me").text == "pay me"

    def test_long_text_is_cut(self) -> None:
        asked = question("x" * 20_000)

        assert (len(asked.text), asked.text[-1]) == (8000, "…")

    @pytest.mark.parametrize(
        ("url", "link"),
        [
            ("https://manus.im/app/a b)<x>", "(<https://manus.im/app/a%20b%29%3Cx%3E>)"),
            ("javascript:alert(1)", None),
            ("https://", None),
            ("https://[broken", None),
            (None, None),
        ],
    )
    def test_web_addresses_alone_become_links(self, url: str | None, link: str | None) -> None:
        body = form_of(question(url=url), None, defaults=None)["body"]

        assert f"[Open the remote task]{link}" in body if link else "Open the remote task" not in body

    def test_form_says_where_a_later_question_is(self) -> None:
        page = "http://airflow/dags/d/runs/r/tasks/t?try_number=1"

        body = form_of(question(), page, defaults=None)["body"]

        assert f"[{QUESTION_KEY}](<http://airflow/dags/d/runs/r/tasks/t/xcom>)" in body


class TestReading:
    def test_answer_with_the_code_is_accepted(self) -> None:
        asked = question()

        reply = read_reply(event(f" {asked.code.lower()} ", answer="blue", other=1), asked)

        assert reply == Reply(chosen=("Send",), fields={"answer": "blue"}, by="Ada")

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            (event(question("an earlier one").code, answer="blue"), "and Q[A-Z2-7]{5} was asked"),
            (event("", answer="blue"), "it has no code"),
            (event(TWO_BUTTONS.code, "Delete all", answer="blue"), "Delete all cannot be chosen"),
            (event(TWO_BUTTONS.code, "Send", "Stop", answer="blue"), "cannot be chosen"),
            (event(TWO_BUTTONS.code, answer=""), "answer: '' (should be non-empty|is too short)"),
            (event(TWO_BUTTONS.code), "answer: None is not of type 'string'"),
        ],
    )
    def test_answer_to_another_question_is_refused(self, given: dict[str, Any], why: str) -> None:
        with pytest.raises(ReplyRefusedError, match=why):
            read_reply(given, TWO_BUTTONS)

    def test_several_options_can_be_allowed(self) -> None:
        asked = question(options=("a", "b", "c"), multiple=True, fields={})

        assert read_reply(event(asked.code, "a", "c"), asked).chosen == ("a", "c")

    @pytest.mark.parametrize(
        "given",
        [
            {"chosen_options": [], "params_input": {}, "responded_by_user": None, "timedout": True},
            {"chosen_options": ["No answer in time"], "params_input": {}, "timedout": False},
            {"error": "The timeout has passed", "error_type": "timeout"},
        ],
    )
    def test_missing_answer_is_a_timeout(self, given: dict[str, Any]) -> None:
        assert read_reply(given, question()) == Reply(timed_out=True)

    @pytest.mark.parametrize("given", [None, {"error": "gone", "error_type": "unknown"}, "x"])
    def test_resumption_without_an_answer_is_an_error(self, given: Any) -> None:
        with pytest.raises(RemoteTaskError, match="without an answer"):
            read_reply(given, question())

    def test_event_of_a_wait_is_no_reply(self) -> None:
        assert not any(is_reply(other) for other in ({"records": {}, "errors": {}}, None, datetime.now(UTC)))


# ---------------------------------------------------------------------------------------------------- asking


class Agent(HITLMixin):
    """Tells what it was resumed with, and asks on while there are questions."""

    def heard(self, context: Any, reply: Reply, then_ask: list[Any] | None = None) -> Any:
        if then_ask:
            self.ask(context, Question(**then_ask[0]), then="heard", kwargs={"then_ask": then_ask[1:]})
        return reply

    def waited(self, context: Any, event: Any = None, **kwargs: Any) -> Any:
        return "resumed by its trigger", event, kwargs

    def wait(self, context: Any) -> Any:
        return "waits again", self.carried


class Desk:
    """Airflow, from the question to the answer: the first form of a task instance is the one it shows."""

    def __init__(self, clock: Clock) -> None:
        self.ti = TaskInstance(clock)
        self.ti.id = uuid.uuid4()  # type: ignore[attr-defined]
        self.context: dict[str, Any] = {"ti": self.ti}
        self.form: Any = None
        self.forms = 0

    def send(self, payload: Any) -> Any:
        from airflow.sdk.execution_time.comms import HITLDetailRequestResult

        assert payload.ti_id == self.ti.id  # type: ignore[attr-defined]
        self.forms += 1
        self.form = self.form or HITLDetailRequestResult(**payload.model_dump(exclude={"type"}))
        return self.form

    def pause_of(self, method: Any, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], float | None]:
        """Run until the task pauses; return what it is resumed with, and the seconds until it is."""
        if AWAITS_INPUT:
            from airflow.sdk.exceptions import TaskAwaitingInput

            with pytest.raises(TaskAwaitingInput) as pause:
                method(self.context, *args, **kwargs)
            assert pause.value.method_name == "resume_with_reply"
            timeout = pause.value.timeout
            seconds = None if timeout is None else timeout.total_seconds()
        else:
            with pytest.raises(TaskDeferred) as pause:
                method(self.context, *args, **kwargs)
            assert pause.value.method_name == "resume_with_reply"
            _, stored = pause.value.trigger.serialize()
            assert (stored["ti_id"], stored["defaults"]) == (self.ti.id, ["No answer in time"])  # type: ignore[attr-defined]
            assert pause.value.timeout is None
            until = stored["timeout_datetime"]
            seconds = None if until is None else (until - datetime.now(UTC)).total_seconds()
        return json.loads(json.dumps(pause.value.kwargs)), seconds


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Desk:
    made = Desk(clock)
    if SUPPORTS_HITL:
        import airflow.sdk.execution_time.task_runner as runner

        monkeypatch.setattr(runner, "SUPERVISOR_COMMS", made, raising=False)
    return made


@pytest.fixture
def agent() -> Agent:
    return Agent(task_id="ask")


def resume(agent: Agent, desk: Desk, kwargs: Mapping[str, Any], given: Any) -> Any:
    return agent.resume_execution("resume_with_reply", {**kwargs, "event": given}, desk.context)


@with_people
class TestAsking:
    def test_answer_resumes_the_named_method(self, agent: Agent, desk: Desk) -> None:
        kwargs, seconds = desk.pause_of(agent.ask, question(), then="heard", kwargs={"then_ask": []})

        reply = resume(agent, desk, kwargs, event(question().code, answer="blue"))

        assert (reply.fields, reply.by, seconds) == ({"answer": "blue"}, "Ada", None)
        assert desk.form.options == ["Send"]
        assert desk.form.params["question_code"]["value"] == question().code

    def test_last_line_says_what_the_task_waits_for(
        self, agent: Agent, desk: Desk, log_lines: list[str]
    ) -> None:
        desk.pause_of(agent.ask, question(), then="heard", response_timeout=60)

        assert log_lines[-1].startswith("This task continues when somebody has answered under Required Act")
        assert "UTC without an answer" in log_lines[-1]
        assert ("A triggerer must be running" in log_lines[-1]) is not AWAITS_INPUT

    def test_question_is_pushed_to_xcom(self, agent: Agent, desk: Desk) -> None:
        desk.pause_of(agent.ask, question(), then="heard")

        told = desk.ti.xcoms[QUESTION_KEY]
        assert (told["code"], told["text"], told["url"]) == (question().code, "Which colour?", PAGE)

    def test_several_rounds_fit_in_one_attempt(self, agent: Agent, desk: Desk) -> None:
        second = question("Which size?")
        first, _ = desk.pause_of(agent.ask, question(), then="heard", kwargs={"then_ask": [second.to_json()]})
        again, _ = desk.pause_of(lambda _: resume(agent, desk, first, event(question().code, answer="blue")))

        reply = resume(agent, desk, again, event(second.code, answer="large"))

        assert reply.fields == {"answer": "large"}
        assert desk.ti.xcoms[QUESTION_KEY]["text"] == "Which size?"

    def test_answer_to_the_first_question_does_not_answer_the_second(self, agent: Agent, desk: Desk) -> None:
        desk.pause_of(agent.ask, question(), then="heard")
        kwargs, _ = desk.pause_of(agent.ask, question("Which size?"), then="heard")

        stale = event(desk.form.params["question_code"]["value"], answer="blue")
        again, _ = desk.pause_of(lambda _: resume(agent, desk, kwargs, stale))

        assert (again, desk.forms) == (kwargs, 3)

    def test_second_attempt_takes_no_answer_to_an_earlier_question(self, agent: Agent, desk: Desk) -> None:
        desk.pause_of(agent.ask, question("of the first attempt"), then="heard")
        kwargs, _ = desk.pause_of(Agent(task_id="ask").ask, question(), then="heard")

        desk.pause_of(
            lambda _: resume(agent, desk, kwargs, event(question("of the first attempt").code, answer="x"))
        )

    @pytest.mark.parametrize(
        ("second", "users", "why"),
        [
            ({"options": ("Approve", "Reject")}, (), "other options"),
            ({"fields": {"size": {"type": "integer"}}}, (), "other fields"),
            ({"fields": {"answer": {"type": "integer"}}}, (), "other fields"),
            ({"multiple": True}, (), "other options"),
            ({}, ("bob",), "other users"),
        ],
    )
    def test_question_that_does_not_fit_the_shown_form_is_closed_and_reported(
        self, second: dict[str, Any], users: tuple[str, ...], why: str, agent: Agent, desk: Desk
    ) -> None:
        desk.pause_of(agent.ask, question(), then="heard")
        kwargs, seconds = desk.pause_of(
            agent.ask, question("Next?", **second), then="heard", assigned_users=users
        )

        reply = resume(agent, desk, kwargs, event(question("Next?", **second).code, answer="x"))

        assert seconds == pytest.approx(15, abs=1)
        assert why in (reply.unasked or "")
        assert (reply.chosen, reply.timed_out) == ((), False)

    def test_narrower_question_fits_the_shown_form(self, agent: Agent, desk: Desk) -> None:
        desk.pause_of(agent.ask, question(options=("Send", "Stop")), then="heard")
        kwargs, seconds = desk.pause_of(agent.ask, question("Next?", fields={}), then="heard")

        assert seconds is None
        assert resume(agent, desk, kwargs, event(question("Next?", fields={}).code)).chosen == ("Send",)

    def test_timeout_resumes_the_named_method(self, agent: Agent, desk: Desk) -> None:
        kwargs, seconds = desk.pause_of(agent.ask, question(), then="heard", response_timeout=60)

        reply = resume(agent, desk, kwargs, {"chosen_options": [], "params_input": {}, "timedout": True})

        assert seconds == pytest.approx(60, abs=2)
        assert reply == Reply(timed_out=True)

    def test_refused_answer_does_not_move_the_deadline(
        self, agent: Agent, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kwargs, _ = desk.pause_of(agent.ask, question(), then="heard", response_timeout=60)
        asked_at = kwargs["asked"]["deadline"] - 60
        monkeypatch.setattr(human_module.time, "time", lambda: asked_at + 40)

        _, seconds = desk.pause_of(lambda _: resume(agent, desk, kwargs, event("", answer="x")))

        assert seconds == pytest.approx(20, abs=2)

    def test_pause_is_never_so_short_that_airflow_fails_the_task(self, agent: Agent, desk: Desk) -> None:
        _, seconds = desk.pause_of(agent.ask, question(), then="heard", response_timeout=0.1)

        assert seconds == pytest.approx(15, abs=1)

    def test_assigned_users_alone_may_answer(self, agent: Agent, desk: Desk) -> None:
        desk.pause_of(agent.ask, question(), then="heard", assigned_users=["bob", "ada", "bob"])

        assert [(user.id, user.name) for user in desk.form.assigned_users] == [("ada", "ada"), ("bob", "bob")]

    def test_missing_method_is_refused_at_once(self, agent: Agent, desk: Desk) -> None:
        with pytest.raises(AttributeError, match="no_such"):
            agent.ask(desk.context, question(), then="no_such")

        assert desk.forms == 0


class TestStrayAnswer:
    def test_stray_answer_does_not_reach_the_method_of_another_wait(self, agent: Agent) -> None:
        stray = {**event("Q", answer="late")}

        assert agent.resume_execution("waited", {"event": stray, "index": 1}, {}) == (
            "waits again",
            {"index": 1},
        )

    def test_event_of_a_trigger_reaches_its_method(self, agent: Agent) -> None:
        result = agent.resume_execution("waited", {"event": {"records": {}}, "index": 1}, {})

        assert result == ("resumed by its trigger", {"records": {}}, {"index": 1})


class TestUnsupported:
    def test_task_fails_and_names_the_remedy(
        self, agent: Agent, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(human_module, "SUPPORTS_HITL", False)

        with pytest.raises(AirflowFailException, match=rf"needs .*-standard.* Answer it at {PAGE}"):
            agent.ask(desk.context, question(), then="heard")

    def test_missing_standard_provider_fails_the_task(
        self, agent: Agent, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(human_module, "SUPPORTS_HITL", True)
        monkeypatch.setattr(human_module, "AWAITS_INPUT", False)
        monkeypatch.setitem(__import__("sys").modules, "airflow.providers.standard.triggers.hitl", None)

        with pytest.raises(AirflowFailException, match="apache-airflow-providers-standard"):
            agent.ask(desk.context, question(), then="heard")

        assert desk.forms == 0

    def test_version_gate_is_airflow_3_1_3(self) -> None:
        import airflow

        version = Version(airflow.__version__).release
        assert (version >= (3, 1, 3), version >= (3, 3)) == (SUPPORTS_HITL, AWAITS_INPUT)

    def test_unhandled_resumption_is_reported(self) -> None:
        class Forgetful(HITLMixin, BaseOperator):
            pass

        with pytest.raises(NotImplementedError):
            Forgetful(task_id="x").resume_execution("waited", {"event": event("Q")}, {})
