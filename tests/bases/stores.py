"""Airflow's task state store, for tests."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["Store"]


class Store(dict[str, Any]):
    """Airflow's task state store; it can fail at its n-th write."""

    writes = fails_at = 0

    def set(self, key: str, value: Any) -> None:
        self.writes += 1
        if self.writes == self.fails_at:
            raise ConnectionError("the API server is away")
        self[key] = json.loads(json.dumps(value))
