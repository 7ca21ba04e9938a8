"""The pages in Airflow's UI: published runs, and the report of a run.

Mounted in Airflow's API server, which checks nothing of what plugins serve: every route asks Airflow's own auth manager
whether the user may read the DAG whose run it shows. Reports are shown in a sandbox of their own: a page made from
other people's file names must not act in Airflow's name. A link out of the sandbox would come without the session, so
links stand in a frame of ours around it.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.xcom import XComModel
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader

from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import read, read_json
from fruits_airflow.tasks.find_changes import STAYS_PUBLISHED
from fruits_features.contract.layout import RunLayout, history, latest, publication, publication_time, published_run
from include.settings import settings

SHOWN_RUNS = 100
AT_ONCE = 10
"""Records that are fetched at the same time: as many as botocore keeps connections."""
RUN_NAME = re.compile(r"[\w-]+")
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


class NoReport(Exception):  # noqa: N818 - no error: a page says so
    """There is no report to show.

    Args:
        sentence: why not.
        link: where another one is, relative to the address of the report that there is not.
    """

    def __init__(self, sentence: str, link: str | None = None) -> None:
        super().__init__(sentence)
        self.link = link


app = FastAPI(title="Fruits", docs_url=None, redoc_url=None, openapi_url=None)
reports = APIRouter(
    prefix="/dags/{dag_id}/{place}/{name}/report",
    dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))],
)
_templates = Environment(loader=PackageLoader("fruits_airflow.web", "templates"), autoescape=True)


@app.exception_handler(ClientError)
def explain(request: Request, error: ClientError) -> HTMLResponse:  # noqa: ARG001 - FastAPI's signature
    """Say what S3 answered instead of what a page needs."""
    sentence = (
        f"{error}. See the deployment's bucket (FRUITS_BUCKET, now {settings().bucket!r}) "
        "and what Airflow's AWS connection may read."
    )
    return _page("missing.html", status=502, heading="S3 did not give what this page shows", sentence=sentence)


@app.exception_handler(NoReport)
def say_why(request: Request, reason: NoReport) -> HTMLResponse:  # noqa: ARG001 - FastAPI's signature
    """Say why there is no report, and where another one is."""
    return _page("missing.html", status=404, heading="No report", sentence=str(reason), link=reason.link)


@app.get("/")
def published_runs(user: GetUserDep) -> HTMLResponse:
    """List the deployment's published runs, newest first, of the DAGs that the user may read."""
    s3, bucket = aws.s3(), settings().bucket
    pointer = read_json(s3, latest(bucket))
    records = [record for record in _records(s3, bucket, pointer) if _may_read(user, record["dag"]["dag_id"])]
    return _page("runs.html", bucket=bucket, records=records, published=pointer.get("run"))


def _layout(dag_id: str, place: Literal["runs", "dag_runs"], name: str, session: SessionDep) -> RunLayout:
    """Find the run that an address names: a published one of the deployment's bucket, or what a DAG run made."""
    return _published(dag_id, name) if place == "runs" else _made_by(dag_id, name, session)


Layout = Annotated[RunLayout, Depends(_layout)]


@reports.get("")
def report(layout: Layout) -> HTMLResponse:
    """Show a report in its frame."""
    if not aws.s3().check_for_key(layout.report_page):
        raise NoReport(
            "This run has no report (yet): it is written when a run has passed its validation, and one that was "
            "skipped has none. The logs of its tasks say how far it came, and why."
        )
    return _page("report.html", run=layout.name)


@reports.get("/index.html")
def report_page(layout: Layout) -> Response:
    """Give the report itself."""
    return HTMLResponse(_read(layout.report_page), headers={"Content-Security-Policy": SANDBOX})


@reports.get("/figures.json")
def report_figures(layout: Layout) -> Response:
    """Give the report's figures, as a file."""
    headers = {"Content-Disposition": f'attachment; filename="{layout.name}-figures.json"'}
    return Response(_read(layout.report_figures), media_type="application/json", headers=headers)


app.include_router(reports)


def _published(dag_id: str, run: str) -> RunLayout:
    layout = RunLayout.of(settings().bucket, run)
    record = read_json(aws.s3(), layout.record) if RUN_NAME.fullmatch(run) else {}
    if record.get("dag", {}).get("dag_id") != dag_id:
        raise NoReport(f"DAG {dag_id} has not published a run {run}.")
    return layout


def _made_by(dag_id: str, run_id: str, session: SessionDep) -> RunLayout:
    pushed = partial(_pushed, session, dag_id=dag_id, run_id=run_id)
    run = pushed("take_inventory", "return_value")
    if run is None:
        raise NoReport("This DAG run has taken no inventory of fruits (yet), so there is nothing to report.")
    stays = pushed("find_changes", STAYS_PUBLISHED)
    if stays:
        link = _link(run["bucket"], stays)
        raise NoReport(f"Nothing changed; run {stays} stays published.", link)
    return RunLayout(run["uri"])


def _pushed(session: SessionDep, task_id: str, key: str, *, dag_id: str, run_id: str) -> Any:
    """Read what a task has pushed; `None` for nothing."""
    found = session.scalars(XComModel.get_many(run_id=run_id, dag_ids=dag_id, task_ids=task_id, key=key, limit=1))
    first = found.first()
    return None if first is None else XComModel.deserialize_value(first)


def _link(bucket: str, run: str) -> str | None:
    """Lead from the report of a DAG run to that of a published run; `None` where that is gone.

    On a bucket that is not the deployment's, by the DAG run that published it.
    """
    dag_run = read_json(aws.s3(), RunLayout.of(bucket, run).record).get("dag")
    if not dag_run:
        return None
    there = f"runs/{run}" if bucket == settings().bucket else f"dag_runs/{quote(dag_run['run_id'])}"
    return f"../../../{quote(dag_run['dag_id'])}/{there}/report"


def _read(uri: str) -> bytes:
    content = read(aws.s3(), uri)
    if content is None:
        raise NoReport(f"There is no {uri}.")
    return content


def _records(s3: S3Hook, bucket: str, pointer: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the records of the runs that were published last, newest first, and say of each when it was.

    By their pointers, whose names sort by that time. A run's own name begins with the date that it stands for, which in
    a backfill is long past.
    """
    place, prefix = S3Hook.parse_s3_url(f"{history(bucket)}/")
    names = [key.removeprefix(prefix) for key in s3.list_keys(place, prefix)]
    if pointer:
        names.append(publication("", pointer["published_at"], pointer["run"]).rpartition("/")[2])
    newest = sorted(names, reverse=True)[:SHOWN_RUNS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        records = pool.map(lambda name: read_json(s3, RunLayout.of(bucket, published_run(name)).record), newest)
    return [
        {**record, "published_at": publication_time(name)}
        for name, record in zip(newest, records, strict=True)
        if record
    ]


def _may_read(user: GetUserDep, dag_id: str) -> bool:
    entity, details = DagAccessEntity.RUN, DagDetails(id=dag_id)
    allowed: bool = get_auth_manager().is_authorized_dag(method="GET", access_entity=entity, details=details, user=user)
    return allowed


def _page(template: str, status: int = 200, **values: object) -> HTMLResponse:
    return HTMLResponse(_templates.get_template(template).render(**values), status_code=status)
