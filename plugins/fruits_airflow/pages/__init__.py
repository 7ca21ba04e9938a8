"""The pages in Airflow's UI: published runs, and the report of a run.

Mounted in Airflow's API server, which checks nothing of what plugins serve: every route asks Airflow's own auth manager
whether the user may read the DAG whose run it shows. Reports are shown in a sandbox of their own: a page made from
other people's file names must not act in Airflow's name.
"""

from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.xcom import XComModel
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError
from fastapi import Depends, FastAPI, Path, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader

from fruits_airflow import aws
from fruits_airflow.objects import read, read_json
from fruits_features.layout import FEATURES_ROOT, RunLayout, latest
from include.settings import settings

SHOWN_RUNS = 100
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)

app = FastAPI(title="Fruits", docs_url=None, redoc_url=None, openapi_url=None)
_templates = Environment(loader=PackageLoader("fruits_airflow", "pages"), autoescape=True)
_may_read_runs = Depends(requires_access_dag("GET", DagAccessEntity.RUN))


@app.exception_handler(ClientError)
def explain(request: Request, error: ClientError) -> HTMLResponse:  # noqa: ARG001 - FastAPI's signature
    """Say what S3 answered instead of what a page needs."""
    sentence = (
        f"{error}. See the deployment's bucket (FRUITS_BUCKET, now {settings().bucket!r}) "
        "and what Airflow's AWS connection may read."
    )
    return _page("missing.html", status=502, heading="S3 did not give what this page shows", sentence=sentence)


@app.get("/")
def published_runs(user: GetUserDep) -> HTMLResponse:
    """List the deployment's published runs, newest first, of the DAGs that the user may read."""
    s3, bucket = aws.s3(), settings().bucket
    records = [record for record in _records(s3, bucket) if _may_read(user, record["dag"]["dag_id"])]
    pointer = read_json(s3, latest(bucket))
    return _page("runs.html", bucket=bucket, records=records, published=pointer.get("run"))


@app.get("/dags/{dag_id}/runs/{run}/report", dependencies=[_may_read_runs])
def report(dag_id: str, run: Annotated[str, Path(pattern=r"^[\w-]+$")]) -> HTMLResponse:
    """Show the report of a published run."""
    s3, layout = aws.s3(), RunLayout.of(settings().bucket, run)
    record = read_json(s3, layout.record)
    if record.get("dag", {}).get("dag_id") != dag_id:
        return _missing(f"DAG {dag_id} has not published a run {run}.")
    return _report(s3, layout)


@app.get("/dags/{dag_id}/dag_runs/{run_id}/report", dependencies=[_may_read_runs])
def report_of_dag_run(dag_id: str, run_id: str, session: SessionDep) -> HTMLResponse:
    """Show the report of what a DAG run made."""
    taken = XComModel.get_many(run_id=run_id, dag_ids=dag_id, task_ids="take_inventory", key="return_value", limit=1)
    found = session.scalars(taken).first()
    if found is None:
        return _missing("This DAG run has taken no inventory of fruits (yet), so there is nothing to report.")
    run: dict[str, Any] = XComModel.deserialize_value(found)
    return _report(aws.s3(), RunLayout(run["uri"]))


def _report(s3: S3Hook, layout: RunLayout) -> HTMLResponse:
    page = read(s3, layout.report_page)
    if page is None:
        return _missing("This run has no report (yet): it is written when the run has passed its validation.")
    return HTMLResponse(page, headers={"Content-Security-Policy": SANDBOX})


def _records(s3: S3Hook, bucket: str) -> list[dict[str, Any]]:
    """Read the records of the newest published runs; their names begin with their dates."""
    names = s3.list_prefixes(bucket, f"{FEATURES_ROOT}/runs/", "/")
    layouts = [RunLayout(f"s3://{bucket}/{name}") for name in sorted(names, reverse=True)]
    found = (read_json(s3, layout.record) for layout in layouts[:SHOWN_RUNS])
    return [record for record in found if record]


def _may_read(user: GetUserDep, dag_id: str) -> bool:
    entity, details = DagAccessEntity.RUN, DagDetails(id=dag_id)
    allowed: bool = get_auth_manager().is_authorized_dag(method="GET", access_entity=entity, details=details, user=user)
    return allowed


def _missing(sentence: str) -> HTMLResponse:
    return _page("missing.html", status=404, heading="No report", sentence=sentence)


def _page(template: str, status: int = 200, **values: object) -> HTMLResponse:
    return HTMLResponse(_templates.get_template(template).render(**values), status_code=status)
