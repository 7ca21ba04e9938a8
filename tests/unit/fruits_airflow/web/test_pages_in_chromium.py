"""The plugin's pages in a browser: accessible, and usable on a phone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from fruits_features.contract.layout import DatasetLayout
from tests.support.browser import DESKTOP, PHONE, violations

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

RUN = "2026-11-29T141033Z-an-orchard-with-a-long-name-in-the-south-fruits_features"
PUBLISHED = "2026-11-28T141033Z-fruits_features"


def _record(run: str, **changes: object) -> dict[str, Any]:
    return changes | {
        "run": run,
        "dag": {"dag_id": "fruits_features"},
        "published_at": datetime(2026, 11, 29, tzinfo=UTC),
        "counts": {"features": 90380, "quarantine": 3},
        "categories": {"Limes": 90380},
        "projection": {"components": 17, "explained_variance": 0.951},
        "cost": {"actual": {"dollars": 0.31, "charged": False}},
    }


FOLDER = f"s3://fruits/features/runs/{RUN}/"
PAGES: dict[str, dict[str, Any]] = {
    "runs.html": {
        "dataset": DatasetLayout("fruits"),
        "query": "",
        "datasets": {"default": ""},
        "records": [
            _record(RUN, recogniser={"splits": {"Test": {"images": 22688, "right": 20646}}}),
            _record(PUBLISHED, recogniser={}),
            _record("by an older version"),
        ],
        "published": PUBLISHED,
        "notes": [f"s3://fruits/features/runs/{RUN}/run.json is damaged."],
    },
    "files.html": {"place": FOLDER, "entries": [f"{FOLDER}{name}" for name in ("features/", "run.json")]},
    "missing.html": {"heading": "No report", "reason": f"{FOLDER}report/ does not exist.", "link": "../report"},
    "report.html": {"run": RUN, "query": ""},
}


def _show(page: Page, template: str, size: ViewportSize, **changes: object) -> None:
    from fruits_airflow.web import app

    page.set_viewport_size(size)
    page.set_content(bytes(app._page(template, **PAGES[template] | changes).body).decode())  # noqa: SLF001


@pytest.mark.parametrize("template", PAGES)
def test_page_is_accessible_and_as_wide_as_the_window(page: Page, template: str) -> None:
    for size in (PHONE, DESKTOP):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            _show(page, template, size)

            assert violations(page) == [], (size, scheme)
            assert page.evaluate("document.documentElement.scrollWidth") == size["width"]


@pytest.mark.parametrize("template", PAGES)
def test_page_has_one_main_part_a_heading_and_a_title_of_its_own(page: Page, template: str) -> None:
    _show(page, template, DESKTOP)

    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.title().endswith(" \N{EN DASH} Fruits!")


def test_empty_list_is_accessible(page: Page) -> None:
    _show(page, "runs.html", PHONE, records=[], notes=[])

    assert violations(page) == []


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_choice_among_many_data_sets_is_accessible_and_as_wide_as_the_window(page: Page, size: ViewportSize) -> None:
    names = ["default", *(f"orchard-number-{number}-of-the-company-in-2026" for number in range(30))]
    datasets = {name: f"?dataset={name}" for name in names}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        _show(page, "runs.html", size, datasets=datasets, dataset=DatasetLayout("fruits", names[1]))

        assert violations(page) == [], scheme
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    links = page.get_by_role("navigation", name="Data sets").get_by_role("link")
    assert links.all_inner_texts() == names
    assert page.locator("[aria-current=page]").all_inner_texts() == [names[1]]


def test_list_on_a_phone_shows_all_figures_and_cuts_long_names(page: Page) -> None:
    _show(page, "runs.html", PHONE)

    link = page.get_by_role("link", name=RUN)
    assert link.get_attribute("title") == RUN
    assert link.evaluate("one => one.scrollWidth > one.clientWidth")
    for part in page.get_by_text("published", exact=True).all() + page.locator("td").all():
        box = part.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]


def test_list_has_the_share_of_recognised_test_images(page: Page) -> None:
    _show(page, "runs.html", PHONE)

    assert page.locator("td[data-label='Recognised (Test)']").all_inner_texts() == [
        "91.0%",
        "\N{EN DASH}",
        "\N{EN DASH}",
    ]


def test_list_marks_the_published_run_beside_its_name(page: Page) -> None:
    _show(page, "runs.html", DESKTOP)

    marked = page.get_by_role("rowheader").filter(has=page.get_by_text("published", exact=True))
    assert marked.get_by_role("link").all_inner_texts() == [PUBLISHED]


def test_files_have_short_names_and_their_uri_as_title(page: Page) -> None:
    _show(page, "files.html", PHONE)

    links = page.get_by_role("listitem").get_by_role("link")
    assert links.all_inner_texts() == ["features/", "run.json"]
    assert links.last.get_attribute("title") == f"{FOLDER}run.json"
