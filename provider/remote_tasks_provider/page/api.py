"""The page's two parts: the static page, and the JSON endpoint that it reads.

Airflow does not authenticate the apps of plugins. The endpoint asks Airflow's own functions who the user is
and which DAGs they may read; these have no public name, so :mod:`.app` imports this module when it is needed.
The static files hold no facts and need no login.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Response
from starlette.responses import JSONResponse
from starlette.staticfiles import StaticFiles

from remote_tasks_provider.page.app import unavailable
from remote_tasks_provider.page.query import MOST_WAITS, read_waits
from remote_tasks_provider.page.waits import Filters, Wait, ordered, totals

__all__ = ["app"]

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

app = FastAPI(title="Remote Tasks", openapi_url=None)

Text = Annotated[str, Query(max_length=250)]


@app.get("/waits", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))])
def waits(
    user: GetUserDep,
    text: Text = "",
    service: Text = "",
    connection: Text = "",
    state: Text = "",
    place: Text = "",
    question: bool = False,
    order: Literal["since", "dag", "connection", "state", "polled", "credits"] = "since",
    descending: bool = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> JSONResponse:
    """Return a part of the waits that the user may see, and the totals of all of them."""
    found = _read(user)
    wanted = Filters(text, service, connection, state, place, question).take(found)
    shown = ordered(wanted, order, descending=descending)[offset : offset + limit]
    answer = {
        "now": time.time(),
        "waits": [wait.to_json() for wait in shown],
        "matching": len(wanted),
        "total": len(found),
        "is_cut": len(found) >= MOST_WAITS,
        "states": sorted({wait.state for wait in found if wait.state}),
        "connections": totals(found),
    }
    # As it is: FastAPI would go through every value of a thousand rows once more.
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


def _read(user: Any) -> list[Wait]:
    try:
        manager = get_auth_manager()
        dag_ids = manager.get_authorized_dag_ids(user=user, method="GET")
        may_see_questions = manager.is_authorized_dag(
            method="GET", access_entity=DagAccessEntity.HITL_DETAIL, user=user
        )
        return read_waits(dag_ids, with_questions=may_see_questions)
    except (AttributeError, TypeError) as error:
        # Another Airflow, which has renamed what is used here.
        log.exception("The Remote Tasks page cannot read what Airflow waits for.")
        raise HTTPException(501, unavailable(error)) from error


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a file that is asked for again after an update, and that loads nothing from elsewhere."""
        response = super().file_response(*args, **kwargs)
        response.headers.update({**_HEADERS, "Cache-Control": "no-cache"})
        return response


app.mount("/", _Files(directory=_STATIC, html=True))
