"""The pages in Airflow's UI show published runs to users who may read the DAG."""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock
from urllib.parse import unquote, urljoin

import pytest
from sqlalchemy import delete, text

from fruits_airflow.hooks import aws
from fruits_airflow.task_ids import CREATE_CLUSTER, LOGS_LINK_KEY, STAYS_PUBLISHED_KEY, TAKE_INVENTORY
from fruits_features.contract.layout import DatasetLayout
from include.settings import settings
from tests.support.airflow.users import headers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi.testclient import TestClient

    from include.dev.local_aws.local import LocalAws

    Push = Callable[[dict[tuple[str, str], Any]], None]

RUN = "2026-03-01T000000Z-fruits_features"
LIST = "/fruits/"
REPORT = f"/fruits/dags/fruits_features/runs/{RUN}/report"
DAG_RUN = "manual__2026-03-01T00:00:00+00:00"
OF_DAG_RUN = f"/fruits/dags/fruits_features/dag_runs/{DAG_RUN}/report"
OWN_FILES = f"/fruits/dags/fruits_features/dag_runs/{DAG_RUN}/files"
FILES = [f"{path}{file}" for path in (REPORT, OF_DAG_RUN) for file in ("", "/index.html", "/figures.json")]
RECORD = {
    "run": RUN,
    "dag": {"dag_id": "fruits_features"},
    "counts": {"features": 1250, "quarantine": 3},
    "categories": {"Limes": 1250},
    "projection": {"components": 17, "explained_variance": 0.951},
    "cost": {"estimate": {"dollars": 0.5}, "actual": {"dollars": 0.31}},
}
PUBLISHED_AT = "2026-03-02T04:05:06+00:00"


@pytest.fixture
def deployment(
    local_aws: LocalAws, bucket: str, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A bucket with one published run and its report."""
    assert aws_environment
    monkeypatch.setenv("FRUITS_BUCKET", bucket)
    settings.cache_clear()
    layout = DatasetLayout(bucket).run(RUN)
    pointer = {"run": RUN, "published_at": PUBLISHED_AT, "paths": {"run": layout.record}}
    for uri, content in (
        (layout.record, json.dumps(RECORD)),
        (layout.report_page, "<h1>The report</h1>"),
        (layout.report_figures, "{}"),
        (DatasetLayout(bucket).latest, json.dumps(pointer)),
    ):
        _put(local_aws, uri, content)
    yield bucket
    settings.cache_clear()


def _put(local_aws: LocalAws, uri: str, content: str) -> None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    local_aws.s3().put_object(Bucket=bucket, Key=key, Body=content.encode())


@pytest.fixture
def push(client: TestClient) -> Iterator[Push]:
    """Write XComs of a DAG run to Airflow's database, by task id and key."""
    assert client
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    def pushed(values: dict[tuple[str, str], Any]) -> None:
        with create_session() as session:
            session.execute(text("PRAGMA foreign_keys=OFF"))  # there are no tasks
            run = DagRun(dag_id="fruits_features", run_id=DAG_RUN, run_type="manual", run_after=datetime.now(UTC))
            session.add(run)
            session.flush()
            for (task_id, key), value in values.items():
                names = {"dag_id": "fruits_features", "run_id": DAG_RUN, "task_id": task_id, "key": key}
                session.add(XComModel(dag_run_id=run.id, value=XComModel.serialize_value(value), **names))

    yield pushed
    with create_session() as session:
        session.execute(delete(XComModel))
        session.execute(delete(DagRun))


@pytest.mark.parametrize("path", [LIST, OWN_FILES, *FILES])
def test_page_without_a_session_is_refused(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"Authorization": "Bearer made-up"}).status_code in {401, 403}


@pytest.mark.parametrize("path", [OWN_FILES, *FILES])
def test_report_for_a_user_who_may_not_read_the_dag_is_refused(client: TestClient, path: str) -> None:
    assert client.get(path, headers=headers_of(None)).status_code == 403


@pytest.fixture
def citrus(local_aws: LocalAws, deployment: str) -> DatasetLayout:
    """A named data set with one published run and its report, beside the default one."""
    dataset = DatasetLayout(deployment, "citrus")
    layout = dataset.run("citrus-run")
    record = {**RECORD, "run": layout.name, "counts": {"features": 77, "quarantine": 0}}
    pointer = {"run": layout.name, "published_at": PUBLISHED_AT, "paths": {"run": layout.record}}
    for uri, content in (
        (layout.record, json.dumps(record)),
        (layout.report_page, "<h1>The report of citrus</h1>"),
        (layout.report_figures, '{"of": "citrus"}'),
        (dataset.latest, json.dumps(pointer)),
        (f"s3://{deployment}/features/datasets/Not a data set/readme.txt", ""),
    ):
        _put(local_aws, uri, content)
    return dataset


def _links(page: str, of: str) -> list[str]:
    """Return the targets of the links and frames of a page, with the page's address as base."""
    return [urljoin(of, link) for link in re.findall(r'(?:href|src)="(.*?)"', page)]


@pytest.mark.usefixtures("deployment")
def test_list_of_a_bucket_with_one_data_set_offers_no_choice(client: TestClient) -> None:
    page = client.get(LIST, headers=headers_of("viewer")).text

    assert "Data sets" not in page
    assert "dataset=" not in page


@pytest.mark.usefixtures("citrus")
def test_list_offers_each_data_set_and_shows_the_runs_of_the_chosen_one(client: TestClient) -> None:
    for path, shown, hidden in ((LIST, RUN, "citrus-run"), (f"{LIST}?dataset=citrus", "citrus-run", RUN)):
        page = client.get(path, headers=headers_of("viewer")).text

        assert {LIST, f"{LIST}?dataset=citrus"} <= set(_links(page, path))
        assert f">{shown}</a>" in page
        assert f">{hidden}</a>" not in page
        assert "Not a data set" not in page


@pytest.mark.usefixtures("citrus")
def test_links_of_a_named_data_set_lead_to_its_report_and_photo_page(client: TestClient) -> None:
    path, viewer = f"{LIST}?dataset=citrus", headers_of("viewer")
    report = "/fruits/dags/fruits_features/runs/citrus-run/report"

    links = _links(client.get(path, headers=viewer).text, path)

    assert {f"{report}?dataset=citrus", f"{LIST}recognise/?dataset=citrus"} <= set(links)
    frame = _links(client.get(f"{report}?dataset=citrus", headers=viewer).text, report)
    assert frame == [path, f"{report}/figures.json?dataset=citrus", f"{report}/index.html?dataset=citrus"]
    assert client.get(frame[1], headers=viewer).json() == {"of": "citrus"}
    assert client.get(frame[2], headers=viewer).text == "<h1>The report of citrus</h1>"
    assert client.get(report, headers=viewer).status_code == 404, "the default data set has no such run"


@pytest.mark.usefixtures("citrus")
@pytest.mark.parametrize("name", ["citrsu", "<b>", "../runs", "", "a" * 5000])
@pytest.mark.parametrize("path", [LIST, *FILES])
def test_unknown_data_set_is_explained_with_the_known_ones(client: TestClient, path: str, name: str) -> None:
    page = client.get(path, params={"dataset": name}, headers=headers_of("viewer"))

    assert page.status_code == 404
    assert "Its data sets: default, citrus." in page.text
    assert "<b>" not in page.text


@pytest.mark.usefixtures("citrus")
def test_named_data_set_of_a_dag_that_the_user_may_not_read_is_empty(client: TestClient) -> None:
    page = client.get(f"{LIST}?dataset=citrus", headers=headers_of(None))

    assert page.status_code == 200
    assert "citrus-run" not in page.text


def test_report_of_a_dag_run_leads_back_to_the_list_of_its_data_set(
    client: TestClient, citrus: DatasetLayout, push: Push
) -> None:
    run = {"bucket": citrus.bucket, "dataset": "citrus", "uri": citrus.run("citrus-run").prefix}
    push({("take_inventory", "return_value"): run})

    page = client.get(OF_DAG_RUN, headers=headers_of("viewer")).text

    back, *_, content = _links(page, OF_DAG_RUN)
    assert back == f"{LIST}?dataset=citrus"
    assert client.get(content, headers=headers_of("viewer")).text == "<h1>The report of citrus</h1>"


def test_skipped_run_links_to_the_published_run_of_its_data_set(
    client: TestClient, citrus: DatasetLayout, push: Push
) -> None:
    run = {"bucket": citrus.bucket, "dataset": "citrus", "uri": citrus.run("skipped").prefix}
    push({("take_inventory", "return_value"): run, ("find_changes", STAYS_PUBLISHED_KEY): "citrus-run"})

    (link,) = _links(client.get(OF_DAG_RUN, headers=headers_of("viewer")).text, OF_DAG_RUN)

    assert link == "/fruits/dags/fruits_features/runs/citrus-run/report?dataset=citrus"


@pytest.mark.usefixtures("deployment")
def test_list_for_a_user_who_may_not_read_the_dag_is_empty(client: TestClient) -> None:
    page = client.get(LIST, headers=headers_of(None))

    assert page.status_code == 200
    assert RUN not in page.text


@pytest.mark.usefixtures("deployment")
def test_list_names_published_runs_with_their_figures(client: TestClient) -> None:
    page = client.get(LIST, headers=headers_of("viewer")).text

    assert f'href="{REPORT.removeprefix(LIST)}"' in page
    for figure in ("1,250", "17", "95.1%", "$0.31", "2026-03-02 04:05", "published"):
        assert figure in page


def test_list_says_that_an_emulated_cluster_was_not_charged(
    client: TestClient, deployment: str, local_aws: LocalAws
) -> None:
    free = {**RECORD, "cost": {"estimate": {"dollars": 0.5}, "actual": {"dollars": 0.31, "charged": False}}}
    _put(local_aws, DatasetLayout(deployment).run(RUN).record, json.dumps(free))

    page = client.get(LIST, headers=headers_of("viewer")).text

    assert re.search(r"\$0\.31 <small[^>]*>\(estimate; nothing was charged\)<", page)


def test_list_is_in_order_of_publication(client: TestClient, deployment: str, local_aws: LocalAws) -> None:
    earlier = [("2026-03-01", "-2"), ("2026-02-28", "-10"), ("2026-02-27", "")]
    for day, number in earlier:
        run = f"2026-04-01T000000Z-fruits_features{number}"
        _put(local_aws, DatasetLayout(deployment).publication(f"{day}T00:00:00+00:00", run), "{}")
        _put(local_aws, DatasetLayout(deployment).run(run).record, json.dumps({**RECORD, "run": run, "cost": None}))

    page = client.get(LIST, headers=headers_of("viewer")).text

    dates = ["2026-03-02 04:05", *(f"{day} 00:00" for day, _ in earlier)]
    assert re.findall(r"<td[^>]*>(2026-.*?)</td>", page) == dates
    assert re.findall(r"fruits_features(-?\d*)</a>", page) == ["", *(number for _, number in earlier)]


def test_list_skips_what_it_cannot_read_with_a_note(client: TestClient, deployment: str, local_aws: LocalAws) -> None:
    damaged = {
        "not-json": "{",
        "list": "[1]",
        "text": json.dumps({**RECORD, "counts": "many"}),
        "words": json.dumps({**RECORD, "counts": {"features": "1", "quarantine": "0"}}),
        "nothing": "null",
        "deep": "[" * 50_000,
        "other-content": json.dumps({**RECORD, "digest": "sha256:0"}),
    }
    for run, content in damaged.items():
        _put(local_aws, DatasetLayout(deployment).publication("2026-03-01T00:00:00+00:00", run), "{}")
        _put(local_aws, DatasetLayout(deployment).run(run).record, content)
    for name in ("readme.txt", "<b>Z-x.json", "2026-13-01T000000Z-month.json", "folder/a.json"):
        _put(local_aws, f"s3://{deployment}/features/published/{name}", "anything")

    page = client.get(LIST, headers=headers_of("viewer"))

    assert page.status_code == 200
    assert re.findall(r"fruits_features(-?\d*)</a>", page.text) == [""]
    for run in damaged:
        assert f"features/runs/{run}/run.json is damaged" in page.text
    assert "features/published/readme.txt is not a pointer to a run." in page.text
    assert "&lt;b&gt;Z-x.json" in page.text


@pytest.mark.parametrize("content", ["{", "[]", '{"run": 1}', '{"run": "r", "published_at": "2999-01-01T00:00:00Z"}'])
def test_list_with_a_damaged_pointer_shows_the_earlier_runs(
    client: TestClient, deployment: str, local_aws: LocalAws, content: str
) -> None:
    _put(local_aws, DatasetLayout(deployment).latest, content)
    _put(local_aws, DatasetLayout(deployment).publication(PUBLISHED_AT, RUN), "{}")

    page = client.get(LIST, headers=headers_of("viewer"))

    assert page.status_code == 200
    assert f"{RUN}</a>" in page.text
    assert "features/latest.json is damaged" in page.text


def test_report_of_a_run_with_a_damaged_record_is_explained(
    client: TestClient, deployment: str, local_aws: LocalAws
) -> None:
    _put(local_aws, DatasetLayout(deployment).run(RUN).record, '{"dag": []}')

    page = client.get(REPORT, headers=headers_of("viewer"))

    assert page.status_code == 404
    assert "or its record is damaged" in page.text


def test_list_of_a_bucket_without_runs_names_the_dag_to_trigger(
    client: TestClient, deployment: str, local_aws: LocalAws
) -> None:
    local_aws.s3().delete_object(Bucket=deployment, Key=f"features/runs/{RUN}/run.json")

    assert "Trigger the DAG fruits_features" in client.get(LIST, headers=headers_of("viewer")).text


@pytest.mark.usefixtures("deployment")
def test_list_of_a_missing_bucket_names_it_and_its_setting(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUITS_BUCKET", "no-such-bucket")
    settings.cache_clear()

    page = client.get(LIST, headers=headers_of("viewer"))

    assert page.status_code == 502
    assert "(FRUITS_BUCKET, now &#39;no-such-bucket&#39;)" in page.text


@pytest.mark.usefixtures("deployment")
def test_report_is_shown_in_a_sandbox(client: TestClient) -> None:
    frame = client.get(REPORT, headers=headers_of("viewer")).text
    page = client.get(f"{REPORT}/index.html", headers=headers_of("viewer"))

    assert 'src="report/index.html" sandbox="allow-scripts"' in frame
    assert page.text == "<h1>The report</h1>"
    assert page.headers["Content-Security-Policy"].startswith("sandbox allow-scripts; default-src 'none'")


@pytest.mark.usefixtures("deployment")
def test_frame_of_report_links_to_the_list_and_to_its_figures(client: TestClient) -> None:
    links = re.findall(r'href="(.*?)"', client.get(REPORT, headers=headers_of("viewer")).text)

    assert [urljoin(REPORT, link) for link in links] == [LIST, f"{REPORT}/figures.json"]
    figures = client.get(f"{REPORT}/figures.json", headers=headers_of("viewer"))
    assert figures.json() == {}
    assert figures.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{RUN}-figures.json"


@pytest.mark.parametrize("dag_id", ["fruits.eu", "\N{CYRILLIC SMALL LETTER EF}"])
def test_report_of_a_dag_with_any_id_is_shown(
    client: TestClient, deployment: str, local_aws: LocalAws, dag_id: str
) -> None:
    layout = DatasetLayout(deployment).run(f"2026-03-01T000000Z-{dag_id}")
    _put(local_aws, layout.record, json.dumps({**RECORD, "run": layout.name, "dag": {"dag_id": dag_id}}))
    _put(local_aws, layout.report_page, "")
    _put(local_aws, layout.report_figures, "{}")
    report = f"/fruits/dags/{dag_id}/runs/{layout.name}/report"

    answers = [client.get(f"{report}{file}", headers=headers_of("viewer")) for file in ("", "/figures.json")]

    assert [answer.status_code for answer in answers] == [200, 200]
    name = unquote(answers[1].headers["Content-Disposition"].rpartition("''")[2])
    assert name == f"{layout.name}-figures.json"


def test_report_of_a_dag_run_is_found_by_its_inventory(client: TestClient, deployment: str, push: Push) -> None:
    push({("take_inventory", "return_value"): {"bucket": deployment, "uri": DatasetLayout(deployment).run(RUN).prefix}})

    assert client.get(f"{OF_DAG_RUN}/index.html", headers=headers_of("viewer")).text == "<h1>The report</h1>"


@pytest.mark.parametrize(
    ("deployments", "report"),
    [(None, REPORT), ("another", "/fruits/dags/fruits_features/dag_runs/scheduled__2026/report")],
)
def test_report_of_a_skipped_run_links_to_the_published_run(  # noqa: PLR0913, PLR0917 - fixtures
    client: TestClient,
    deployment: str,
    local_aws: LocalAws,
    push: Push,
    monkeypatch: pytest.MonkeyPatch,
    deployments: str | None,
    report: str,
) -> None:
    record = {**RECORD, "dag": {"dag_id": "fruits_features", "run_id": "scheduled__2026"}}
    _put(local_aws, DatasetLayout(deployment).run(RUN).record, json.dumps(record))
    skipped = {"bucket": deployment, "uri": DatasetLayout(deployment).run("skipped").prefix}
    push({("take_inventory", "return_value"): skipped, ("find_changes", STAYS_PUBLISHED_KEY): RUN})
    monkeypatch.setenv("FRUITS_BUCKET", deployments or deployment)
    settings.cache_clear()

    page = client.get(OF_DAG_RUN, headers=headers_of("viewer")).text

    assert f"Nothing has changed. Run {RUN} stays published." in page
    (link,) = re.findall(r'href="(.*?)"', page)
    assert urljoin(OF_DAG_RUN, link) == report


@pytest.mark.usefixtures("deployment")
@pytest.mark.parametrize(
    "path",
    [
        REPORT.replace("2026", "2027"),
        REPORT.replace("dags/fruits_features/", "dags/fruits_features_spark/"),
        OF_DAG_RUN,
    ],
)
def test_missing_report_is_explained(client: TestClient, path: str) -> None:
    page = client.get(path, headers=headers_of("viewer"))

    assert page.status_code == 404
    assert "<h1>No report</h1>" in page.text


@pytest.mark.usefixtures("deployment")
@pytest.mark.parametrize("path", [LIST, *FILES, f"{LIST}no/such/page"])
@pytest.mark.parametrize("role", ["viewer", None])
def test_every_page_may_be_framed_by_airflow_only_and_loads_nothing_from_elsewhere(
    client: TestClient, path: str, role: str | None
) -> None:
    headers = client.get(path, headers=headers_of(role)).headers

    policy = {part.split()[0]: part.split()[1:] for part in headers["Content-Security-Policy"].split("; ")}
    assert (policy["default-src"], policy["frame-ancestors"]) == (["'none'"], ["'self'"])
    assert (policy["base-uri"], policy["form-action"]) == (["'none'"], ["'none'"])
    assert "script-src" not in policy or policy["sandbox"] == ["allow-scripts"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.usefixtures("deployment")
def test_list_is_not_read_again_for_the_next_viewer(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first = client.get(LIST, headers=headers_of("viewer")).text
    monkeypatch.setattr(aws, "s3", Mock(side_effect=AssertionError("S3 is not needed")))

    assert client.get(LIST, headers=headers_of("viewer")).text == first
    assert RUN not in client.get(LIST, headers=headers_of(None)).text


def test_run_name_with_a_parent_folder_is_refused(client: TestClient) -> None:
    assert client.get(REPORT.replace(RUN, "a%2F..%2Fb"), headers=headers_of("viewer")).status_code in {404, 422}


@pytest.fixture
def run_with_files(deployment: str, push: Push, local_aws: LocalAws) -> dict[str, str]:
    """URIs of the folders of a DAG run on an emulated AWS."""
    run, logs = DatasetLayout(deployment).run(RUN).prefix.rstrip("/"), "logs/emr/j-1/"
    push(
        {
            (TAKE_INVENTORY, "return_value"): {"uri": run, "bucket": deployment},
            (CREATE_CLUSTER, LOGS_LINK_KEY): {"bucket": deployment, "prefix": logs, "is_aws": False},
        }
    )
    body = gzip.compress(b"out of memory")
    local_aws.s3().put_object(Bucket=deployment, Key=f"{logs}steps/s-1/stderr.gz", Body=body)
    return {"run": f"{run}/", "logs": f"s3://{deployment}/{logs}"}


def test_files_of_a_run_lead_from_its_folders_to_the_text_of_a_log(
    client: TestClient, run_with_files: dict[str, str]
) -> None:
    def links(uri: str) -> list[str]:
        page = client.get(OWN_FILES, params={"uri": uri}, headers=headers_of("viewer")).text
        return [unquote(found) for found in re.findall(r'href="\?uri=([^"]+)"', page)]

    assert links("") == [run_with_files["run"], run_with_files["logs"]]
    assert f"{run_with_files['run']}run.json" in links(run_with_files["run"])
    (steps,) = links(run_with_files["logs"])
    (step,) = links(steps)
    (log,) = links(step)
    shown = client.get(OWN_FILES, params={"uri": log}, headers=headers_of("viewer"))
    assert (shown.text, shown.headers["content-type"]) == ("out of memory", "text/plain; charset=utf-8")


@pytest.mark.parametrize("path", ["s3://{bucket}/features/latest.json", "{run}../../latest.json", "s3://other/key"])
def test_files_of_others_are_refused(
    client: TestClient, run_with_files: dict[str, str], deployment: str, path: str
) -> None:
    uri = path.format(bucket=deployment, **run_with_files)

    refused = client.get(OWN_FILES, params={"uri": uri}, headers=headers_of("viewer"))

    assert refused.status_code == 404
    assert "does not belong to this run" in refused.text


def test_files_of_a_run_on_aws_are_left_to_the_console(
    client: TestClient, run_with_files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_with_files
    monkeypatch.setattr(aws, "is_aws", lambda _: True)

    assert client.get(OWN_FILES, headers=headers_of("viewer")).status_code == 404
