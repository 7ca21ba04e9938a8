"""A person in a browser: logs in, triggers the DAG by its form, watches it succeed, and reads its report."""

from __future__ import annotations

import os
import re
import shutil
import socket
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from include.local_airflow import LocalAirflow
from include.sample_images import generate, make_plan
from tests.e2e.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from include.local_aws.local import LocalAws

CHROMIUM = shutil.which("chromium")
RUN_TIMEOUT_MS = 300_000
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def orchard(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bucket of generated images."""
    pipeline = Pipeline(local_aws, local_aws.s3(), local_aws.create_bucket("seen-in-a-browser"), {})
    folder = tmp_path_factory.mktemp("images")
    generate(folder, make_plan(["Avocado", "Banana"], 40), seed=0, jobs=1, progress=False)
    pipeline.put_folder(folder)
    return pipeline.bucket


@pytest.fixture(scope="module")
def ui(local_aws: LocalAws, orchard: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Airflow's UI as `make up` starts it: its address, and the password of user admin."""
    airflow = LocalAirflow(tmp_path_factory.mktemp("airflow"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = airflow.start(port, os.environ | local_aws.environment | {"FRUITS_BUCKET": orchard})
    try:
        yield address, airflow.passwords()["admin"]
    finally:
        airflow.stop()


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1280, "height": 900})
        browser.close()


def test_person_triggers_the_dag_and_reads_its_report(ui: tuple[str, str], page: Page) -> None:
    address, password = ui
    page.goto(f"{address}/fruits/")
    assert "Not authenticated" in page.content()

    page.goto(address)
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", password)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Dags", exact=True).first.wait_for()

    page.goto(f"{address}/dags/fruits_features")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_label("PCA components").fill("5")
    page.get_by_role("button", name="Trigger", exact=True).last.click()
    page.get_by_role("link", name=re.compile("manual__")).first.click()
    expect(page.get_by_text("Success").first).to_be_visible(timeout=RUN_TIMEOUT_MS)

    page.get_by_role("link", name="Report", exact=True).click()
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading").first).to_be_visible()
    expect(report.get_by_text("Banana").first).to_be_visible()
