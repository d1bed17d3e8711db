"""How an operator sends requests, and the base of those that do not wait for remote tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from remote_tasks_provider.bases.arguments import CheckedOperator
from remote_tasks_provider.bases.exceptions import request_exception
from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.bases.xcoms import hand_over
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.validation import Check

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["OneTaskOperator", "RequestOperator", "sending"]


@contextmanager
def sending(hook: RemoteTaskHook) -> Iterator[None]:
    """Send requests in a block: their errors leave it as Airflow's, and the hook's connections are closed."""
    with closing(hook):
        try:
            yield
        except RemoteTaskError as error:
            raise request_exception(error) from error


class RequestOperator(CheckedOperator):
    """Sends requests, and does not wait for remote tasks.

    No operator is silent: what :meth:`summary` returns is the last line of its log.
    """

    def act(self, hook: Any, context: Context) -> Any:
        """Send the requests; return what goes to XCom."""
        raise NotImplementedError

    def summary(self, found: Any) -> str:
        """Return what was done, for the log: a whole sentence.

        :param found: what :meth:`act` has returned.
        """
        return "Done: the service has accepted the request."

    def execute(self, context: Context) -> Any:
        """Send the requests; an error that a retry cannot resolve fails the task for good."""
        self.check_arguments()
        conn_id = getattr(self, self.hook_class.conn_name_attr)
        with closing(self.hook_class(conn_id)) as hook:
            try:
                found = self.act(hook, context)
            except RemoteTaskError as error:
                raise self.failure(error) from error
        self.log.info("%s", self.summary(found))
        return hand_over(self, context, found)

    def failure(self, error: RemoteTaskError) -> BaseException:
        """Return what to raise when a request failed."""
        return request_exception(error)


class OneTaskOperator(RequestOperator):
    """Does something with one remote task.

    :param remote_task_id: the task's id. Templated.
    """

    checks: ClassVar[Mapping[str, Check]] = {"remote_task_id": validation.object_id}

    def __init__(self, *, remote_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.remote_task_id = remote_task_id
