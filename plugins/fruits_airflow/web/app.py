"""Pages in Airflow's UI: the list of published runs, the report of a run, and the recognition of a photo.

Airflow's API server does not authorise requests to plugin pages. Each route therefore asks Airflow's auth manager
whether the user may read the DAG of the run. A report contains file names from users, so it is shown in a sandboxed
frame without access to Airflow's session. Links are outside that frame, because a link inside it would be opened
without the session.
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from botocore.exceptions import ClientError
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader

from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import read
from fruits_airflow.run_context import dataset_of
from fruits_airflow.task_ids import FIND_CHANGES, STAYS_PUBLISHED_KEY, TAKE_INVENTORY
from fruits_airflow.web import files, recognition
from fruits_airflow.web.access import may_read, s3_sentence
from fruits_airflow.web.datasets import ChosenDataset, UnknownDatasetError, query_of, run_list
from fruits_airflow.web.headers import HEADERS, REPORT_POLICY
from fruits_airflow.web.run_list import read_record
from fruits_features.client.serve.application import answer_errors
from fruits_features.client.serve.guards import HeadersMiddleware
from fruits_features.contract.layout import DatasetLayout, RunLayout, split
from include.settings import settings

RUN_NAME = re.compile(r"[\w-][\w.-]*")
"""Names of runs end in the id of their DAG, which has letters of any language, digits, `_`, `-` and `.`."""


class NoReport(Exception):  # noqa: N818 - shown as a page, not as an error
    """The requested report does not exist.

    Args:
        reason: Sentence for the user.
        link: URL of the report of the published run, relative to the requested URL; `None` for no link.
    """

    def __init__(self, reason: str, link: str | None = None) -> None:
        super().__init__(reason)
        self.link = link


app = FastAPI(title="Fruits", docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(HeadersMiddleware, headers=HEADERS)
answer_errors(app)
app.include_router(recognition.router, prefix="/recognise")
reports = APIRouter(
    prefix="/dags/{dag_id}/{place}/{name}/report",
    dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))],
)
_templates = Environment(loader=PackageLoader("fruits_airflow.web", "templates"), autoescape=True)


@app.exception_handler(ClientError)
def show_s3_error(request: Request, error: ClientError) -> HTMLResponse:  # noqa: ARG001 - FastAPI's signature
    """Show an error of S3 and the settings to check."""
    return _page("missing.html", status=502, heading="S3 refused the request", reason=s3_sentence(error))


@app.exception_handler(NoReport)
def show_no_report(request: Request, error: NoReport) -> HTMLResponse:  # noqa: ARG001 - FastAPI's signature
    """Show why a report does not exist, with a link to the published one."""
    return _page("missing.html", status=404, heading="No report", reason=str(error), link=error.link)


@app.exception_handler(UnknownDatasetError)
def show_unknown_dataset(request: Request, error: UnknownDatasetError) -> HTMLResponse:  # noqa: ARG001 - as above
    """Show which data sets exist."""
    return _page("missing.html", status=404, heading="No such data set", reason=str(error), link=None)


@app.get("/")
def published_runs(user: GetUserDep, dataset: ChosenDataset) -> HTMLResponse:
    """List the published runs of a data set and of the DAGs that the user may read, latest first."""
    listed = run_list(dataset).read(aws.s3)
    dags = {dag_id for dag_id in {record["dag"]["dag_id"] for record in listed.records} if may_read(user, dag_id)}
    readable = [record for record in listed.records if record["dag"]["dag_id"] in dags]
    return _page(
        "runs.html",
        dataset=dataset,
        query=query_of(dataset.name),
        datasets={name: query_of(name) for name in listed.datasets},
        records=readable,
        published=listed.published,
        notes=listed.notes,
    )


@dataclass(frozen=True)
class ShownRun:
    """A run whose report is shown.

    Args:
        layout: Layout of the run.
        dataset: Its data set.
    """

    layout: RunLayout
    dataset: DatasetLayout

    @property
    def query(self) -> str:
        """Query of the links to the run's files and to the list, which contains the deployment's bucket only."""
        return query_of(self.dataset.name) if self.dataset.bucket == settings().bucket else ""


def _shown(
    dag_id: str, place: Literal["runs", "dag_runs"], name: str, session: SessionDep, dataset: ChosenDataset
) -> ShownRun:
    """Return a published run of a data set (`runs`), or the run that a DAG run made (`dag_runs`)."""
    return _published(dag_id, name, dataset) if place == "runs" else _of_dag_run(dag_id, name, session)


Shown = Annotated[ShownRun, Depends(_shown)]


@reports.get("")
def report(run: Shown) -> HTMLResponse:
    """Show a report in its sandboxed frame."""
    if not aws.s3().check_for_key(run.layout.report_page):
        raise NoReport(
            "This run has no report yet. The report is written after validation. A skipped run has no report. The logs "
            "of its tasks contain the reason."
        )
    return _page("report.html", run=run.layout.name, query=run.query)


@reports.get("/index.html")
def report_page(run: Shown) -> Response:
    """Return the report page."""
    return HTMLResponse(_read(run.layout.report_page), headers={"Content-Security-Policy": REPORT_POLICY})


@reports.get("/figures.json")
def report_figures(run: Shown) -> Response:
    """Return the report's figures as a JSON download."""
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(run.layout.name)}-figures.json"}
    return Response(_read(run.layout.report_figures), media_type="application/json", headers=headers)


app.include_router(reports)


@app.get(
    "/dags/{dag_id}/dag_runs/{run_id}/files", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))]
)
def run_files(dag_id: str, run_id: str, session: SessionDep, uri: str = "") -> Response:
    """List a folder of a DAG run, or show an object. Links lead here if AWS is emulated and has no console."""
    if aws.is_aws(aws.s3().conn):
        raise NoReport("The AWS console shows the files of a run.")
    folders = files.folders(partial(_pull, session, dag_id=dag_id, run_id=run_id))
    if not uri:
        return _page("files.html", place=run_id, entries=folders)
    if not uri.startswith(tuple(folders)) or ".." in uri.split("/"):
        raise NoReport(f"{uri} does not belong to this run.")
    if uri.endswith("/"):
        return _page("files.html", place=uri, entries=files.entries(aws.s3(), uri))
    return Response(files.text(_read(uri)), media_type="text/plain; charset=utf-8")


def _published(dag_id: str, run: str, dataset: DatasetLayout) -> ShownRun:
    layout = dataset.run(run)
    record = read_record(aws.s3(), layout.record) if RUN_NAME.fullmatch(run) else None
    if not isinstance(record, dict) or record["dag"]["dag_id"] != dag_id:
        raise NoReport(f"DAG {dag_id} has not published a run {run}, or its record is damaged.")
    return ShownRun(layout, dataset)


def _of_dag_run(dag_id: str, run_id: str, session: SessionDep) -> ShownRun:
    pull = partial(_pull, session, dag_id=dag_id, run_id=run_id)
    run = pull(TAKE_INVENTORY, XCOM_RETURN_KEY)
    if run is None:
        raise NoReport("This DAG run has taken no inventory of fruits, so it has no report.")
    published = pull(FIND_CHANGES, STAYS_PUBLISHED_KEY)
    if published:
        link = _report_link(ShownRun(dataset_of(run).run(published), dataset_of(run)))
        raise NoReport(f"Nothing has changed. Run {published} stays published.", link)
    return ShownRun(RunLayout(run["uri"]), dataset_of(run))


def _pull(session: SessionDep, task_id: str, key: str, *, dag_id: str, run_id: str) -> Any:
    """Return an XCom of a task, or `None` if it does not exist."""
    xcoms = session.scalars(XComModel.get_many(run_id=run_id, dag_ids=dag_id, task_ids=task_id, key=key, limit=1))
    xcom = xcoms.first()
    return None if xcom is None else XComModel.deserialize_value(xcom)


def _report_link(run: ShownRun) -> str | None:
    """Return the relative URL of a published run's report, or `None` if the run was deleted.

    The URL names the run if it is in the deployment's bucket, or else the DAG run that published it.
    """
    record = read_record(aws.s3(), run.layout.record)
    if not isinstance(record, dict):
        return None
    dag_run = record["dag"]
    is_listed = run.dataset.bucket == settings().bucket
    path = f"runs/{run.layout.name}" if is_listed else f"dag_runs/{quote(dag_run['run_id'])}"
    return f"../../../{quote(dag_run['dag_id'])}/{path}/report{run.query}"


def _read(uri: str) -> bytes:
    content = read(aws.s3(), *split(uri))
    if content is None:
        raise NoReport(f"{uri} does not exist.")
    return content


def _page(template: str, status: int = 200, **values: object) -> HTMLResponse:
    return HTMLResponse(_templates.get_template(template).render(**values), status_code=status)
