"""Who asks a service for something: which task instance, of which Airflow.

Two Airflows may share one account at a service, with the same DAGs and the same scheduled runs. What one of
them submits must never be taken, deduplicated or cancelled by the other. So everything that makes a remote
task findable is made of an :class:`Origin`, which names the deployment first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow.providers.common.compat.sdk import conf

from remote_tasks_provider.bases.compat import airflow_is_at_least, first_try_number

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

__all__ = ["Origin", "deployment_id", "is_first_attempt"]

_NO_REGION = str(UUID(int=0))
# How Airflow 3.2 and newer show a worker that there is none.
_NO_KEY = "{FERNET_KEY}"
_SECTION, _OPTION = "remote_tasks", "deployment_id"
_OF_THE_UI = "api" if airflow_is_at_least("3") else "webserver"


def deployment_id() -> str:
    """Return what tells this Airflow from others: ``[remote_tasks] deployment_id``, or a default.

    The default is a hash of the address of Airflow's UI and of its Fernet key. The workers of a deployment
    should have them in common, and two deployments seldom have both.
    """
    if given := str(conf.get(_SECTION, _OPTION, fallback="") or "").strip():
        return given
    address = str(conf.get(_OF_THE_UI, "base_url", fallback="") or "").rstrip("/")
    fernet_key = str(conf.get("core", "fernet_key", fallback="") or "")
    return _digest(address, "" if fernet_key == _NO_KEY else fernet_key)[:12]


def is_first_attempt(task: BaseOperator, context: Context) -> bool:
    """Whether no attempt came before, or a user has just cleared the task, as far as that is known.

    For where nothing is recorded: it is wrong while the DAG's ``retries`` are not those the task began with.
    """
    return Origin.of(context).attempt <= max(1, first_try_number(context, task))


@dataclass(frozen=True, slots=True)
class Origin:
    """The task instance that asks, and which of its attempts.

    :param loop: which iteration of which loop, for a task in a loop of Airflow 3.4; otherwise empty.
    :param attempt: Airflow's try number.
    :param max_tries: Airflow's number of the last attempt. It stays the same between the attempts of one
        task instance, and is another after a user has cleared it, whatever ``retries`` the DAG has now.
    """

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    loop: str = ""
    attempt: int = 1
    max_tries: int = 0

    @classmethod
    def of(cls, context: Context) -> Origin:
        """Return the origin of what the running task asks for."""
        ti: Any = context["ti"]
        index = getattr(ti, "map_index", None)
        return cls(
            deployment=deployment_id(),
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if index is None else int(index),
            loop=_loop(context, ti),
            attempt=int(getattr(ti, "try_number", None) or 1),
            max_tries=int(getattr(ti, "max_tries", None) or 0),
        )

    @property
    def key(self) -> str:
        """Ten hexadecimal digits, the same for all attempts of one task instance and of no other."""
        return self.digest()[:10]

    def digest(self, *parts: str) -> str:
        """Return a hash of the task instance, whatever the attempt, and of ``parts``."""
        names = (self.deployment, self.dag_id, self.run_id, self.task_id, str(self.map_index), self.loop)
        return _digest(*names, *parts)


def _loop(context: Context, ti: Any) -> str:
    """Return which iteration of a loop a task instance is, as Airflow 3.4 tells them apart.

    A region tells iterations apart, too, but clearing the DAG run makes another one for the same iteration.
    Outside loops and mapped tasks it is the zero UUID.
    """
    if (loop := context.get("loop")) is not None:
        return str(getattr(loop, "index", loop))
    region, index = (getattr(ti, name, None) for name in ("region_id", "region_index"))
    return "" if region is None or str(region) == _NO_REGION else f"{region}/{index}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
