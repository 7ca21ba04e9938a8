"""The report in a browser: accessible, with its charts in words, and usable on a phone."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from include.report.build import About, Previous
from tests.support import chosen_recognisers as recognisers
from tests.support.browser import DESKTOP, PHONE, violations
from tests.support.report_runs import KNOWN, QUERIES, report

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

LONG = "Apple_Golden_Delicious_of_the_orchard_beside_the_old_mill_in_the_south"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a report with all sections."""
    folder: Path = tmp_path_factory.mktemp("run")
    image = cv2.imencode(".png", np.full((20, 30, 3), 200, np.uint8))[1].tobytes()
    severities = ("error", "warning", "not checked")
    checks = [
        {"name": f"features: {severity}", "passed": passed, "saw": "x" * 120, "wanted": "1", "severity": severity}
        for severity in severities
        for passed in (True, False)
    ]
    places = [(split, LONG if category == "Apple" else category, pca) for split, category, pca in KNOWN + QUERIES]
    subject = recognisers.recogniser({LONG: (1, 0), "Lime": (0, 1)})
    change = {"basis": "the same Test images", "images": 4, "before": 0.75, "now": 0.5, "difference": -0.25}
    change |= {"low": -0.4, "high": -0.1, "is_drop": True}
    recognised = recognisers.figures(subject, places, asdict(recognisers.EVALUATION)) | {"change": change}
    made = report(
        folder,
        places,
        [("images/Test/Banana/cut.jpg", 8, "truncated"), ("killer.jpg", 8, "decoder_crash")],
        validation={"checks": checks, "recogniser": recognised},
        recogniser=subject,
        fetch=lambda key: None if "Kiwi" in key else image,
        seconds={"take_inventory": 1.0, "featurize_and_reduce": 300.0},
        dollars={"featurize_and_reduce": 0.2},
        expected_dollars=0.1,
        charged=False,
        previous=Previous({"run": "before", "categories": {"Lime": 12}}),
        about=About("s3://fruits/images/", "2026-11-22T09:04:05+01:00", None, "--refit is always.", {"k": 2}),
    )
    page = folder / "index.html"
    page.write_bytes(made.html)
    return page.as_uri()


def _open(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#plane canvas").first.wait_for()
    page.locator("#confidences canvas").first.wait_for()


def _rows(page: Page, table: str) -> list[str]:
    """Return the rows of a table with single spaces."""
    return [re.sub(r"\s+", " ", row) for row in page.locator(table).get_by_role("row").all_inner_texts()]


def test_report_is_accessible_and_as_wide_as_the_window(page: Page, address: str) -> None:
    for size in (PHONE, DESKTOP):
        for scheme in ("light", "dark"):
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            _open(page, address)
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")

            assert violations(page) == [], (size, scheme)
            assert page.evaluate("document.documentElement.scrollWidth") == size["width"]


def test_main_figures_are_in_one_row(page: Page, address: str) -> None:
    page.set_viewport_size(DESKTOP)
    _open(page, address)

    tops = page.locator(".tiles div").evaluate_all("tiles => tiles.map(tile => tile.getBoundingClientRect().top)")

    assert len(tops) == 7
    assert len(set(tops)) == 1


def test_charts_have_names_and_tables_with_their_values(page: Page, address: str) -> None:
    _open(page, address)

    assert page.get_by_role("img", name=re.compile(r"explained variance.* 1 for 50\s%, 2 for 80\s%")).count() == 1
    assert page.get_by_role("img", name=re.compile("8 images by their first two components")).count() == 1
    page.get_by_text("Explained variance as a table").click()
    assert _rows(page, "#components table") == [
        "Component Explains Together",
        "1 60.0 % 60.0 %",
        "2 30.0 % 90.0 %",
    ]
    page.get_by_text("The plane as a table").click()
    (row,) = page.locator("#plane table").get_by_role("row").filter(has_text="Kiwi").all_inner_texts()
    assert re.sub(r"\s+", " ", row) == "Kiwi 1 \N{MINUS SIGN}1.00 +0.00"


def test_recogniser_is_judged_in_tables(page: Page, address: str) -> None:
    page.set_viewport_size(PHONE)
    _open(page, address)
    page.get_by_text("Calibration as a table").click()

    section = re.sub(r"\s+", " ", page.locator("#recognition").inner_text())
    assert "50.0 % of 4 Test images are recognised: their most probable category is the right one." in section
    assert "Drop against the published run before: \N{MINUS SIGN}25.0 points, from 75.0 % to 50.0 %" in section
    assert _rows(page, "#recognition table >> nth=0") == [
        "Images Number Recognised, with 95 % interval",
        "Test 4 50.0 % 15.0 % to 85.0 %",
        "Training, on which it was fitted 4 100.0 % 51.0 % to 100.0 %",
        "Cross-validated in 5 folds 100 90.0 % 82.6 % to 94.5 %",
        "Test, by the nearest Training image instead 4 50.0 % 15.0 % to 85.0 %",
    ]
    assert _rows(page, "#recognition table >> nth=1")[0:2] == [
        "Mean probability Images Recognised, with 95 % interval",
        "71.1 % 1 100.0 % 20.7 % to 100.0 %",
    ]
    assert page.get_by_role("img", name=re.compile("share of recognised images by probability")).count() == 1


def test_cut_names_have_the_complete_name_as_title(page: Page, address: str) -> None:
    page.set_viewport_size(PHONE)
    _open(page, address)

    names = page.locator(".name").filter(has_text=LONG).all()

    assert len(names) == 3
    for name in names:
        assert name.evaluate("one => one.scrollWidth > one.clientWidth")
        assert name.get_attribute("title") == LONG


def test_tables_on_a_phone_leave_room_for_names(page: Page, address: str) -> None:
    page.set_viewport_size(PHONE)
    _open(page, address)
    page.get_by_text("The plane as a table").click()

    names = page.locator("table:not(.stacked) tbody td:first-child").locator("visible=true")

    assert {"Kiwi", "featurize_and_reduce", "Explained variance"} < {*names.all_inner_texts()}
    assert min(name.evaluate("one => one.getBoundingClientRect().width") for name in names.all()) >= 110
