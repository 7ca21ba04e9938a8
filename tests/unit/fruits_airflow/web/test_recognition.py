"""The page that recognises a photo, for users who may read the DAG of the published run."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fruits_airflow.web import recognition
from fruits_features import projection as portable
from fruits_features.contract import layout
from fruits_features.contract.families import MODEL_FAMILY
from fruits_features.contract.layout import DatasetLayout
from fruits_features.extraction.families.onnx import Weights
from include.settings import settings
from tests.support import onnx_models
from tests.support.airflow.connections import use_only_the_connection
from tests.support.airflow.users import headers_of, token_of
from tests.support.photo_page import assert_frame_fits, choose, expect_answer
from tests.support.published_runs import NAME, photo, publish, put_pointer
from tests.support.served_app import serving_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi.testclient import TestClient
    from mypy_boto3_s3 import S3Client
    from playwright.sync_api import Page

    from include.dev.local_aws.local import LocalAws

PAGE = "/fruits/recognise/"
PATHS = [("GET", PAGE), ("GET", f"{PAGE}status"), ("GET", f"{PAGE}page.js"), ("POST", f"{PAGE}recognise")]
RECORD = {
    "run": NAME,
    "dag": {"dag_id": "fruits_features"},
    "counts": {"features": 30, "quarantine": 0},
    "categories": {"Apple": 10, "Lime": 10, "Plum": 10},
    "projection": {"components": 3, "explained_variance": 0.9},
}


@pytest.fixture
def deployment(
    local_aws: LocalAws, bucket: str, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A deployment's bucket without a run."""
    assert aws_environment
    assert local_aws
    monkeypatch.setenv("FRUITS_BUCKET", bucket)
    settings.cache_clear()
    yield bucket
    settings.cache_clear()
    recognition._service.cache_clear()  # noqa: SLF001 - ends its processes


@pytest.fixture
def pointer(local_aws: LocalAws, deployment: str, tmp_path: Path) -> dict[str, Any]:
    """Content of `latest.json` of a run that is published in the deployment's bucket."""
    pointer = publish(local_aws.s3(), deployment, tmp_path / "run")
    pointer["paths"]["run"] = DatasetLayout(deployment).run(NAME).record
    put_pointer(local_aws.s3(), deployment, pointer)
    _put(local_aws.s3(), pointer["paths"]["run"], json.dumps(RECORD).encode())
    return pointer


def _put(s3: S3Client, uri: str, content: bytes) -> None:
    bucket, key = layout.split(uri)
    s3.put_object(Bucket=bucket, Key=key, Body=content)


def _status(client: TestClient) -> tuple[int, str]:
    response = client.get(f"{PAGE}status", headers=headers_of("viewer"))
    return response.status_code, response.json().get("error", "")


@pytest.mark.usefixtures("deployment")
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_request_without_a_session_is_refused(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path).status_code == 401


@pytest.mark.usefixtures("pointer")
@pytest.mark.parametrize(("method", "path"), [PATHS[1], PATHS[3]])
def test_user_who_may_not_read_the_dag_is_refused(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path, headers=headers_of(None), content=photo("Lime") if method == "POST" else None)

    assert (answer.status_code, answer.json()) == (
        403,
        {"error": f"You may not read the DAG that published the run {NAME}."},
    )


@pytest.mark.usefixtures("pointer")
def test_photo_is_recognised_for_a_user_who_may_read_the_dag(client: TestClient, deployment: str) -> None:
    answer = client.post(f"{PAGE}recognise?pictures=true", headers=headers_of("viewer"), content=photo("Lime")).json()

    assert (answer["run"], answer["categories"][0]["category"]) == (NAME, "Lime")
    for near in answer["neighbours"]:
        assert near["path"].startswith(f"s3://{deployment}/images/Training/Lime/")
        assert near["picture"].startswith("data:image/webp;base64,")


@pytest.mark.usefixtures("pointer")
def test_errors_are_those_of_the_http_interface(client: TestClient) -> None:
    viewer = headers_of("viewer")

    answers = [
        client.post(f"{PAGE}recognise?top=0", headers=viewer, content=photo("Lime")),
        client.get(f"{PAGE}recognise", headers=viewer),
        client.get(f"{PAGE}status"),
        client.post(f"{PAGE}recognise", headers=viewer, content=photo("Lime")[:50]),
    ]

    assert [answer.status_code for answer in answers] == [422, 405, 401, 422]
    assert [set(answer.json()) for answer in answers] == [{"error"}] * 3 + [{"error", "reason"}]


@pytest.mark.usefixtures("pointer")
def test_photo_from_a_page_of_another_site_is_refused(client: TestClient) -> None:
    headers = headers_of("viewer") | {"Origin": "http://evil.example"}

    assert client.post(f"{PAGE}recognise", headers=headers, content=photo("Lime")).status_code == 403


@pytest.mark.usefixtures("deployment")
def test_page_may_be_framed_by_airflow_only_and_runs_its_own_script_only(client: TestClient) -> None:
    page = client.get(PAGE, headers=headers_of("viewer"))

    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["frame-ancestors"] == policy["script-src"] == policy["style-src"] == "'self'"
    assert '<a href="../">' in page.text


@pytest.mark.usefixtures("pointer")
def test_list_of_runs_leads_to_the_page(client: TestClient) -> None:
    assert 'href="recognise/"' in client.get("/fruits/", headers=headers_of("viewer")).text


@pytest.fixture
def citrus(local_aws: LocalAws, pointer: dict[str, Any]) -> str:
    """Name of a data set beside the default one, whose published run has the same files and another name."""
    bucket, _ = layout.split(pointer["paths"]["run"])
    dataset = DatasetLayout(bucket, "citrus")
    named = {**pointer, "run": "citrus-run"}
    put_pointer(local_aws.s3(), bucket, named, dataset.latest)
    _put(local_aws.s3(), dataset.run("citrus-run").record, json.dumps({**RECORD, "run": "citrus-run"}).encode())
    return dataset.name


def test_photo_is_recognised_with_the_run_of_the_named_data_set(client: TestClient, citrus: str) -> None:
    viewer, query = headers_of("viewer"), {"dataset": citrus}

    runs = [client.get(f"{PAGE}status", headers=viewer, params=params).json()["run"] for params in ({}, query)]
    answer = client.post(f"{PAGE}recognise", headers=viewer, content=photo("Lime"), params=query)

    assert runs == [NAME, "citrus-run"]
    assert answer.json()["run"] == "citrus-run"
    refused = client.get(f"{PAGE}status", headers=headers_of(None), params=query)
    assert (refused.status_code, refused.json()["error"][-26:]) == (403, "published the run citrus-run."[-26:])


@pytest.mark.usefixtures("citrus")
def test_unknown_data_set_of_a_photo_is_explained_with_the_known_ones(client: TestClient, deployment: str) -> None:
    before = recognition._service.cache_info().misses  # noqa: SLF001 - services have processes

    for method, name in (("GET", "status"), ("POST", "recognise")):
        answer = client.request(method, f"{PAGE}{name}?dataset=citrsu", headers=headers_of("viewer"))

        error = f"s3://{deployment} has no data set 'citrsu'. Its data sets: default, citrus."
        assert (answer.status_code, answer.json()) == (404, {"error": error})
    assert recognition._service.cache_info().misses == before  # noqa: SLF001


def test_name_of_a_data_set_is_no_html_of_the_page(client: TestClient) -> None:
    page = client.get(PAGE, params={"dataset": '"><b>x'}, headers=headers_of("viewer"))

    assert page.status_code == 200
    assert "<b>" not in page.text


def test_user_of_airflows_ui_recognises_a_photo_with_a_named_data_set(
    client: TestClient, page: Page, citrus: str
) -> None:
    with _logged_in(client, page) as url:
        page.goto(f"{url}/fruits/")
        page.get_by_role("navigation", name="Data sets").get_by_role("link", name=citrus).click()
        page.get_by_role("link", name="Recognise a photo").click()
        page.get_by_text("Run citrus-run").wait_for()
        choose(page, photo("Plum"))
        expect_answer(page, "Plum")
        page.get_by_text("Recognised by the run citrus-run").wait_for()

        page.get_by_role("link", name="Published runs of citrus").click()
        page.get_by_role("link", name=citrus, exact=True).and_(page.locator("[aria-current]")).wait_for()


def test_bucket_without_a_run_is_explained(client: TestClient, deployment: str) -> None:
    assert _status(client) == (
        503,
        f"There is no published run in s3://{deployment}. Trigger the DAG fruits_features.",
    )


def test_bucket_that_s3_refuses_is_explained(
    client: TestClient, deployment: str, pointer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pointer
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")

    status, error = _status(client)

    assert status == 503
    assert f"Check the deployment's bucket (FRUITS_BUCKET, now '{deployment}')" in error


def test_run_without_a_recogniser_is_explained(
    client: TestClient, deployment: str, pointer: dict[str, Any], local_aws: LocalAws
) -> None:
    del pointer["paths"]["recogniser"]
    put_pointer(local_aws.s3(), deployment, pointer)

    status, error = _status(client)

    assert status == 503
    assert error.startswith(f"The run {NAME} has no recogniser: ")


def test_damaged_pointer_is_explained(client: TestClient, deployment: str, local_aws: LocalAws) -> None:
    _put(local_aws.s3(), layout.DatasetLayout(deployment).latest, b"{")

    status, error = _status(client)

    assert status == 503
    assert error.startswith(f"{layout.DatasetLayout(deployment).latest} is damaged")


@pytest.mark.usefixtures("_run_with_a_model")
def test_run_with_a_model_without_onnxruntime_is_explained(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from fruits_features.client import extras

    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "onnxruntime" else name)

    status, error = _status(client)

    assert status == 503
    assert error.startswith("This needs onnxruntime, which the extra onnx installs")


@pytest.mark.usefixtures("_run_with_a_model")
def test_model_is_read_through_the_connection(
    client: TestClient, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_only_the_connection(monkeypatch, aws_environment)

    answer = client.post(f"{PAGE}recognise", headers=headers_of("viewer"), content=photo("Lime")).json()

    assert answer.get("error") is None
    assert answer["categories"][0]["category"] == "Lime"


@pytest.fixture
def _run_with_a_model(local_aws: LocalAws, deployment: str, pointer: dict[str, Any]) -> None:
    """A published run with the family `onnx`, which has no effect on the components."""
    stored = portable.load(pointer["paths"]["projection"])
    uri, content = f"s3://{deployment}/models/small.onnx", onnx_models.model()
    _put(local_aws.s3(), uri, content)
    added = onnx_models.DIMENSION
    changed = replace(
        stored,
        families=(*stored.families, MODEL_FAMILY),
        mean=np.append(stored.mean, np.zeros(added)),
        spread=np.append(stored.spread, np.ones(added)),
        components=np.vstack([stored.components, np.zeros((added, stored.k))]),
        model=Weights(uri, sha256(content).hexdigest(), added),
    )
    pointer["projection"]["version"] = changed.version
    _put(local_aws.s3(), pointer["paths"]["projection"], changed.to_bytes())
    recogniser = replace(_recogniser(local_aws, pointer), projection=changed.version)
    _put(local_aws.s3(), pointer["paths"]["recogniser"], recogniser.to_bytes())
    put_pointer(local_aws.s3(), deployment, pointer)


def _recogniser(local_aws: LocalAws, pointer: dict[str, Any]) -> Any:  # noqa: ANN401
    from fruits_features.recogniser.model import Recogniser

    bucket, key = layout.split(pointer["paths"]["recogniser"])
    return Recogniser.from_bytes(local_aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read())


def test_nothing_is_read_before_the_first_visitor(deployment: str) -> None:
    service = recognition._service(DatasetLayout(deployment))  # noqa: SLF001

    assert service.follower._refreshing is None  # noqa: SLF001


@pytest.mark.usefixtures("pointer")
def test_user_of_airflows_ui_recognises_a_photo_in_its_frame(client: TestClient, page: Page) -> None:
    with _logged_in(client, page) as url:
        page.goto(f"{url}/plugin/fruits")
        frame = page.frame_locator("iframe")
        frame.get_by_role("link", name="Recognise a photo").click()
        for category in ("Plum", "Lime"):
            choose(frame, photo(category))
            expect_answer(frame, category)

        assert_frame_fits(page.frames[1])
        frame.get_by_role("link", name="Published runs").click()
        frame.get_by_role("heading", name="Published runs").wait_for()


@contextmanager
def _logged_in(client: TestClient, page: Page) -> Iterator[str]:
    """Serve Airflow, log in as a viewer, and yield the URL."""
    from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN

    with serving_app(client.app) as url:  # type: ignore[arg-type]
        page.context.add_cookies([{"name": COOKIE_NAME_JWT_TOKEN, "value": token_of("viewer"), "url": url}])
        yield url


@pytest.mark.usefixtures("pointer")
def test_ended_session_is_explained(client: TestClient, page: Page) -> None:
    with _logged_in(client, page) as url:
        page.goto(f"{url}{PAGE}")
        page.get_by_text(f"Run {NAME}").wait_for()
        page.context.clear_cookies()
        choose(page, photo("Plum"))

        alert = page.get_by_role("alert").filter(has_text="You are not logged in. Log in again, and reload this page.")
        alert.wait_for()
