"""What OpenLineage is told; imported only where its provider asks."""

from __future__ import annotations

import attr
from airflow.providers.common.compat.openlineage.facet import Dataset, RunFacet

__all__ = ["RemoteTasksRunFacet", "dataset"]


@attr.define
class RemoteTasksRunFacet(RunFacet):
    """The remote tasks of a run.

    :param service: such as ``Manus``.
    :param tasks: ``{"id": …, "url": …, "state": …}`` each; ``None`` for what is not known.
    """

    service: str
    tasks: list[dict[str, str | None]]


def dataset(namespace: str, name: str) -> Dataset:
    """Return a file as OpenLineage knows it."""
    return Dataset(namespace=namespace, name=name)
