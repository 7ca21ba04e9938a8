"""Airflow plugin: a *Fruits* page with the published runs, and a report tab on each DAG run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from fruits_airflow import close_runs
from fruits_airflow.web.sqlite_lock import WriteLockMiddleware, on_sqlite

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


async def serve_pages(scope: Scope, receive: Receive, send: Send) -> None:
    """Forward a request to the pages.

    Every Airflow process loads the plugin, but only the API server serves pages. The import here keeps the other
    processes small.
    """
    from fruits_airflow.web.app import app

    await app(scope, receive, send)


class FruitsPlugin(AirflowPlugin):
    """Plugin that Airflow registers when it finds this class."""

    name = "fruits"
    fastapi_apps: list[Any] = [{"app": serve_pages, "url_prefix": "/fruits", "name": "Fruits"}]  # noqa: RUF012 - as Airflow's own class
    fastapi_root_middlewares: list[Any] = (
        [{"name": "Write lock", "middleware": WriteLockMiddleware}] if on_sqlite() else []
    )
    external_views: list[Any] = [  # noqa: RUF012 - as Airflow's own class
        {"name": "Fruits", "href": "fruits/", "destination": "nav", "url_route": "fruits", "category": "browse"},
        {
            "name": "Fruits report",
            "href": "fruits/dags/{DAG_ID}/dag_runs/{RUN_ID}/report",
            "destination": "dag_run",
            "url_route": "fruits_report",
        },
    ]

    @classmethod
    def on_load(cls, *_arguments: Any, **_keywords: Any) -> None:
        """Watch for interruptions of `airflow dags test`. Airflow calls this in each of its processes."""
        close_runs.close_when_interrupted()
