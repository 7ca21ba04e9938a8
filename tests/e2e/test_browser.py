"""A user in a browser logs in, triggers the DAG with its form, waits for success, and reads the report."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from include.deploy import uploads
from include.dev.local_aws import deployment
from include.dev.sample_images import generate, make_plan
from tests.support.airflow.api import DAG, Airflow, running_airflow
from tests.support.airflow.pipeline import Pipeline
from tests.support.browser import DESKTOP, PHONE, violations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from include.dev.local_aws.local import LocalAws

DOWNSTREAM = "fruits_example_downstream"
RUN_TIMEOUT_S = 900


@pytest.fixture(scope="module")
def bucket(local_aws: LocalAws) -> str:
    """The deployment's bucket, with the wheelhouse and without images."""
    bucket = local_aws.create_bucket("seen-in-a-browser")
    for upload in deployment.build():
        uploads.send(local_aws.s3(), bucket, upload)
    return bucket


@pytest.fixture(scope="module")
def airflow(local_aws: LocalAws, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    with running_airflow(local_aws, tmp_path_factory.mktemp("airflow"), {"FRUITS_BUCKET": bucket}) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def orchard(local_aws: LocalAws, bucket: str, airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bucket with generated images, uploaded after the scheduled run has ended."""
    assert airflow
    pipeline = Pipeline(local_aws, local_aws.s3(), bucket, {})
    folder = tmp_path_factory.mktemp("images")
    generate(folder, make_plan(["Avocado", "Banana"], 40), seed=0, jobs=1, progress=False)
    pipeline.put_folder(folder)
    return bucket


def test_user_triggers_the_dag_and_reads_its_report(airflow: Airflow, orchard: str, page: Page, tmp_path: Path) -> None:
    """Screenshots go to pytest's temporary folder. Those in docs/screenshots come from this test."""
    address = airflow.address
    page.goto(f"{address}/fruits/")
    assert "Not authenticated" in page.content()
    _log_in(page, airflow)
    assert page.request.patch(f"{address}/api/v2/dags/{DOWNSTREAM}", data={"is_paused": False}).ok

    page.goto(f"{address}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_role("button", name="Projection", exact=True).click()
    page.get_by_label("PCA components").fill("5")
    page.get_by_role("button", name="What to read", exact=True).click()
    expect(page.locator("code", has_text="fruits-photos")).to_be_visible()
    page.locator("#element_bucket").fill(orchard)
    page.screenshot(path=tmp_path / "airflow-trigger.png")
    submit = page.get_by_role("button", name="Trigger", exact=True).last
    page.locator("#element_bucket").fill("Not A Bucket")
    submit.click()
    expect(page.get_by_text("'Not A Bucket' does not match '(?#3 to 63 lowercase letters")).to_be_visible()
    page.locator("#element_bucket").fill(orchard)
    submit.press("Enter")  # Airflow's note covers the button
    page.get_by_role("link", name=re.compile("manual__")).first.click()
    _await_success(page, address)
    page.screenshot(path=tmp_path / "airflow-run.png")

    _read_the_log(page, tmp_path)
    page.get_by_role("link", name="Fruits report", exact=True).click()
    report = page.frame_locator("iframe").frame_locator("iframe")
    expect(report.get_by_role("heading").first).to_be_visible()
    expect(report.get_by_text("Banana").first).to_be_visible()
    page.screenshot(path=tmp_path / "airflow-report.png")
    report_address = next(frame.url for frame in page.frames if frame.url.endswith("/index.html"))
    for plot in ("components", "plane"):
        section = report.locator(f"#{plot}")
        section.scroll_into_view_if_needed()
        expect(section.locator("canvas").first).to_be_visible()
        page.screenshot(path=tmp_path / f"airflow-report-{plot}.png")

    _read_on_a_phone(page, report_address)

    _open_from_the_list(page, address, tmp_path)


def test_downstream_dag_runs_after_the_publication(airflow: Airflow, page: Page) -> None:
    _log_in(page, airflow)
    url = f"{airflow.address}/api/v2/dags/{DOWNSTREAM}/dagRuns"
    deadline = time.monotonic() + RUN_TIMEOUT_S
    runs: list[dict[str, str]] = []
    while [run["state"] for run in runs] not in (["success"], ["failed"]) and time.monotonic() < deadline:
        page.wait_for_timeout(1000)
        runs = page.request.get(url).json()["dag_runs"]

    (run,) = runs
    assert (run["run_type"], run["state"]) == ("asset_triggered", "success")


def _read_the_log(page: Page, screenshots: Path) -> None:
    """Open the log of the Spark step, which ends with a summary, and return to the run."""
    run = page.url
    page.goto(f"{run.rstrip('/')}/tasks/featurize_and_reduce")
    expect(page.get_by_text(re.compile(r"40 images in .* s: 40 extracted")).first).to_be_visible()
    page.screenshot(path=screenshots / "airflow-log.png")
    page.goto(run)


def _read_on_a_phone(page: Page, address: str) -> None:
    """Assert that a report fits a phone in dark mode, is accessible, logs no error, and reacts to a tap."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark")
    page.goto(address)
    expect(page.locator("#plane canvas").first).to_be_visible()
    page.locator(".legend").get_by_label("Banana").check()
    expect(page.locator(".picked")).to_have_text("1 selected")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert violations(page) == []
    assert errors == []
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme="light")


def _open_from_the_list(page: Page, address: str, screenshots: Path) -> None:
    """Open the report of the run from the list of published runs, download its figures, and go back."""
    page.goto(f"{address}/plugin/fruits")
    fruits = page.frame_locator("iframe")
    row = fruits.locator("tbody tr").first
    expect(row).to_contain_text("published")
    page.screenshot(path=screenshots / "airflow-runs.png")
    assert _violations_of_frames(page) == []
    row.get_by_role("link").click()
    expect(fruits.frame_locator("iframe").get_by_text("Banana").first).to_be_visible()
    assert _violations_of_frames(page) == []
    with page.expect_download() as download:
        fruits.get_by_role("link", name="Figures as JSON").click()
    assert json.loads(download.value.path().read_text())["counts"]["features"] == 40
    fruits.get_by_role("link", name="Published runs").click()
    expect(row).to_contain_text("published")


def _violations_of_frames(page: Page) -> list[str]:
    """Return the violations of accessibility on our pages, which Airflow shows in frames."""
    return [violation for frame in page.frames[1:] for violation in violations(frame)]


def _log_in(page: Page, airflow: Airflow) -> None:
    page.goto(airflow.address)
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", airflow.password)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Dags", exact=True).first.wait_for()


def _await_success(page: Page, address: str) -> None:
    """Wait until the run of the page has succeeded and the page shows it."""
    run_id = page.url.partition("/runs/")[2].partition("/")[0]
    deadline = time.monotonic() + RUN_TIMEOUT_S
    state = "unknown"
    while state not in {"success", "failed"} and time.monotonic() < deadline:
        page.wait_for_timeout(1000)
        state = page.request.get(f"{address}/api/v2/dags/{DAG}/dagRuns/{run_id}").json()["state"]
    assert state == "success"
    page.reload()
    expect(page.get_by_text("Success").first).to_be_visible()
