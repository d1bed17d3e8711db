"""Lets a shared poller hear the bells of its connection, while the connection says that it has ``push``."""

from __future__ import annotations

from collections.abc import Callable

from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.push.bell import Bells

__all__ = ["Listener"]


class Listener:
    """Listens for one poller, or does not.

    :param bells: where bells are heard; ``None`` where none can be.
    :param service: the type of the connection.
    :param hear: takes a bell; see :meth:`.bell.Bells.listen`.
    """

    def __init__(self, bells: Bells | None, service: str, hear: Callable[[bool], None]) -> None:
        self._bells = bells
        self._service = service
        self._hear = hear
        self._stop: Callable[[], None] | None = None

    @property
    def can_hear(self) -> bool:
        """Whether bells can be heard here."""
        return self._bells is not None

    @property
    def poll_interval(self) -> float:
        """The seconds between regular polls while bells come; 0 while none can be heard."""
        return self._bells.poll_interval if self._bells is not None and self._stop is not None else 0.0

    def follow(self, config: ConnectionConfig | None) -> None:
        """Begin or cease to listen, as the connection has it now.

        :param config: ``None`` where the connection is not in use.
        """
        if self._bells is not None and config is not None and config.extras.push:
            self._stop = self._stop or self._bells.listen(self._service, config.conn_id, self._hear)
        elif self._stop is not None:
            stop, self._stop = self._stop, None
            stop()
