"""An auth manager of Airflow for which one user may not read one DAG."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

LIMITED = "limited"
SECRET_DAG = "payroll"


class OneDagLessAuthManager(SimpleAuthManager):
    def is_authorized_dag(self, *, user: Any, details: Any = None, **more: Any) -> bool:
        if user.get_name() == LIMITED and details is not None and details.id == SECRET_DAG:
            return False
        return bool(super().is_authorized_dag(user=user, details=details, **more))
