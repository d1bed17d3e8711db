"""The hook every vendor's hook is made of: connection, client, form and connection test."""

from __future__ import annotations

import re
import time
from functools import cached_property
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from remote_tasks_provider.bases.connection import connection_config, read_connection, variable_of
from remote_tasks_provider.bases.metrics import METRICS
from remote_tasks_provider.core.cancellation import one_attempt
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.rate_limit import limiter_for
from remote_tasks_provider.core.http.transport import RequestsTransport
from remote_tasks_provider.core.manifest import Manifest
from remote_tasks_provider.core.polling.drivers import Link
from remote_tasks_provider.core.polling.session import PollSession
from remote_tasks_provider.core.service import Service, TaskType

__all__ = ["RemoteTaskHook"]


class RemoteTaskHook(BaseHook):
    """A hook to a service with remote tasks. Making one does no I/O; the first call reads the connection.

    :param conn_id: the Airflow connection.
    """

    service: ClassVar[Service]
    manifest: ClassVar[Manifest]
    conn_type: ClassVar[str]
    hook_name: ClassVar[str]
    conn_name_attr: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Airflow below 3.2 sees a form method only in the hook's own namespace, not in its base's.
        for name in ("get_ui_field_behaviour", "get_connection_form_widgets"):
            if name not in vars(cls):
                setattr(cls, name, vars(RemoteTaskHook)[name])
        if "manifest" in vars(cls):
            cls.conn_type, cls.hook_name = cls.manifest.folder, cls.manifest.name
            cls.conn_name_attr = f"{cls.conn_type}_conn_id"

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id

    @cached_property
    def client(self) -> Client:
        """Sends the service's calls over pooled connections.

        :raises ConnectionConfigError: when the connection cannot be used; the message names field and fix.
        """
        return self.connect(connection_config(self.service, self.conn_id))

    def connect(self, config: ConnectionConfig) -> Client:
        """Return a client to what ``config`` describes, and use it from now on as :attr:`client`."""
        limiter = limiter_for(config.account, self.service.limits)
        client = Client(config, RequestsTransport(config), self.service.explain, limiter, metrics=METRICS)
        self.__dict__["client"] = client
        return client

    def connect_once(self) -> Client:
        """Return a client that repeats no request, for those who do so themselves or want to know at once."""
        return self.connect(one_attempt(connection_config(self.service, self.conn_id)))

    @property
    def backs_off_for(self) -> float:
        """The seconds for which the service asked to be left alone, as far as this hook's calls know."""
        return self.client.backs_off_for() if "client" in self.__dict__ else 0.0

    def polling(self, task_type: TaskType) -> tuple[PollSession, Link]:
        """Return what a wait polls with: over :attr:`client`, which follows changes of the connection."""
        link = Link(lambda: read_connection(self.service, self.conn_id), self.connect)
        link.client = self.__dict__.get("client")
        return PollSession(task_type, link.client and link.client.config, time.monotonic()), link

    def get_conn(self) -> Client:
        """Return :attr:`client`."""
        return self.client

    def close(self) -> None:
        """Close the pooled connections; the next call opens new ones."""
        if "client" in self.__dict__:
            self.client.close()
            del self.client

    def test_connection(self) -> tuple[bool, str]:
        """Make one read-only call; say whether it worked and, if not, which field to correct.

        Behind the *Test* button of the connection form, which gives the connection a random id: the message
        says *this connection*. Never repeats a request and never shows the key.
        """
        try:
            client = type(self)(self.conn_id).connect_once()
            try:
                answer = client.send(self.service.probe(client.config.extras))
            finally:
                client.close()
        except (RemoteTaskError, AirflowNotFoundException) as error:
            return False, self._about_this_connection(str(error))
        return True, self.proved(client.config, answer)

    def proved(self, config: ConnectionConfig, answer: Any) -> str:
        """Return what the connection test says when it has worked.

        :param answer: of the service's probe.
        """
        return f"{self.service.name} at {config.base_url} accepted the key."

    def _about_this_connection(self, message: str) -> str:
        """Return a message without the id of the connection, which Airflow and this provider name."""
        named = rf"\b(?:connection|the conn_id) ['`]{re.escape(self.conn_id)}['`]"
        variable = rf"(?:, environment variable {re.escape(variable_of(self.conn_id))})?"
        return re.sub(named + variable, _this_connection, message, flags=re.IGNORECASE)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's labels for Airflow below 3.2; later versions read the provider info."""
        return cls.manifest.ui_field_behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow below 3.2; later versions read the provider info."""
        # Airflow 2's web UI; Airflow 3.0 and 3.1 put stand-ins of the same names in place.
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import StringField
        from wtforms.validators import any_of, optional

        return {
            name: StringField(
                lazy_gettext(item.label),
                widget=BS3TextFieldWidget(),
                description=item.description,
                validators=[optional(), *([any_of(item.schema["enum"])] if "enum" in item.schema else [])],
            )
            for name, item in cls.manifest.all_fields.items()
        }


def _this_connection(found: re.Match[str]) -> str:
    return f"{'This' if found[0][0].isupper() else 'this'} connection"
