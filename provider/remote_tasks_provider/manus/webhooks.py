"""Manus's webhooks as values. No I/O, no Airflow."""

from __future__ import annotations

from pydantic import Field

from remote_tasks_provider.core.http.parsing import LenientInt, LenientStr, RemoteModel

__all__ = ["ManusWebhook"]


class ManusWebhook(RemoteModel):
    """A URL that Manus tells of every task of the account. ``created_at`` is in Unix seconds."""

    id: str = Field(min_length=1)
    url: LenientStr = None
    status: LenientStr = None
    created_at: LenientInt = None
