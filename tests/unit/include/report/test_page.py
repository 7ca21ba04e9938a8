"""The page: complete, safe, and without sections that have no data."""

from __future__ import annotations

import itertools
import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from fruits_features.contract.families import FAMILIES
from fruits_features.imaging.thumbnail import thumbnail
from include.report.build import About
from include.report.page import pictures
from tests.support.deadly_decoder.sitecustomize import ENDLESS_MARK, MARK
from tests.support.pictures import stored
from tests.support.report_runs import KNOWN, QUERIES, report

if TYPE_CHECKING:
    from include.report.build import Report

LINKS = {"src", "href", "srcset", "action", "formaction", "poster", "data", "background", "xlink:href"}
HOSTILE = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Content of a page as a browser parses it."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.policy = ""
        self.texts: dict[str, list[str]] = {}
        self.feed(report.html.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in LINKS]
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""
        if tag in {"script", "style"}:
            self.texts.setdefault(tag, []).append("")

    def handle_data(self, data: str) -> None:
        last = self.tags[-1] if self.tags else ""
        if last in {"script", "style"}:
            self.texts[last][-1] += data
        else:
            self.texts.setdefault("text", []).append(data)

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts["text"]).split())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    places = [(split, HOSTILE if category == "Lime" else category, pca) for split, category, pca in KNOWN + QUERIES]
    checks = [{"name": HOSTILE, "passed": False, "saw": HOSTILE, "wanted": HOSTILE, "severity": "error"}]
    lost = [(f"images/{HOSTILE}.jpg", 8, "undecodable")]
    seconds = {HOSTILE: 1.0}
    return Page(report(tmp_path_factory.mktemp("run"), places, lost, validation={"checks": checks}, seconds=seconds))


def test_page_of_run_refers_to_nothing_outside_itself(hostile: Page) -> None:
    assert [link for link in hostile.links if not link.startswith(("#", "data:"))] == []
    assert "link" not in hostile.tags
    assert [word for style in hostile.texts["style"] for word in ("url(", "@import") if word in style] == []
    assert "default-src 'none'" in hostile.policy


def test_policy_of_page_names_its_scripts_and_no_others(hostile: Page) -> None:
    scripts = hostile.texts["script"][1:]  # the first one is data
    hashes = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = next(part for part in hostile.policy.split(";") if "script-src" in part).split()[1:]
    assert allowed == [f"'sha256-{one}'" for one in hashes]


def test_page_with_hostile_names_shows_them_as_text(hostile: Page) -> None:
    assert hostile.tags.count("script") == 3
    assert hostile.text.count(HOSTILE) > 5
    assert HOSTILE in json.loads(hostile.texts["script"][0])["plane"]["doc"].__repr__()


def test_page_of_run_without_quarantine_reports_it(tmp_path: Path) -> None:
    made = report(tmp_path, KNOWN + QUERIES)

    assert made.figures["quarantine"] == []
    assert "Nothing was quarantined" in Page(made).text


def test_page_of_run_without_splits_and_recogniser_says_that_nothing_is_recognised(tmp_path: Path) -> None:
    page = Page(report(tmp_path, [(None, category, pca) for _, category, pca in KNOWN]))

    assert "Recognition This run has no recogniser. The application wrote none. Validation" in page.text
    assert "are recognised" not in page.text
    assert "Random images of the run" in page.text


def test_sentences_are_separated_by_spaces(tmp_path: Path) -> None:
    page = Page(report(tmp_path, KNOWN))

    assert f"All {len(KNOWN)} images. Select categories" in page.text
    assert re.findall(r"\w+[.;:][A-Z]\w+", page.text) == []


def test_page_of_one_category_uses_the_singular(tmp_path: Path) -> None:
    assert "in 1 category;" in Page(report(tmp_path, [(None, "Apple", (1, 0))])).text


@pytest.mark.parametrize(
    ("severities", "words"),
    [
        ((), "All 1 checks passed."),
        (("warning",), "No check failed; 1 warning ."),
        (("not checked",), "No check failed; 1 not checked ."),
        (("warning", "not checked"), "No check failed; 1 warning ; 1 not checked ."),
        (("warning", "error", "not checked"), "1 of 4 checks failed."),
    ],
)
def test_page_begins_with_the_result_of_the_checks(tmp_path: Path, severities: tuple[str, ...], words: str) -> None:
    odd = [{"name": "n", "passed": False, "saw": "1", "wanted": "2", "severity": one} for one in severities]
    checks = [{"name": "good", "passed": True, "saw": "1", "wanted": "1", "severity": "error"}, *odd]

    assert words in Page(report(tmp_path, KNOWN, validation={"checks": checks})).text


def test_page_with_a_cost_shows_its_scope_and_the_expected_cost(tmp_path: Path) -> None:
    page = Page(report(tmp_path, KNOWN, seconds={"a": 1.0}, dollars={"a": 0.002}, expected_dollars=0.13))

    assert "Cost < $0.01" in page.text
    assert (
        "instance hours at list prices (expected: $0.13). Storage, requests and traffic are not included." in page.text
    )


def test_page_with_the_cost_of_an_emulated_cluster_says_that_it_was_not_charged(tmp_path: Path) -> None:
    page = Page(report(tmp_path, KNOWN, seconds={"a": 1.0}, dollars={"a": 0.002}, charged=False))

    assert "Cost < $0.01 estimate; nothing was charged" in page.text
    assert "instance hours at list prices. It is an estimate; nothing was charged." in page.text


def test_page_without_a_cost_does_not_mention_it(tmp_path: Path) -> None:
    text = Page(report(tmp_path, KNOWN, seconds={"a": 1.0})).text

    assert "Time by task" in text
    assert "cost" not in text.lower()


def test_page_shows_pictures_where_there_is_something_to_see(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    image = cv2.imencode(".jpg", random.integers(0, 255, (300, 200, 3), np.uint8))[1].tobytes()
    bucket = {"images/Training/Apple/0.jpg": image, "cut.jpg": image[: len(image) // 2], "text.jpg": b"no image"}
    lost = [
        ("cut.jpg", 8, "truncated"),
        ("text.jpg", 8, "undecodable"),
        ("killer.jpg", 8, "decoder_crash"),
        ("large.jpg", pictures.MAX_BYTES + 1, "truncated"),
    ]
    requested: list[str] = []
    fetch = lambda key: requested.append(key) or bucket.get(key)  # noqa: E731 - records the requested keys
    page = Page(report(tmp_path, KNOWN, lost, fetch=fetch))

    shown = {link for link in page.links if link.startswith("data:")}
    assert len(shown) == 2
    sizes = set()
    for link in shown:
        data = np.frombuffer(b64decode(link.removeprefix("data:image/webp;base64,")), np.uint8)
        sizes.add(cv2.imdecode(data, cv2.IMREAD_COLOR).shape)
    assert sizes == {(112, 75, 3)}
    assert {"cut.jpg", "text.jpg"} <= set(requested)
    assert {"killer.jpg", "large.jpg"} & set(requested) == set()
    assert len(requested) == len(set(requested))


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"\xff\xd8\xff\xe0"])
def test_thumbnail_of_what_shows_nothing_is_none(data: bytes) -> None:
    assert thumbnail(data) is None


def test_picture_that_stops_its_decoder_costs_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "support" / "deadly_decoder"))
    monkeypatch.setattr(pictures, "DEADLINE_S", 3)
    image = cv2.imencode(".png", np.full((20, 30, 3), 200, np.uint8))[1].tobytes()
    bucket = {"a": image, "b": image + ENDLESS_MARK, "c": image, "d": image + MARK, "e": image}

    shown = pictures.load((f"s3://fruits/{key}" for key in bucket), "fruits", bucket.get)

    assert sorted(shown) == ["s3://fruits/a", "s3://fruits/c", "s3://fruits/e"]


def test_thumbnail_above_a_limit_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    image = cv2.imencode(".png", np.full((20, 30, 3), 200, np.uint8))[1].tobytes()
    jpeg = stored()["jpeg, progressive"].data
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    assert thumbnail(image, max_pixels=600)
    assert thumbnail(jpeg)
    monkeypatch.setattr(cv2, "imdecode", None)

    assert thumbnail(image, max_pixels=599) is None
    assert thumbnail(jpeg[:-2] + scan * 100 + jpeg[-2:]) is None


def test_thumbnail_of_small_image_keeps_its_size() -> None:
    picture = thumbnail(cv2.imencode(".png", np.full((20, 30, 3), 200, np.uint8))[1].tobytes())

    assert picture is not None
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (20, 30, 3)


def test_page_shows_the_origin_of_the_run(tmp_path: Path) -> None:
    params = {"features": ["orb", "color"], "k": 2, "explained_variance": 0.95, "refit": "never", "onnx_model": None}
    kept, why = "s3://fruits/features/runs/before/projection/projection.npz", "--refit is never."
    made = report(tmp_path, KNOWN, about=About("s3://fruits/images/", "2026-11-22T09:04:05+01:00", kept, why, params))

    assert made.figures["about"]["params"] == {"features": ["orb", "color"], "k": 2, "refit": "never"}
    assert (
        f"s3://fruits/images/ as of 2026-11-22 08:04 UTC · projection {made.figures['variance']['version']}, kept from "
        "run before: --refit is never. · features orb, color · k 2 · refit never" in Page(made).text
    )


def test_page_of_run_that_fitted_its_own_projection_reports_it(tmp_path: Path) -> None:
    about = About("s3://fruits/images/", "2026-11-22T09:04:05+01:00", None, "--refit is always.", {})

    assert "fitted by this run: --refit is always." in Page(report(tmp_path, KNOWN, about=about)).text


def test_page_names_the_file_of_its_figures(tmp_path: Path) -> None:
    assert "in s3://fruits/features/runs/r/report/figures.json ." in Page(report(tmp_path, KNOWN)).text


@pytest.mark.parametrize("dark", [False, True])
def test_every_family_has_a_colour_that_looks_like_no_other(*, dark: bool) -> None:
    css = files("include.report.page").joinpath("page.css").read_text()
    light, _, of_dark = css.partition("@media (prefers-color-scheme: dark)")
    colours = []
    for name in FAMILIES:
        found = [re.search(rf"--{name}: #(\w+);", part) for part in ((of_dark, light) if dark else (light,))]
        colours.append(next(one[1] for one in found if one))
    pixels = np.array([[[int(colour[place : place + 2], 16) for place in (0, 2, 4)] for colour in colours]], np.float32)
    (lab,) = cv2.cvtColor(pixels / 255, cv2.COLOR_RGB2LAB)
    apart = [float(np.linalg.norm(one - other)) for one, other in itertools.combinations(lab, 2)]

    assert min(apart) > 30
    assert all(f".{name} {{ background: var(--{name}); }}" in css for name in FAMILIES)
