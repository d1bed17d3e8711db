"""The base of every operator that sends requests and does not wait for remote tasks."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from remote_tasks_provider.bases.exceptions import request_exception
from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.core.errors import RemoteTaskError

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["RequestOperator"]


class RequestOperator(BaseOperator):
    """Sends requests; a subclass has the parameter for the connection, named as its hook names it."""

    hook_class: ClassVar[type[RemoteTaskHook]]

    def act(self, hook: Any, context: Context) -> Any:
        """Send the requests; return what goes to XCom."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Send the requests; an error that a retry cannot resolve fails the task for good."""
        conn_id = getattr(self, self.hook_class.conn_name_attr)
        with closing(self.hook_class(conn_id)) as hook:
            try:
                return self.act(hook, context)
            except RemoteTaskError as error:
                raise self.failure(error) from error

    def failure(self, error: RemoteTaskError) -> BaseException:
        """Return what to raise when a request failed."""
        return request_exception(error)
