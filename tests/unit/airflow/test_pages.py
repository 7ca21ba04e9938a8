"""The pages in Airflow's UI are for those who may read the DAG, and show what was published."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fruits_features.layout import RunLayout, latest
from include.airflow_database import ensure_database
from include.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi.testclient import TestClient

    from include.local_aws.local import LocalAws

RUN = "2026-03-01T000000Z-fruits_features"
LIST = "/fruits/"
REPORT = f"/fruits/dags/fruits_features/runs/{RUN}/report"
OF_DAG_RUN = "/fruits/dags/fruits_features/dag_runs/manual__2026-03-01T00:00:00+00:00/report"
RECORD = {
    "run": RUN,
    "dag": {"dag_id": "fruits_features"},
    "counts": {"features": 1250, "quarantine": 3},
    "categories": {"Limes": 1250},
    "projection": {"components": 17, "explained_variance": 0.951},
}


@pytest.fixture(scope="module")
def client() -> TestClient:
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    ensure_database(Path(os.environ["AIRFLOW_HOME"]), os.environ)
    return TestClient(create_app("core"))


@pytest.fixture
def deployment(
    local_aws: LocalAws, bucket: str, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A bucket with one published run and its report."""
    assert aws_environment
    monkeypatch.setenv("FRUITS_BUCKET", bucket)
    settings.cache_clear()
    layout, pointer = RunLayout.of(bucket, RUN), {"run": RUN}
    for uri, content in (
        (layout.record, json.dumps(RECORD)),
        (layout.report_page, "<h1>The report</h1>"),
        (latest(bucket), json.dumps(pointer)),
    ):
        local_aws.s3().put_object(Bucket=bucket, Key=uri.removeprefix(f"s3://{bucket}/"), Body=content.encode())
    yield bucket
    settings.cache_clear()


def _as(role: str | None) -> dict[str, str]:
    """Headers of a logged-in user."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="somebody", role=role))
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", [LIST, REPORT, OF_DAG_RUN])
def test_page_without_a_session_is_refused(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"Authorization": "Bearer made-up"}).status_code in {401, 403}


@pytest.mark.parametrize("path", [REPORT, OF_DAG_RUN])
def test_report_for_a_user_who_may_not_read_the_dag_is_refused(client: TestClient, path: str) -> None:
    assert client.get(path, headers=_as(None)).status_code == 403


@pytest.mark.usefixtures("deployment")
def test_list_for_a_user_who_may_not_read_the_dag_is_empty(client: TestClient) -> None:
    page = client.get(LIST, headers=_as(None))

    assert page.status_code == 200
    assert RUN not in page.text


@pytest.mark.usefixtures("deployment")
def test_list_names_published_runs_with_their_figures(client: TestClient) -> None:
    page = client.get(LIST, headers=_as("viewer")).text

    assert f'href="{REPORT.removeprefix(LIST)}"' in page
    for figure in ("1,250", "17", "95.1%", "published"):
        assert figure in page


def test_list_of_a_bucket_without_runs_says_what_to_do(
    client: TestClient, deployment: str, local_aws: LocalAws
) -> None:
    local_aws.s3().delete_object(Bucket=deployment, Key=f"features/runs/{RUN}/run.json")

    assert "Trigger the DAG fruits_features" in client.get(LIST, headers=_as("viewer")).text


@pytest.mark.usefixtures("deployment")
def test_list_of_a_bucket_that_is_not_there_names_it_and_the_way_out(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRUITS_BUCKET", "no-such-bucket")
    settings.cache_clear()

    page = client.get(LIST, headers=_as("viewer"))

    assert page.status_code == 502
    assert "(FRUITS_BUCKET, now &#39;no-such-bucket&#39;)" in page.text


@pytest.mark.usefixtures("deployment")
def test_report_is_shown_in_a_sandbox(client: TestClient) -> None:
    page = client.get(REPORT, headers=_as("viewer"))

    assert page.text == "<h1>The report</h1>"
    assert page.headers["Content-Security-Policy"].startswith("sandbox allow-scripts; default-src 'none'")


@pytest.mark.usefixtures("deployment")
@pytest.mark.parametrize(
    "path",
    [
        REPORT.replace("2026", "2027"),
        REPORT.replace("dags/fruits_features/", "dags/fruits_features_spark/"),
        OF_DAG_RUN,
    ],
)
def test_report_that_is_not_there_says_why(client: TestClient, path: str) -> None:
    page = client.get(path, headers=_as("viewer"))

    assert page.status_code == 404
    assert "<h1>No report</h1>" in page.text


def test_run_name_that_leaves_its_folder_is_refused(client: TestClient) -> None:
    assert client.get(REPORT.replace(RUN, "a%2F..%2Fb"), headers=_as("viewer")).status_code in {404, 422}
