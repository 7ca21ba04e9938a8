"""What Airflow's UI gets: a *Fruits* page with the published runs, and each run's report as a tab of its DAG run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from fruits_airflow.web.sqlite_lock import WriteLockMiddleware, on_sqlite

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


async def pages_when_asked(scope: Scope, receive: Receive, send: Send) -> None:
    """Hand a request on to the pages. Every process of Airflow loads its plugins, and only one serves pages."""
    from fruits_airflow.web.app import app

    await app(scope, receive, send)


class FruitsPlugin(AirflowPlugin):
    """Registered by being found."""

    name = "fruits"
    fastapi_apps: list[Any] = [{"app": pages_when_asked, "url_prefix": "/fruits", "name": "Fruits"}]  # noqa: RUF012 - as Airflow's own class
    fastapi_root_middlewares: list[Any] = [{"name": "Turns", "middleware": WriteLockMiddleware}] if on_sqlite() else []
    external_views: list[Any] = [  # noqa: RUF012 - as Airflow's own class
        {"name": "Fruits", "href": "fruits/", "destination": "nav", "url_route": "fruits", "category": "browse"},
        {
            "name": "Fruits report",
            "href": "fruits/dags/{DAG_ID}/dag_runs/{RUN_ID}/report",
            "destination": "dag_run",
            "url_route": "fruits_report",
        },
    ]
