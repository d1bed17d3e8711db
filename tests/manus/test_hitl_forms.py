"""A question of the agent's as a form, and a form's answer as what Manus takes: no action by default."""

from __future__ import annotations

from typing import Any

import pytest

from remote_tasks_provider.bases.hitl_forms import Question, Reply
from remote_tasks_provider.manus.hitl_forms import ANSWERED_THERE, SEND, STOP, Answer, form_for, read_answer
from remote_tasks_provider.manus.results import ManusQuestion

BUTTONS = (SEND, ANSWERED_THERE, STOP)
MAIL_SCHEMA = {
    "type": "object",
    "properties": {
        "accept": {"type": "boolean", "description": "Send it"},
        "save_draft": {"type": "boolean"},
        "choice": {"type": "string", "enum": ["now", "later"]},
        "copies": {"type": "integer"},
    },
}


def asked(text: str = "Which day?", **facts: Any) -> ManusQuestion:
    return ManusQuestion(text, event_id="evt_1", **facts)


def an_action(schema: Any = MAIL_SCHEMA, kind: str = "gmailSendAction", **facts: Any) -> ManusQuestion:
    return asked("Send the mail?", kind=kind, schema=schema, **facts)


def form(question: ManusQuestion, *, rich: bool = True, title: str | None = "Report") -> Question:
    return form_for(question, title, "https://manus.im/app/t1", rich=rich)


def replied(chosen: str = SEND, **fields: Any) -> Reply:
    return Reply((chosen,), fields, "Ada")


class TestForm:
    def test_question_has_a_field_and_buttons(self) -> None:
        made = form(asked())

        assert made.subject == "Which day? — “Report”"
        assert made.text == "Which day?"
        assert made.options == BUTTONS
        assert set(made.fields) == {"answer"}
        assert made.url == "https://manus.im/app/t1"

    def test_missing_title_and_text_are_reported(self) -> None:
        made = form(asked(""), title=None)

        assert made.subject == "The agent waits for an answer"
        assert "did not say" in made.text

    def test_subject_of_a_long_question_leaves_room_for_the_action_and_the_title(self) -> None:
        made = form(asked("May I?\n" + "and " * 200, kind="deployAction"))

        assert made.subject.startswith("May I? and and")
        assert made.subject.endswith("… [deployAction] — “Report”")
        assert form(asked("", kind="deployAction"), title=None).subject == (
            "The agent wants to do something [deployAction]"
        )

    def test_options_are_buttons_and_listed(self) -> None:
        made = form(asked(options=("Red", "Blue")))

        assert made.options == ("Red", "Blue", *BUTTONS)
        assert "- Red\n- Blue" in made.text

    def test_multiple_choice_options_are_only_listed(self) -> None:
        made = form(asked(options=("Red", "Blue"), multiple=True))

        assert made.options == BUTTONS
        assert "several are possible" in made.text

    def test_many_options_are_listed_and_some_are_buttons(self) -> None:
        options = tuple(f"Option {number}" for number in range(50))
        made = form(asked(options=options))

        assert made.options == (*options[:10], *BUTTONS)
        assert "- Option 49" in made.text

    @pytest.mark.parametrize("button", [SEND, STOP, ANSWERED_THERE, "send", " Stop  the task "])
    def test_option_named_like_a_button_has_a_name_of_its_own(self, button: str) -> None:
        question = asked(options=("Blue", button))
        made = form(question)

        assert made.options == ("Blue", f"Option 2: {' '.join(button.split())}", *BUTTONS)
        assert read_answer(question, Reply((made.options[1],), {})) == Answer(message=button)
        assert read_answer(question, Reply((STOP,), {})) == Answer(stop=True)

    def test_options_alike_are_told_apart(self) -> None:
        question = asked(options=("Blue", "blue", "Blue "))
        made = form(question)

        assert made.options == ("Blue", "Option 2: blue", "Option 3: Blue", *BUTTONS)

    @pytest.mark.parametrize(
        "options",
        [
            ("Option 2: Send", "Send"),
            ("Option 3: Stop the task", "Blue", "Stop the task"),
            ("Send", "Option 1: Send"),
        ],
    )
    def test_new_name_of_an_option_is_no_other_options_name(self, options: tuple[str, ...]) -> None:
        question = asked(options=options)
        made = form(question)
        shown = made.options[: -len(BUTTONS)]

        assert len({button.casefold() for button in made.options}) == len(options) + len(BUTTONS)
        assert [read_answer(question, Reply((button,), {})) for button in shown] == [
            Answer(message=option) for option in options
        ]

    def test_long_option_reaches_the_agent_whole(self) -> None:
        long = "a very long option " * 30
        question = asked(options=(long, long + "!"))
        first, second, *_ = form(question).options

        assert len(first) <= 200
        assert first != second
        assert read_answer(question, Reply((first,), {})) == Answer(message=long)
        assert read_answer(question, Reply((second,), {"answer": "soon"})) == Answer(
            message=f"{long}!\n\nsoon"
        )

    def test_plain_form_has_neither_options_nor_action_fields(self) -> None:
        assert form(asked(options=("Red",)), rich=False).options == BUTTONS
        assert set(form(an_action(), rich=False).fields) == {"answer"}

    def test_action_has_an_empty_field_for_each_input(self) -> None:
        made = form(an_action())

        assert made.subject == "Send the mail? [gmailSendAction] — “Report”"
        assert set(made.fields) == {"answer", "accept", "save_draft", "choice", "copies"}
        assert all(field["default"] is None for field in made.fields.values())
        assert made.fields["accept"]["type"] == ["boolean", "null"]
        assert made.fields["accept"]["description"] == "Send it"
        assert made.fields["choice"]["enum"] == ["now", "later", None]
        assert '"save_draft"' in made.text

    @pytest.mark.parametrize("odd", [None, 5, "now", {"a": 1}], ids=str)
    def test_odd_rule_of_an_input_is_left_out(self, odd: Any) -> None:
        rules = {"title": odd, "description": odd, "enum": odd}
        rules = {name: rule for name, rule in rules.items() if name == "enum" or not isinstance(odd, str)}
        made = form(an_action({"type": "object", "properties": {"choice": {"type": "string"} | rules}}))

        assert made.fields["choice"] == {"type": ["string", "null"], "default": None}

    @pytest.mark.parametrize(
        "properties",
        [
            {"secrets": {"type": "array", "items": {"type": "object"}}, "accept": {"type": "boolean"}},
            {"accept": {"type": ["boolean", "null"]}},
            {"accept": {}},
            {"accept": "boolean"},
            {"not a name": {"type": "string"}},
            {"answer": {"type": "string"}},
            {"question_code": {"type": "string"}},
            {"chosen_options": {"type": "string"}},
            {"naïve": {"type": "string"}},
            {"x" * 80: {"type": "string"}},
            ["accept"],
            None,
        ],
    )
    def test_inputs_that_do_not_fit_a_form_are_entered_as_json(self, properties: Any) -> None:
        made = form(an_action({"type": "object", "properties": properties}))

        assert set(made.fields) == {"answer"}
        assert made.options == BUTTONS

    @pytest.mark.parametrize("rich", [True, False])
    def test_secrets_are_never_entered_in_airflow(self, rich: bool) -> None:
        made = form(an_action(kind="webdevRequestSecrets"), rich=rich)

        assert made.fields == {}
        assert made.options == (ANSWERED_THERE, STOP)
        assert "in the Manus app only" in made.text

    def test_forms_are_accepted_by_airflow(self) -> None:
        for question in (asked(), asked(options=("a",) * 3), an_action(), an_action({})):
            assert Question(**form(question).to_json()).code == form(question).code


class TestTextAnswer:
    @pytest.mark.parametrize(
        ("reply", "message"),
        [
            (replied(answer=" Friday "), "Friday"),
            (replied("Blue"), "Blue"),
            (replied("Blue", answer="or green"), "Blue\n\nor green"),
            (replied(answer='{"accept": true}'), '{"accept": true}'),
            (replied(answer=7), "7"),
        ],
    )
    def test_answer_is_the_text_or_the_chosen_option(self, reply: Reply, message: str) -> None:
        assert read_answer(asked(options=("Blue",)), reply) == Answer(message=message)

    @pytest.mark.parametrize("answer", ["", "  \n", None])
    def test_empty_answer_is_refused(self, answer: Any) -> None:
        assert read_answer(asked(), replied(answer=answer)) == "the answer was empty"

    def test_cascading_question_is_answered_with_text(self) -> None:
        assert read_answer(asked(kind="cascadeAskUser"), replied(answer="Friday")) == Answer(message="Friday")


class TestActionAnswer:
    def test_input_holds_only_the_entered_fields(self) -> None:
        reply = replied(answer=None, accept=True, save_draft=None, choice="", copies=0)

        assert read_answer(an_action(), reply) == Answer(input={"accept": True, "copies": 0})

    def test_negative_input_is_passed_on(self) -> None:
        assert read_answer(an_action(), replied(accept=False)) == Answer(input={"accept": False})

    def test_json_overrides_the_fields(self) -> None:
        reply = replied(answer='{"accept": false, "indices": [1]}', accept=True)

        assert read_answer(an_action(), reply) == Answer(input={"accept": False, "indices": [1]})

    def test_empty_object_must_be_entered_explicitly(self) -> None:
        assert read_answer(an_action(), replied(answer="{}")) == Answer(input={})

    @pytest.mark.parametrize(
        "reply",
        [
            replied(),
            replied(answer="  ", accept=None),
            replied(answer="yes"),
            replied(answer="true"),
            replied(answer="[1]"),
            replied(answer='"accept"'),
            replied("Accept all"),
        ],
    )
    def test_incomplete_answer_confirms_no_action(self, reply: Reply) -> None:
        assert isinstance(read_answer(an_action(options=("Accept all",)), reply), str)


class TestOtherButtons:
    @pytest.mark.parametrize("question", [asked(), an_action(), an_action(kind="webdevRequestSecrets")])
    def test_buttons_stop_and_answered_there_send_no_answer(self, question: ManusQuestion) -> None:
        fields = {"answer": '{"accept": true}', "accept": True}

        assert read_answer(question, replied(STOP, **fields)) == Answer(stop=True)
        assert read_answer(question, replied(ANSWERED_THERE, **fields)) == Answer(elsewhere=True)

    def test_empty_reply_confirms_no_action(self) -> None:
        assert isinstance(read_answer(an_action(), Reply()), str)
        assert isinstance(read_answer(asked(), Reply()), str)
