"""What every operator and sensor of QStash has: the connection."""

from __future__ import annotations

from typing import Any, ClassVar

from remote_tasks_provider.bases.arguments import CheckedOperator
from remote_tasks_provider.qstash.hooks import QStashHook

__all__ = ["QStashConnected"]


class QStashConnected(CheckedOperator):
    """An operator or a sensor that uses a connection to QStash; to be named before any other base.

    :param qstash_conn_id: the Airflow connection. Templated.
    """

    hook_class: ClassVar[type[QStashHook]] = QStashHook
    ui_color = "#dff3ea"

    def __init__(self, *, qstash_conn_id: str = QStashHook.default_conn_name, **kwargs: Any) -> None:
        # First: as soon as a sensor's own constructor is over, Airflow asks it how it begins.
        self.qstash_conn_id = qstash_conn_id
        super().__init__(**kwargs)
