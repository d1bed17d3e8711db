"""The operator that submits a task to the agent and waits for its result.

A task costs credits from the moment it is created, so three things are kept apart: submitting it once
(:mod:`.submission`), waiting for it (:mod:`remote_tasks_provider.bases.waiting`), and what this module
decides: what a kill, a timeout, a question or too high a bill does to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from remote_tasks_provider.bases.agent_tasks import AgentTaskOperator
from remote_tasks_provider.bases.links import push_link
from remote_tasks_provider.bases.metrics import METRICS
from remote_tasks_provider.bases.operators import Submitted
from remote_tasks_provider.bases.output import result_to_xcom
from remote_tasks_provider.bases.requests import sending
from remote_tasks_provider.bases.waiting import Settlement
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import (
    BudgetExceededError,
    InvalidArgumentError,
    RemoteTaskError,
    TaskCancelledError,
    TaskFailedError,
    TaskNeedsInputError,
)
from remote_tasks_provider.core.log import in_brackets
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.validation import Check
from remote_tasks_provider.manus.api.options import TaskOptions, check_slides_format
from remote_tasks_provider.manus.api.schemas import check_schema
from remote_tasks_provider.manus.attachments import attached_places, check_attachments, sort_attachments
from remote_tasks_provider.manus.connected import ManusTaskWait
from remote_tasks_provider.manus.hitl import ManusQuestions
from remote_tasks_provider.manus.links import ManusTaskLink
from remote_tasks_provider.manus.results import failure_text, summary_of
from remote_tasks_provider.manus.submission import ManusSubmission, mark_owed

if TYPE_CHECKING:
    from airflow.sdk import Context
    from pydantic import BaseModel

__all__ = ["ManusTaskOperator"]

CREDITS_KEY = "credit_usage"
"""The XCom key that holds what the task has cost."""


def _inputs_of_actions(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping) or not all(isinstance(one, Mapping) for one in value.values()):
        raise InvalidArgumentError(
            f"{name} is {value!r}; it must map action types to their inputs, such as "
            "{'apiHighCreditNotice': {'action': 'accept'}}"
        )
    return validation.mapping(value, name)


class ManusTaskOperator(ManusTaskWait, AgentTaskOperator):
    """Submits a task to the Manus agent, waits for it, and returns its result.

    With ``wait_for_completion=False`` it returns the task's id and page. Nothing looks at the task then, so
    ``max_credits``, ``auto_confirm``, ``result_path``, ``slides_format`` and another ``on_waiting`` than
    ``wait`` are refused.

    A task costs credits and is submitted once, whatever happens to the attempt that submitted it: see
    ``docs/concepts/submitting.md``. Its id and page are in XCom (``remote_task_id``, ``remote_task_url``)
    before the wait starts, and ``credit_usage`` when it succeeds or fails. Returns::

        {"id": …, "state": "completed", "url": …, "title": …, "text": <the agent's last word>,
         "structured": <the value asked for by a schema>,
         "files": [{"name": …, "content_type": …, "turn": …}], "credit_usage": …, "error": None, …}

    .. code-block:: python

        ask = ManusTaskOperator(
            task_id="ask", prompt="Summarise {{ ds }}'s news in 100 words.", deferrable=True, max_credits=200
        )

    :param prompt: what the agent should do; fewer than about 5,000 tokens. Templated.
    :param attachments: files for the agent: paths or URLs that ``ObjectStoragePath`` knows, which are
        uploaded (512 MB each at most); ``https://`` links, which Manus fetches itself (20 MB each); or
        ``{"file_id": …, "filename": …}`` of files that were uploaded before. Templated.
    :param agent_profile: ``manus-1.6`` (default), ``manus-1.6-lite`` or ``manus-1.6-max``. Templated.
    :param project_id: the project to file the task under, whose instruction it follows. Templated.
    :param connectors: ids of connectors (authorised in the Manus app) it may use; ``[]`` for none. Default:
        those that the connection names, or else those of the account. Templated.
    :param task_references: ids of at most 20 earlier tasks that it may read. API v2. Templated.
    :param locale: such as ``en``. Templated.
    :param title: what the task is called in the Manus app; default the names of DAG, task and run. A
        correlation tag such as ``[af-1b2c3d4e5f-1.2-9a8b7c6d]`` is added, by which later attempts find the
        task. API v2. Templated.
    :param structured_output_schema: a JSON schema of the value to return, of the
        `subset that Manus takes <https://open.manus.ai/docs/v2/structured-output>`__; or a pydantic model,
        whose fields that need not be given may then be ``null``. API v2. Templated.
    :param interactive_mode: whether the agent may ask questions.
    :param hide_in_task_list: whether to keep the task out of the Manus app's list.
    :param share_visibility: ``private`` (default), ``team`` or ``public``.
    :param timeout: seconds (or a ``timedelta``) from the first attempt's start until the operator gives up;
        default ``[sensors] default_timeout``. The time a person takes to answer does not count.
    :param on_waiting: when the agent waits for a person: ``wait`` on, ``return`` (succeed, with state
        ``waiting`` and the question as ``text``), ``fail``, or ``human``: put the question under *Required
        Actions* in Airflow (3.1.3 or newer) and send the agent what a person answers there.
    :param response_timeout: with ``human``: seconds (or a ``timedelta``) a person has to answer; then the
        operator checks whether the question was answered elsewhere, and fails if it was not. Default: no
        limit.
    :param assigned_users: with ``human``: the ids of those who may answer; default everybody who may.
    :param auto_confirm: action type → input: actions that are confirmed without asking, such as
        ``{"apiHighCreditNotice": {"action": "accept"}}``. Nothing else is ever confirmed by itself. API v2.
    :param auto_confirm_limit: how many actions, of all types together, are confirmed so in one attempt;
        ``on_waiting`` says what becomes of the next one. Default: any number.
    :param max_credits: what the task may cost. When a poll finds that it has cost more, it is stopped and the
        operator fails. Between two polls it can go over. API v2.
    :param min_credits: credits that the account must have for a task to be submitted; with fewer the operator
        fails without a retry, and nothing is paid. API v2. Templated.
    :param cancel_on_kill: stop the task when a user marks this one failed or successful. API v2; with v1 it
        keeps running and the log says where.
    :param cancel_on_timeout: stop the task when the operator gives up waiting. API v2.
    :param output_grace: seconds to wait, on a worker, for the output of a task that has just finished; it can
        lag behind.
    :param slides_format: ``pptx`` lists slides as files of that format; by default they are HTML. Give
        :class:`ManusDownloadFilesOperator` the same.
    :param result_path: a file to write the whole result to, as JSON, any URL that ``ObjectStoragePath``
        knows; XCom then holds the path instead of ``text`` and ``structured``. Templated.
    :param on_stale_state: an earlier attempt's task answers other inputs: ``fail``, ``reattach`` (take its
        result) or ``restart`` (stop it and pay for another).
    :param on_orphaned_intent: it is not known whether an earlier request created a task, and none is found:
        ``search`` submits one if the search saw all tasks, ``start`` in any case, ``fail`` never.
    :param not_found_grace: seconds within which a fresh task becomes visible.
    :param extra_body: fields of the request that this provider does not know yet. Nobody checks them; one
        that has a parameter here is refused. Templated.
    :param manus_conn_id: the Airflow connection. Templated.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        **TaskOptions.checks(prompt="-"),
        "interactive_mode": validation.flag,
        "hide_in_task_list": validation.flag,
        "attachments": check_attachments,
        "auto_confirm": validation.optional(_inputs_of_actions),
        "auto_confirm_limit": validation.optional(partial(validation.whole_number, least=1)),
        "max_credits": validation.optional(partial(validation.whole_number, least=1)),
        "min_credits": validation.optional(partial(validation.whole_number, least=1)),
        "structured_output_schema": validation.optional(check_schema),
        "output_grace": partial(validation.seconds, zero=True),
        "slides_format": validation.optional(check_slides_format),
    }
    template_fields: Sequence[str] = (
        "prompt",
        "attachments",
        "agent_profile",
        "project_id",
        "connectors",
        "task_references",
        "locale",
        "title",
        "structured_output_schema",
        "on_waiting",
        "max_credits",
        "min_credits",
        "result_path",
        "extra_body",
        "manus_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"prompt": "md", "structured_output_schema": "json"}
    operator_extra_links = (ManusTaskLink(),)
    only_while_waiting = ("auto_confirm", "max_credits", "result_path", "slides_format")
    questions_class = ManusQuestions
    still_running = "keeps running and costs credits"
    was_cancelled = "was stopped; it can be resumed in the Manus app"

    def __init__(
        self,
        *,
        prompt: str,
        attachments: Iterable[str | Mapping[str, str]] | None = None,
        agent_profile: str | None = None,
        project_id: str | None = None,
        connectors: Iterable[str] | None = None,
        task_references: Iterable[str] | None = None,
        locale: str | None = None,
        title: str | None = None,
        structured_output_schema: Mapping[str, Any] | type[BaseModel] | None = None,
        interactive_mode: bool = False,
        hide_in_task_list: bool = False,
        share_visibility: str | None = None,
        auto_confirm: Mapping[str, Mapping[str, Any]] | None = None,
        auto_confirm_limit: int | None = None,
        max_credits: int | str | None = None,
        min_credits: int | str | None = None,
        output_grace: float | str | timedelta = 30.0,
        slides_format: str | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.attachments = attachments
        self.agent_profile = agent_profile
        self.project_id = project_id
        self.connectors = connectors
        self.task_references = task_references
        self.locale = locale
        self.title = title
        self.structured_output_schema = structured_output_schema
        self.interactive_mode = interactive_mode
        self.hide_in_task_list = hide_in_task_list
        self.share_visibility = share_visibility
        self.auto_confirm = auto_confirm
        self.auto_confirm_limit = auto_confirm_limit
        self.max_credits: Any = max_credits
        self.min_credits: Any = min_credits
        self.output_grace: Any = output_grace
        self.slides_format = slides_format
        self.extra_body = extra_body
        self.check_together()

    def refuse_together(self) -> None:
        """Refuse what would cost more than the user wants, or lose what was paid for."""
        super().refuse_together()
        if self.auto_confirm and self.on_waiting == "wait":
            raise InvalidArgumentError(
                "auto_confirm is set, but on_waiting='wait' says nothing about all other questions: set it "
                "to 'human', 'return' or 'fail'"
            )

    # ------------------------------------------------------------------------------------------- submit

    def submit(self, context: Context) -> Submitted:
        """Submit the task, or re-attach to an earlier attempt's."""
        submitter = self.submitter(context)
        submitter.begin()
        with sending(self.hook):
            links, sources = sort_attachments(self.attachments or ())
            # The title is given to the request itself, with the tag of the attempt.
            options = TaskOptions(**TaskOptions.values_of(self) | {"files": links, "title": None})
            self._check_arguments(options)
            submission = ManusSubmission(self.hook, options, sources, self._title(context), self.min_credits)
            task = submitter.ensure(submission, options.fingerprint(*map(str, sources)))
        self.push_id(context, task.task_id)
        push_link(context, task.url)
        self._link_pushed = True
        self.log.info("Manus task %s%s.", task.task_id, in_brackets(task.url))
        result = {"id": task.task_id, "url": task.url, "title": self._title(context)}
        return Submitted([task.task_id], result, carried={"rounds": 0})

    def _check_arguments(self, options: TaskOptions) -> None:
        """Refuse what cannot work before anything is paid."""
        self.try_result_path()
        api = self.hook.api
        api.require(
            **{name: getattr(self, name) for name in ("auto_confirm", "max_credits", "min_credits", "title")}
        )
        api.check_options(options)

    def _title(self, context: Context) -> str:
        ti: Any = context["ti"]
        index = "" if ti.map_index is None or ti.map_index < 0 else f"[{ti.map_index}]"
        return self.title or f"{ti.dag_id}.{ti.task_id}{index} {ti.run_id}"

    def files_read(self) -> list[str]:
        """Return the places of the attachments."""
        return attached_places(self.attachments)

    # --------------------------------------------------------------------------------------------- wait

    def poll_rules(self) -> dict[str, Any]:
        """Return what ends the wait beside the end of the task."""
        return {
            **super().poll_rules(),
            "max_credits": self.max_credits,
            # The result, which is read on a worker, says how the task finished.
            "in_detail": False,
        }

    # ------------------------------------------------------------------------------------------- finish

    def finish(self, context: Context, result: WaitResult) -> Any:
        """Return the result, deal with a question, or raise."""
        self._restore(context, result.records)
        ((task_id, record),) = result.records.items()
        state = TaskState(record["state"]) if record else TaskState.UNKNOWN
        credits = (record or {}).get("credit_usage")
        if self.max_credits is not None and (credits or 0) > self.max_credits and not state.is_terminal:
            self.push_credits(context, credits)
            raise self._over_budget(context, task_id, credits)
        if any(one["type"] == TaskNeedsInputError.__name__ for one in result.errors.values()):
            self.push_credits(context, credits)
        if state is TaskState.FAILED and not (record or {}).get("error"):
            result = self._with_reason(task_id, result)
        return super().finish(context, result)

    def _with_reason(self, task_id: str, result: WaitResult) -> WaitResult:
        """Return the result of a task that failed with its reason: with v2, only its messages have it."""
        try:
            error = self.hook.get_result(task_id, output_grace=0).error
        except RemoteTaskError as problem:
            error = f"the reason could not be read: {problem}"
        return replace(result, records={task_id: {**(result.records[task_id] or {}), "error": error}})

    def collect(self, context: Context, result: WaitResult) -> Any:
        """Return the result of the task."""
        ((task_id, record),) = result.records.items()
        wants_value = self.structured_output_schema is not None
        # If this fails, a retry re-attaches to the finished task, and fetches its result.
        with sending(self.hook):
            found = self.hook.get_result(
                task_id,
                structured=wants_value,
                output_grace=self.output_grace,
                slides_format=self.slides_format,
            )
        self.push_credits(context, found.credit_usage)
        if self.raise_on_failure and found.state is TaskState.FAILED:
            failure = TaskFailedError(failure_text(found))
            raise self.wait_exception(failure, None) from failure
        if self.raise_on_failure and found.state is TaskState.CANCELLED:
            stopped = TaskCancelledError(
                f"{self.remote_task_type.label} {task_id} was stopped by a user{in_brackets(found.url)}"
            )
            raise self.wait_exception(stopped, None) from stopped
        self.log.info("%s", summary_of(found.to_json()))
        return result_to_xcom({**(record or {}), **found.to_json()}, self.result_path, self.log)

    def failed(self, context: Context, error: RemoteTaskError, result: WaitResult) -> BaseException:
        """Leave what the task has cost in XCom, then fail."""
        (record,) = result.records.values()
        self.push_credits(context, (record or {}).get("credit_usage"))
        return super().failed(context, error, result)

    def push_credits(self, context: Context, credits: int | None) -> None:
        """Leave in XCom what the task has cost; once, when the operator ends."""
        if credits is not None:
            context["ti"].xcom_push(key=CREDITS_KEY, value=credits)
            METRICS.spent(self.remote_task_type.service.name, credits)

    def _over_budget(self, context: Context, task_id: str, credits: Any) -> BaseException:
        aftermath = self.cancel("it has cost more than max_credits")
        next_step = f"{aftermath} Stop it in the Manus app." if aftermath.still_run else str(aftermath)
        error = BudgetExceededError(
            f"{self.remote_task_type.label} {task_id} has cost {credits} credits, more than max_credits "
            f"({self.max_credits}). {next_step}"
        )
        return self.wait_exception(error, None)

    # ------------------------------------------------------------------------------------------- cancel

    def settle(self, context: Context, settlement: Settlement) -> None:
        """Note it in the record of the submission, or in the title where no record outlives a clear."""
        submitter = self.submitter(context)
        settlement = submitter.settle_alive(settlement, lambda: self._is_killed)
        if settlement == "undelivered" and not submitter.outlives_clears:
            try:
                mark_owed(self.hook, self._own[0], submitter.key, submitter.attempt.number)
            except RemoteTaskError as error:
                self.log.warning("A clear may submit another task: the title could not be marked: %s", error)
