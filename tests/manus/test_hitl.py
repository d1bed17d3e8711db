"""How questions of the agent are handled: waited for, returned, failed, confirmed or answered."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from remote_tasks_provider.bases import hitl as bases_hitl
from remote_tasks_provider.bases.compat import AWAITS_INPUT
from remote_tasks_provider.core.errors import TaskCancelledError, TaskNeedsInputError, TransportError
from remote_tasks_provider.manus import hitl as manus_hitl
from remote_tasks_provider.manus.hitl_forms import ANSWERED_THERE, SEND, STOP
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.operators import ManusTaskOperator
from remote_tasks_sandbox.manus import wire
from remote_tasks_sandbox.manus.task import ManusTask, Received
from tests.manus.airflow_task import MODES, Account, AirflowTask, Make

pytestmark = pytest.mark.skipif(not AWAITS_INPUT, reason="people answer as Airflow 3.3 lets them")

ASKS = [("running", 20), ("pending", None), ("running", 20), ("completed", None)]
MAIL = {"type": "gmailSendAction", "description": "Send the mail to Ada?"}
COSTLY = "apiHighCreditNotice"
ACCEPT = {"action": "accept"}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["v1", "v2", "best"])
def version(request: pytest.FixtureRequest, account: Account) -> str:
    account.connect(request.param)
    return str(request.param)


def asks(mode: str = "on a worker", **arguments: Any) -> Make:
    given = {"task_id": "ask", "prompt": "Do it.", "poll_interval": 10, "timeout": 3600, **arguments}
    return lambda: ManusTaskOperator(deferrable=mode == "deferred", **given)


def answers(account: Account) -> list[Received]:
    return account.manus.answers(account.created[0])


class TestOnWaiting:
    @pytest.fixture(autouse=True)
    def _question(self, account: Account) -> None:
        account.manus.plan(script=ASKS, question="Which day?")

    def test_wait_ends_with_the_timeout(self, account: Account, mode: str, version: str) -> None:
        with pytest.raises(AirflowSensorTimeout, match="waiting"):
            account.task().attempt(asks(mode, timeout=600))

        assert answers(account) == []

    def test_wait_continues_once_answered_in_the_app(self, account: Account, mode: str) -> None:
        sandbox = account.sandbox
        advance = sandbox.clock.advance

        def answer_after_a_while(seconds: float) -> None:
            advance(seconds)
            if account.created and answers(account) == [] and self.waits(account):
                task = account.manus.get(account.created[0])
                assert task is not None
                task.take("message", "app", sandbox.clock.now(), {}, text="Friday")

        account.patch.setattr(sandbox.clock, "advance", answer_after_a_while)

        assert account.task().attempt(asks(mode))["state"] == "completed"

    def waits(self, account: Account) -> bool:
        return account.word(account.created[0]) == "pending"

    def test_return_succeeds_with_the_question(self, account: Account, mode: str, version: str) -> None:
        result = account.task().attempt(asks(mode, on_waiting="return"))

        assert (result["state"], result["text"]) == ("waiting", "Which day?")
        assert answers(account) == []

    def test_fail_is_final_and_names_the_remedy(self, account: Account, mode: str, version: str) -> None:
        with pytest.raises(AirflowFailException) as failed:
            account.task(retries=3).attempt(asks(mode, on_waiting="fail"))

        text = str(failed.value)
        assert isinstance(failed.value.__cause__, TaskNeedsInputError)
        assert all(
            word in text for word in ("Which day?", account.created[0], "/app/", "then clear this task")
        )
        assert answers(account) == []

    def test_clear_resumes_the_same_task(self, account: Account, mode: str) -> None:
        task = account.task()
        with pytest.raises(AirflowFailException):
            task.attempt(asks(mode, on_waiting="fail"))
        account.manus.set_script(account.created[0], [("running", 20), ("completed", None)])
        task.clear()

        assert [task.attempt(asks(mode, on_waiting="fail"))["id"]] == account.created


class TestAutoConfirm:
    def plan(self, account: Account, *waiting: Any, **facts: Any) -> None:
        steps: list[Any] = [("running", 20)]
        for _ in waiting:
            steps += [("pending", None), ("running", 20)]
        account.manus.plan(script=[*steps, ("completed", None)], waiting=list(waiting), **facts)

    def test_listed_action_is_confirmed_with_its_input(self, account: Account, mode: str) -> None:
        self.plan(account, COSTLY, COSTLY)

        result = account.task().attempt(asks(mode, on_waiting="fail", auto_confirm={COSTLY: ACCEPT}))

        assert result["state"] == "completed"
        assert [one.input for one in answers(account)] == [ACCEPT, ACCEPT]

    @pytest.mark.parametrize(("limit", "confirmed"), [(1, 1), (2, 2), (3, 3), ("2", 2)])
    def test_limit_ends_automatic_confirmations(
        self, account: Account, mode: str, limit: int, confirmed: int
    ) -> None:
        self.plan(account, COSTLY, COSTLY, COSTLY)
        make = asks(mode, on_waiting="return", auto_confirm={COSTLY: ACCEPT}, auto_confirm_limit=limit)

        result = account.task().attempt(make)

        assert result["state"] == ("completed" if confirmed == 3 else "waiting")
        assert len(answers(account)) == confirmed

    @pytest.mark.parametrize(
        "waiting",
        ["gmailSendAction", "messageAskUser", "apihighcreditnotice"],
    )
    @pytest.mark.parametrize("on_waiting", ["fail", "return"])
    def test_unlisted_action_is_not_confirmed(
        self, account: Account, mode: str, waiting: str, on_waiting: str
    ) -> None:
        self.plan(account, waiting)
        make = asks(mode, on_waiting=on_waiting, auto_confirm={COSTLY: ACCEPT})

        if on_waiting == "fail":
            with pytest.raises(AirflowFailException):
                account.task().attempt(make)
        else:
            assert account.task().attempt(make)["state"] == "waiting"
        assert answers(account) == []

    def test_action_without_auto_confirm_is_not_confirmed(self, account: Account, mode: str) -> None:
        self.plan(account, COSTLY)

        with pytest.raises(AirflowFailException):
            account.task().attempt(asks(mode, on_waiting="fail"))

        assert answers(account) == []

    def test_unused_input_is_given_once(self, account: Account, mode: str) -> None:
        self.plan(account, {"type": "deployAction", "unconfirmed": 99})

        with pytest.raises(
            AirflowFailException, match="did not accept what auto_confirm has for deployAction"
        ):
            account.task().attempt(
                asks(mode, on_waiting="fail", auto_confirm={"deployAction": {"accept": True}})
            )

        assert len(answers(account)) == 1

    def test_refused_input_is_given_once(self, account: Account, mode: str) -> None:
        self.plan(account, COSTLY)

        with pytest.raises(AirflowFailException, match=f"did not accept what auto_confirm has for {COSTLY}"):
            account.task().attempt(
                asks(mode, on_waiting="fail", auto_confirm={COSTLY: {"action": "perhaps"}})
            )

    @pytest.mark.parametrize("fault", ["drop_after", "drop_before"])
    def test_lost_confirmation_is_given_once(self, account: Account, mode: str, fault: str) -> None:
        self.plan(account, COSTLY)
        account.faults.add(fault, path="*/task.confirmAction", times=1)
        task = account.task(retries=1)

        result = task.attempts(asks(mode, on_waiting="fail", auto_confirm={COSTLY: ACCEPT}))

        assert result["state"] == "completed"
        assert len(answers(account)) == 1
        assert len(account.created) == 1
        assert task.try_number == (1 if fault == "drop_after" else 2)


class TestHuman:
    def plan(self, account: Account, *waiting: Any, **facts: Any) -> None:
        steps: list[Any] = [("running", 20)]
        for _ in waiting:
            steps += [("pending", None), ("running", 20)]
        account.manus.plan(script=[*steps, ("completed", None)], waiting=list(waiting), **facts)

    def test_answer_is_sent_to_the_agent(self, account: Account, mode: str, version: str) -> None:
        account.manus.plan(script=ASKS, question="Which day?", answer="Done.")
        task = account.task((SEND, {"answer": "Friday"}))

        result = task.attempt(asks(mode, on_waiting="human"))

        assert result["text"] == "Done."
        assert [one.text for one in answers(account)] == ["Friday"]
        assert len(account.created) == 1
        (form,) = task.desk.asked
        assert r"Which day\?" in form["body"]
        assert f"/app/{account.created[0]}" in form["body"]

    def test_several_rounds_fit_in_one_attempt(self, account: Account, mode: str) -> None:
        self.plan(account, {"description": "Which day?"}, MAIL, {"description": "Which colour?"})
        task = account.task(
            (SEND, {"answer": "Friday"}), (SEND, {"answer": '{"accept": true}'}), (SEND, {"answer": "Blue"})
        )

        assert task.attempt(asks(mode, on_waiting="human"))["state"] == "completed"
        assert [one.text or one.input for one in answers(account)] == ["Friday", {"accept": True}, "Blue"]

    def test_option_is_a_button(self, account: Account, mode: str) -> None:
        self.plan(account, {"options": ["Red", "Blue"], "description": "Which colour?"})
        task = account.task("Blue")

        task.attempt(asks(mode, on_waiting="human"))

        assert task.desk.asked[0]["options"] == ["Red", "Blue", SEND, ANSWERED_THERE, STOP]
        assert [one.text for one in answers(account)] == ["Blue"]

    def test_action_is_confirmed_with_the_entered_input(self, account: Account, mode: str) -> None:
        self.plan(account, {"type": "deployAction", "description": "Deploy?"})
        task = account.task((SEND, {"answer": None, "accept": True, "global_allow": None}))

        task.attempt(asks(mode, on_waiting="human"))

        assert [one.input for one in answers(account)] == [{"accept": True}]

    def test_empty_form_confirms_no_action(self, account: Account, mode: str) -> None:
        self.plan(account, {"type": "deployAction", "description": "Deploy?"})
        empty = (SEND, {"answer": None, "accept": None, "global_allow": None})
        task = account.task(empty, empty, (SEND, {"answer": '{"accept": true}', "accept": None}))

        task.attempt(asks(mode, on_waiting="human"))

        assert len(task.desk.asked) == 3
        assert [one.input for one in answers(account)] == [{"accept": True}]

    def test_empty_answer_is_asked_again(self, account: Account, mode: str) -> None:
        account.manus.plan(script=ASKS)
        task = account.task((SEND, {"answer": "  "}), (SEND, {"answer": "Friday"}))

        task.attempt(asks(mode, on_waiting="human"))

        assert [one.text for one in answers(account)] == ["Friday"]

    def test_unused_answer_is_asked_again(self, account: Account, mode: str) -> None:
        self.plan(account, MAIL)
        task = account.task((SEND, {"answer": '{"accept": false}'}), (SEND, {"answer": '{"accept": true}'}))

        assert task.attempt(asks(mode, on_waiting="human"))["state"] == "completed"
        assert [one.confirmed for one in answers(account)] == [False, True]

    def test_refused_answer_is_asked_again(self, account: Account, mode: str) -> None:
        self.plan(account, MAIL)
        task = account.task((SEND, {"answer": '{"accept": 7}'}), (SEND, {"answer": '{"accept": true}'}))

        assert task.attempt(asks(mode, on_waiting="human"))["state"] == "completed"
        assert [one.input for one in answers(account)] == [{"accept": True}]

    def test_question_without_any_event_is_answered_once(self, account: Account, mode: str) -> None:
        """The task says that it waits, and no event of it does."""
        account.connect("v2")
        account.patch.setattr(wire, "_status", lambda _: [])
        self.plan(account, {"description": "Shall I?"}, {"description": "Shall I?"})
        task = account.task((SEND, {"answer": "Yes"}), (SEND, {"answer": "Again"}))

        assert task.attempt(asks(mode, on_waiting="human"))["state"] == "completed"
        assert [one.text for one in answers(account)] == ["Yes", "Again"]
        assert len(task.desk.asked) == 2

    def test_options_of_the_agent_are_no_buttons_of_the_form(self, account: Account, mode: str) -> None:
        self.plan(account, {"options": [STOP, SEND, "x" * 300], "description": "What now?"})
        task = account.task(f"Option 1: {STOP}")

        assert task.attempt(asks(mode, on_waiting="human"))["state"] == "completed"
        assert [one.text for one in answers(account)] == [STOP]

    def test_option_too_long_for_a_button_reaches_the_agent_whole(self, account: Account, mode: str) -> None:
        self.plan(account, {"options": ["x" * 300, "Blue"], "description": "What now?"})
        task = account.task("x" * 199 + "…")

        assert task.attempt(asks(mode, on_waiting="human"))["state"] == "completed"
        assert [one.text for one in answers(account)] == ["x" * 300]

    def test_question_answered_elsewhere_is_not_answered_again(self, account: Account, mode: str) -> None:
        account.manus.plan(script=ASKS)
        task = account.task((SEND, {"answer": "Friday"}))
        reply = task.desk.reply

        def meanwhile() -> Any:
            account.manus.set_script(account.created[0], [("running", 20), ("completed", None)])
            return reply()

        account.patch.setattr(task.desk, "reply", meanwhile)

        assert task.attempt(asks(mode, on_waiting="human"))["state"] == "completed"
        assert answers(account) == []

    def test_answered_in_the_app_asks_about_the_next_question(self, account: Account, mode: str) -> None:
        account.manus.plan(script=ASKS)
        task = account.task(ANSWERED_THERE, (SEND, {"answer": "Friday"}))

        task.attempt(asks(mode, on_waiting="human"))

        assert len(task.desk.asked) == 2
        assert [one.text for one in answers(account)] == ["Friday"]

    def test_stop_button_stops_the_task_and_is_final(self, account: Account, mode: str) -> None:
        account.manus.plan(script=ASKS)
        task = account.task(STOP, retries=3)

        with pytest.raises(AirflowFailException, match="was stopped by Ada") as failed:
            task.attempt(asks(mode, on_waiting="human"))

        assert isinstance(failed.value.__cause__, TaskCancelledError)
        assert account.word(account.created[0]) == "stopped"

    def test_stop_button_with_v1_says_that_the_task_continues(self, account: Account, mode: str) -> None:
        account.connect("v1")
        account.manus.plan(script=ASKS)

        with pytest.raises(AirflowFailException, match="could not be stopped"):
            account.task(STOP).attempt(asks(mode, on_waiting="human"))

    def test_response_timeout_is_final_and_leaves_the_task(self, account: Account, mode: str) -> None:
        account.manus.plan(script=ASKS, question="Which day?")
        task = account.task(None, retries=3)

        with pytest.raises(
            AirflowFailException, match=r"No answer was given in Airflow within 120 s.*then clear"
        ):
            task.attempt(asks(mode, on_waiting="human", response_timeout=120))

        assert account.word(account.created[0]) == "pending"

    def test_response_time_does_not_count_towards_the_timeout(self, account: Account, mode: str) -> None:
        account.manus.plan(script=[("running", 20), ("pending", None), ("running", 500), "completed"])
        task = account.task((SEND, {"answer": "Friday"}))
        reply = task.desk.reply

        def late() -> Any:
            account.sandbox.clock.advance(86_400)
            return reply()

        account.patch.setattr(task.desk, "reply", late)

        assert task.attempt(asks(mode, on_waiting="human", timeout=600))["state"] == "completed"

    def test_secrets_are_not_asked_for(self, account: Account, mode: str) -> None:
        self.plan(account, "webdevRequestSecrets")
        task = account.task(STOP)
        with pytest.raises(AirflowFailException):
            task.attempt(asks(mode, on_waiting="human"))

        (form,) = task.desk.asked
        assert form["options"] == [ANSWERED_THERE, STOP]
        assert set(form["params"]) == {"question_code"}

    def test_assigned_users_are_asked(self, account: Account) -> None:
        account.manus.plan(script=ASKS)
        task = account.task((SEND, {"answer": "Friday"}))

        task.attempt(asks(on_waiting="human", assigned_users=["7", "8"]))

        assert [user["id"] for user in task.desk.asked[0]["assigned_users"]] == ["7", "8"]

    @pytest.mark.parametrize("fault", ["drop_after", "drop_before"])
    def test_lost_answer_is_sent_once(self, account: Account, mode: str, version: str, fault: str) -> None:
        account.manus.plan(script=ASKS)
        path = "*/v1/tasks" if version == "v1" else "*/task.sendMessage"
        account.faults.add(fault, path=path, method="POST", times=1, after=1 if version == "v1" else 0)
        task = account.task((SEND, {"answer": "Friday"}), (SEND, {"answer": "Friday"}), retries=1)

        assert task.attempts(asks(mode, on_waiting="human"))["state"] == "completed"
        assert [one.text for one in answers(account)] == ["Friday"]
        assert len(account.created) == 1

    def test_answer_refused_for_now_is_asked_again_by_a_retry(self, account: Account, mode: str) -> None:
        account.connect("v2", max_attempts=1)
        account.manus.plan(script=ASKS)
        account.faults.add("status", path="*/task.sendMessage", status=429, times=1)
        task = account.task((SEND, {"answer": "Friday"}), (SEND, {"answer": "Friday"}), retries=1)

        assert task.attempts(asks(mode, on_waiting="human"))["state"] == "completed"
        assert [one.text for one in answers(account)] == ["Friday"]
        assert task.try_number == 2

    def test_answer_that_did_not_arrive_fails_the_attempt(self, account: Account) -> None:
        account.manus.plan(script=ASKS)
        account.faults.add("drop_before", path="*/task.sendMessage", times=1)
        task = account.task((SEND, {"answer": "Friday"}))

        with pytest.raises(TransportError):
            task.attempt(asks(on_waiting="human"))


class TestStaleForm:
    """Airflow below 3.4 shows the first form of a task for ever; what it lacks cannot be answered there."""

    def second_question(self, account: Account, *answers: Any, **second: Any) -> AirflowTask:
        """Let a first attempt fail with a question, which is then answered in the app; another follows."""
        account.manus.plan(
            script=[
                ("running", 20),
                ("pending", None),
                ("pending", None),
                ("running", 20),
                ("completed", None),
            ],
            waiting=[{"description": "Which day?"}, second],
        )
        task = account.task(None, *answers)
        with pytest.raises(AirflowFailException):
            task.attempt(asks(on_waiting="human", response_timeout=60))
        ManusHook().send_message(account.created[0], "Friday")
        task.clear()
        return task

    def test_missing_options_are_entered_as_text(self, account: Account, mode: str) -> None:
        task = self.second_question(
            account, None, (SEND, {"answer": "Blue"}), description="Which colour?", options=["Red", "Blue"]
        )

        assert task.attempt(asks(mode, on_waiting="human"))["state"] == "completed"
        assert [one.text for one in answers(account)] == ["Friday", "Blue"]
        assert [form["options"][0] for form in task.desk.asked] == [SEND, "Red", SEND]

    def test_changed_assigned_users_fail_the_attempt(self, account: Account, mode: str) -> None:
        task = self.second_question(account, None, None, description="Which colour?")

        with pytest.raises(AirflowFailException, match=r"for other users.*then clear this task"):
            task.attempt(asks(mode, on_waiting="human", assigned_users=["7"]))


class TestReplacedForm:
    """From Airflow 3.4 on each question has a form of its own."""

    def test_later_question_has_its_own_buttons_and_fields(
        self, account: Account, mode: str, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
    ) -> None:
        for module in (manus_hitl, bases_hitl):
            monkeypatch.setattr(module, "FORMS_ARE_REPLACED", True)
        colours = {"description": "Which colour?", "options": ["Red", "Blue"]}
        steps = [*ASKS[:2], *ASKS[1:]]
        account.manus.plan(script=steps, waiting=[{"description": "Which day?"}, colours])
        task = account.task((SEND, {"answer": "Friday"}), "Blue")
        task.desk.replaces = True

        assert task.attempt(asks(mode, on_waiting="human"))["state"] == "completed"
        assert [one.text for one in answers(account)] == ["Friday", "Blue"]
        assert task.desk.asked[1]["options"] == ["Red", "Blue", SEND, ANSWERED_THERE, STOP]
        assert not [form for form in task.desk.asked if "answered this already" in form["body"]]
        assert not [line for line in log_lines if "keeps showing" in line]


class TestLaggingStatus:
    """Manus takes an answer, and goes on saying for a while that it waits."""

    @pytest.fixture(autouse=True)
    def _lag(self, account: Account) -> None:
        account.manus.plan(script=[("running", 20), ("pending", None), ("running", 200), ("completed", None)])
        clock, advance, take = account.sandbox.clock, account.sandbox.clock.advance, ManusTask.take

        def take_in_secret(task: ManusTask, *parts: Any, **fields: Any) -> None:
            take(task, *parts, **fields)
            task.extra = {"status": "waiting"}

        def let_it_show(seconds: float) -> None:
            advance(seconds)
            task = account.manus.get(account.created[0]) if account.created else None
            if task and task.received and clock.now() >= task.received[0].at + 40:
                task.extra = {}

        account.patch.setattr(ManusTask, "take", take_in_secret)
        account.patch.setattr(clock, "advance", let_it_show)

    def test_answer_is_sent_once_while_the_status_lags(self, account: Account, mode: str) -> None:
        task = account.task((SEND, {"answer": "Friday"}))

        assert task.attempt(asks(mode, on_waiting="human"))["state"] == "completed"
        assert [one.text for one in answers(account)] == ["Friday"]
        assert len(task.desk.asked) == 1
        assert len(account.sandbox.requests) < 150


class TestOpenForm:
    def test_stray_response_is_not_sent(self, account: Account) -> None:
        account.manus.plan(script=[("running", 600), ("completed", None)])
        task = account.task()
        deferral = task.defer(asks("deferred", on_waiting="human"))
        stray = {"chosen_options": [SEND], "params_input": {"answer": "Friday"}, "timedout": False}

        result = task.resume(
            asks("deferred", on_waiting="human"), deferral.method_name, {**deferral.kwargs, "event": stray}
        )

        assert result["state"] == "completed"
        assert answers(account) == []
