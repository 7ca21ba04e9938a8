"""Figures of the report, compared with values computed by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits_features.extraction.families import color, contrast
from include.report import sample
from include.report.build import Previous, build
from include.report.sample import Totals
from include.report.sections import columns, nearest, plane
from tests.support.report_runs import KNOWN, QUERIES, Lost, inputs, report

if TYPE_CHECKING:
    from pathlib import Path

    from include.report.build import Report


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    lost: list[Lost] = [("a.jpg", 5, "truncated"), ("b.jpg", 0, "empty"), ("c.jpg", 0, "empty")]
    return report(tmp_path_factory.mktemp("run"), KNOWN + QUERIES, lost)


def test_figures_of_run_are_plain_json(made: Report) -> None:
    assert json.loads(json.dumps(made.figures, allow_nan=False)) == made.figures


def test_counts_of_run_are_those_of_its_tables(made: Report) -> None:
    assert made.figures["counts"] == {"inventory": 11, "features": 8, "quarantine": 3}
    assert [(one["category"], one["splits"]) for one in made.figures["categories"]] == [
        ("Apple", {"Test": 2, "Training": 2}),
        ("Kiwi", {"Test": 1}),
        ("Lime", {"Test": 1, "Training": 2}),
    ]


def test_typical_image_of_category_is_nearest_to_its_mean(made: Report) -> None:
    typical = {one["category"]: one["typical"] for one in made.figures["categories"]}
    assert (
        typical["Apple"] == "s3://fruits/images/Training/Apple/1.jpg"
    )  # at 6.3 degrees; others at 0, 5.7, 84; the mean at 22
    assert typical["Kiwi"] == "s3://fruits/images/Test/Kiwi/6.jpg"


def test_quarantine_of_run_is_listed_by_reason_the_most_frequent_first(made: Report) -> None:
    actual = [(one["reason"], one["images"], one["bytes"]) for one in made.figures["quarantine"]]
    assert actual == [("empty", 2, 0), ("truncated", 1, 5)]
    assert made.figures["quarantine"][0]["meaning"] == "The object has no bytes."
    assert made.figures["quarantine"][1]["samples"] == [
        {"path": "s3://fruits/a.jpg", "size": 5, "detail": "About a.jpg."}
    ]


def test_variance_of_projection_is_listed_with_the_components_it_needs(made: Report) -> None:
    variance = made.figures["variance"]
    assert (variance["components"], variance["features"], variance["explained"]) == (2, 286, 0.9)
    assert variance["reached"] == [
        {"share": 0.5, "components": 1},
        {"share": 0.8, "components": 2},
        {"share": 0.9, "components": 2},
    ]


def test_component_of_two_families_is_shared_by_squared_loadings(made: Report) -> None:
    first, second = made.figures["components"]
    assert first["families"] == {"orb": 0.36, "texture": 0.64}
    assert second["families"] == {"orb": 0.0, "texture": 1.0}
    assert [(one["column"], one["loading"], one["words"]) for one in first["strongest"][:2]] == [
        (256, 0.8, "luma: light spots or flat"),
        (7, -0.6, "descriptor bit 7"),
    ]


def test_component_has_images_of_different_categories_at_its_ends(made: Report) -> None:
    first, second = made.figures["components"]
    assert [one["path"][-5] for one in first["lowest"]] == ["6", "2", "5"]  # Kiwi -1, Lime 0, Apple 0.1
    assert [one["category"] for one in second["highest"]] == ["Lime", "Apple", "Kiwi"]


def test_recognition_with_both_splits_is_the_nearest_training_image(made: Report) -> None:
    found = made.figures["recognition"]
    assert (found["learnt"], found["learnt_of"], found["asked"], found["asked_of"]) == (4, 4, 4, 4)
    assert (found["recognised"], found["accuracy"]) == (2, 0.5)
    assert found["not_learnt"] == ["Kiwi"]
    assert [(one["category"], one["recognised"], one["images"], one["share"]) for one in found["by_category"]] == [
        ("Apple", 1, 2, 0.5),
        ("Kiwi", 0, 1, 0.0),
        ("Lime", 1, 1, 1.0),
    ]


def test_recognition_lists_confusions_with_the_surest_example(made: Report) -> None:
    pairs = made.figures["recognition"]["confusions"]
    assert [(one["category"], one["guess"], one["images"], one["of"]) for one in pairs] == [
        ("Apple", "Lime", 1, 2),
        ("Kiwi", "Lime", 1, 1),
    ]
    assert (pairs[0]["path"][-5:], pairs[0]["nearest"][-5:]) == ("5.jpg", "3.jpg")


def test_neighbours_with_both_splits_are_training_images_by_cosine(made: Report) -> None:
    kiwi = next(one for one in made.figures["neighbours"] if one["category"] == "Kiwi")
    assert [(one["path"][-5], one["cosine"]) for one in kiwi["nearest"]] == [
        ("2", 0.0),
        ("3", -0.1104),
        ("1", -0.9939),
        ("0", -1.0),
    ]


def test_neighbours_without_splits_never_hold_the_image_itself(tmp_path: Path) -> None:
    made = report(tmp_path, [(None, category, pca) for _, category, pca in KNOWN])

    assert made.figures["recognition"] is None
    assert [one["splits"] for one in made.figures["categories"]] == [{"none": 2}, {"none": 2}]
    for query in made.figures["neighbours"]:
        assert len(query["nearest"]) == 3
        assert query["path"] not in {one["path"] for one in query["nearest"]}


def test_figures_of_one_category_and_one_image_are_made(tmp_path: Path) -> None:
    made = report(tmp_path, [(None, "Apple", (0, 0))])

    assert made.figures["plane"]["shown"] == 1
    assert made.figures["neighbours"] == [
        {"path": "s3://fruits/images/Apple/0.jpg", "category": "Apple", "nearest": []}
    ]


def test_rows_beyond_the_limit_are_sampled_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MAX_OTHER_ROWS", 100)
    many = [("Training", "Apple", (1.0, n / 1000)) for n in range(1000)]
    made = report(tmp_path, [*many, *[("Training", "Rare", (0.0, 1.0))] * 5, *QUERIES])

    found = made.figures["recognition"]
    assert found["learnt_of"] == 1005
    assert 60 < found["learnt"] < 150
    assert "Rare" not in found["not_learnt"]
    assert "Training images are drawn at random from" in made.html.decode()


def test_plane_of_many_images_shows_each_category_by_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane, "MAX_POINTS", 100)
    many = [(None, "Apple", (1.0, n / 1000)) for n in range(900)]
    some = [(None, "Lime", (0.0, 1.0)) for _ in range(97)]
    shown = report(tmp_path, [*many, *some, *[(None, "Rare", (0.0, 2.0))] * 3]).figures["plane"]

    counted = {name: shown["category"].count(name) for name in ("Apple", "Lime", "Rare")}
    assert counted == {"Apple": 90, "Lime": 10, "Rare": 3}
    assert (shown["shown"], shown["of"]) == (103, 1000)
    assert len(set(shown["path"])) == 103


def test_nearest_across_blocks_equals_one_large_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "QUERY_BLOCK", 7)
    monkeypatch.setattr(nearest, "KNOWN_BLOCK", 5)
    random = np.random.default_rng(0)
    asked, known = (random.normal(size=(n, 3)).astype(np.float32) for n in (30, 23))

    index, cosines = nearest.first_nearest(asked, known)

    assert index.tolist() == (asked @ known.T).argmax(axis=1).tolist()
    assert np.allclose(cosines, (asked @ known.T).max(axis=1))


def test_tasks_with_time_and_cost_are_added_up(tmp_path: Path) -> None:
    made = report(tmp_path, KNOWN, seconds={"a": 1.5, "b": 2.0}, dollars={"b": 0.25}, expected_dollars=0.3)

    assert made.figures["tasks"] == {
        "seconds": 3.5,
        "dollars": 0.25,
        "expected_dollars": 0.3,
        "charged": True,
        "by_task": [{"task": "a", "seconds": 1.5, "dollars": None}, {"task": "b", "seconds": 2.0, "dollars": 0.25}],
    }


def test_comparison_with_previous_run_lists_changes(tmp_path: Path, made: Report) -> None:
    document = {
        "run": "q",
        "counts": {"inventory": 4, "features": 4, "quarantine": 0},
        "categories": {"Apple": 1, "Lime": 2, "Old": 1},
        "projection": {"components": 2, "explained_variance": 0.8},
    }
    compared = report(tmp_path, KNOWN, previous=Previous(document)).figures["comparison"]

    actual = {one["figure"]: (one["before"], one["now"]) for one in compared["figures"]}
    assert actual["features"] == (4, 4)
    assert actual["categories"] == (3, 2)
    assert actual["explained"] == (0.8, 0.9)
    assert actual["accuracy"] == (None, None)
    assert compared["categories_changed"] == 2
    assert compared["categories"] == [
        {"category": "Apple", "before": 1, "now": 2},
        {"category": "Old", "before": 1, "now": 0},
    ]
    assert made.figures["comparison"] is None


def test_comparison_with_previous_figures_knows_its_recognition(tmp_path: Path, made: Report) -> None:
    compared = report(tmp_path, KNOWN, previous=Previous({"run": "q"}, made.figures)).figures["comparison"]

    assert {"figure": "accuracy", "before": 0.5, "now": None} in compared["figures"]
    assert {"figure": "features", "before": 8, "now": 4} in compared["figures"]


@pytest.mark.parametrize(
    ("bins", "words", "rgb"),  # by JPEG's formula: red = luma + 1.403 * red difference, and so on
    [
        ((1, 11, 4), "luma 128, red +67, blue \N{MINUS SIGN}53", (223, 98, 34)),
        ((2, 4, 9), "luma 213, red +3, blue \N{MINUS SIGN}3", (217, 212, 208)),
    ],
)
def test_column_of_colour_is_named_by_the_centre_of_its_bin(
    bins: tuple[int, ...], words: str, rgb: tuple[int, ...]
) -> None:
    column = columns.column_at({"color": color.DIMENSION}, int(np.ravel_multi_index(bins, color.BINS)))

    assert column.words == words
    assert np.abs(np.array([*bytes.fromhex(column.colour[1:])]) - rgb).max() <= 3


@pytest.mark.parametrize(
    ("index", "words"),
    [(8, "luma: dark spots"), (14, "red difference: edges"), (29, "blue difference: no uniform pattern")],
)
def test_columns_of_texture_name_channel_and_pattern(index: int, words: str) -> None:
    assert columns.column_at({"texture": 30}, index).words == words


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (62, "luma +0, red +0, blue +0 beside its surroundings"),
        (0, "luma \N{MINUS SIGN}28, red \N{MINUS SIGN}12, blue \N{MINUS SIGN}12 beside its surroundings"),
        (4, "luma \N{MINUS SIGN}28, red \N{MINUS SIGN}12, blue +12 beside its surroundings"),
    ],
)
def test_columns_of_contrast_name_the_centres_of_their_bins(index: int, words: str) -> None:
    assert columns.column_at({"contrast": contrast.DIMENSION}, index).words == words


def test_columns_after_a_model_are_named_by_their_own_family() -> None:
    sizes = {"onnx": 1000, "pixels": 3072}

    assert columns.column_at(sizes, 999) == ("onnx", "value 999 of the model's", "")
    assert columns.column_at(sizes, 1000 + 32 * 3 + 4) == ("pixels", "row 2, column 2, green", "")
    with pytest.raises(IndexError, match="4072 columns"):
        columns.column_at(sizes, 4072)


def test_report_of_a_sample_that_a_cluster_has_drawn_equals_that_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "MAX_OTHER_ROWS", 100)
    many = [*QUERIES, *(("Training", "Apple", (1.0, n / 1000)) for n in range(1000))]
    of_files = inputs(tmp_path, many, [("a.jpg", 1, "truncated"), ("b.jpg", 2, "truncated")])
    totals = Totals.of_dict(json.loads(json.dumps(sample.count(of_files.files).as_dict())))
    rows = list(sample.sampled(of_files.files.features, sample.shares(totals.images, 2)))
    place = tmp_path / of_files.files.layout.report_sample.removeprefix("s3://")
    place.mkdir(parents=True)
    pq.write_table(pa.Table.from_batches(rows).drop_columns("draw"), place / "part-00000.parquet")
    expected = build(of_files).figures
    for file in (tmp_path / of_files.files.layout.features.removeprefix("s3://")).iterdir():
        pq.write_table(pq.read_table(file).slice(0, 0), file)  # no row is read

    made = build(replace(of_files, totals=totals)).figures

    assert 60 < made["recognition"]["learnt"] < 150
    assert {name: value for name, value in made.items() if name != "counts"} == {
        name: value for name, value in expected.items() if name != "counts"
    }
