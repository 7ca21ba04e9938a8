"""Published runs by name and by time, their vectors and labels, and errors for runs that do not exist."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from fruits_features import dataset, publications
from fruits_features.contract import layout

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")

RUNS = {"a": "2026-11-20T08:00:00+00:00", "Z-a": "2026-11-21T08:00:00+00:00", "c": "2026-11-22T08:00:00+00:00"}


def _publish(aws: LocalAws, place: layout.DatasetLayout, run: str, pointer: str, rows: pl.DataFrame) -> None:
    """Write a run of these rows, and its pointer."""
    bucket, features = place.bucket, place.run(run).features
    content = json.dumps({"run": run, "published_at": RUNS[run], "paths": {"features": features}}).encode()
    file = io.BytesIO()
    rows.write_parquet(file)
    for uri, body in ((pointer, content), (f"{features}/part-00000.parquet", file.getvalue())):
        aws.s3().put_object(Bucket=bucket, Key=uri.removeprefix(f"s3://{bucket}/"), Body=body)


@pytest.fixture
def orchard(local_aws: LocalAws, bucket: str) -> str:
    """A bucket with three published runs, each with one row that contains its name."""
    paths = layout.DatasetLayout(bucket)
    for run, published_at in RUNS.items():
        pointer = paths.latest if run == "c" else paths.publication(published_at, run)
        _publish(local_aws, paths, run, pointer, pl.DataFrame({"run": [run]}))
    return f"s3://{bucket}"


@pytest.mark.parametrize("run", RUNS)
def test_run_is_opened_by_its_name(orchard: str, run: str) -> None:
    assert dataset.open(orchard, run=run).collect()["run"].to_list() == [run]


@pytest.mark.parametrize(
    ("as_of", "run"),
    [
        ("2026-11-20", "a"),
        ("20261120", "a"),
        ("2026-11-20T08:00:00", "a"),
        ("2026-11-21T07:59:59", "a"),
        ("2026-11-21T09:00:00+01:00", "Z-a"),
        (date(2026, 11, 21), "Z-a"),
        (datetime(2026, 11, 22, 7, 59, tzinfo=UTC), "Z-a"),
        (datetime(2026, 11, 22, 8, 0, 0, 500, tzinfo=UTC), "c"),
        ("2027-01-01", "c"),
    ],
)
def test_run_of_time_is_the_one_published_then(orchard: str, as_of: str | date, run: str) -> None:
    assert dataset.published(orchard, as_of=as_of)["run"] == run


def test_time_before_all_runs_names_the_published_ones(orchard: str) -> None:
    with pytest.raises(
        dataset.NothingPublishedError, match=r"a run published by 2026-11-19T23.*newest first: c, Z-a, a\."
    ):
        dataset.open(orchard, as_of="2026-11-19")


@pytest.mark.parametrize("as_of", ["0206-11-20", "0001-01-01T00:00+01:00"])
def test_time_with_a_misspelt_year_finds_no_run(orchard: str, as_of: str) -> None:
    with pytest.raises(dataset.NothingPublishedError, match=f"a run published by {as_of[:10]}"):
        dataset.open(orchard, as_of=as_of)


def test_unknown_table_is_an_error_that_lists_the_tables(orchard: str) -> None:
    table: Any = "feature"

    with pytest.raises(ValueError, match="'feature' is not a table; choose one of features, quarantine, inventory"):
        dataset.open(orchard, table)


def test_foreign_objects_beside_the_earlier_pointers_are_left_out(local_aws: LocalAws, orchard: str) -> None:
    bucket = orchard.removeprefix("s3://")
    local_aws.s3().put_object(Bucket=bucket, Key="features/published/.DS_Store", Body=b"")

    assert [one.run for one in publications.publications(orchard)] == ["c", "Z-a", "a"]
    assert dataset.published(orchard, as_of="2026-11-20")["run"] == "a"


def test_run_that_was_left_for_an_earlier_one_is_still_listed_and_opened(local_aws: LocalAws, orchard: str) -> None:
    """docs/guides/reruns.md: a copied pointer goes back, and each pointer has a copy."""
    place = layout.DatasetLayout(orchard.removeprefix("s3://"))
    keys = {run: layout.split(place.publication(published_at, run))[1] for run, published_at in RUNS.items()}
    copies = [("features/latest.json", keys["c"]), (keys["Z-a"], "features/latest.json")]
    for source, target in copies:
        local_aws.s3().copy_object(Bucket=place.bucket, Key=target, CopySource=f"{place.bucket}/{source}")

    assert [one.run for one in publications.publications(orchard)] == ["Z-a", "c", "a"]
    assert dataset.published(orchard)["run"] == "Z-a"
    assert dataset.open(orchard, run="c").collect()["run"].to_list() == ["c"]
    with pytest.raises(dataset.NothingPublishedError, match=r"newest first: Z-a, c, a\."):
        dataset.open(orchard, run="d")


def test_pointer_of_a_newer_version_names_the_way_out(local_aws: LocalAws, bucket: str) -> None:
    pointer = json.dumps({"format": 2, "run": "a", "files": {}}).encode()
    local_aws.s3().put_object(Bucket=bucket, Key="features/latest.json", Body=pointer)

    for read in (dataset.published, publications.publications):
        with pytest.raises(dataset.DamagedPointerError, match=r"latest\.json has the format 2.* reads 1; install"):
            read(f"s3://{bucket}")


def test_unknown_run_names_the_published_ones(orchard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publications, "_MAX_NAMES", 2)

    with pytest.raises(dataset.NothingPublishedError, match=r"does not contain the run 'b'.*: c, Z-a and 1 more\."):
        dataset.open(orchard, run="b")


@pytest.fixture
def market(local_aws: LocalAws, orchard: str) -> str:
    """A bucket with the data set of `orchard`, a named one, and one that has no published run yet."""
    bucket = orchard.removeprefix("s3://")
    citrus = layout.DatasetLayout(bucket, "citrus")
    _publish(local_aws, citrus, "a", citrus.latest, pl.DataFrame({"run": ["a of citrus"]}))
    claim = layout.DatasetLayout(bucket, "begun").run("a").claim
    local_aws.s3().put_object(Bucket=bucket, Key=layout.split(claim)[1], Body=b"{}")
    return orchard


def test_data_set_is_opened_by_its_name(market: str) -> None:
    assert dataset.open(market, dataset="citrus").collect()["run"].to_list() == ["a of citrus"]
    assert dataset.open(market, dataset="default").collect()["run"].to_list() == ["c"]
    assert [one.run for one in publications.publications(market, dataset="citrus")] == ["a"]


@pytest.mark.parametrize("name", ["citrsu", "begun"])
def test_unknown_data_set_names_the_known_ones(market: str, name: str) -> None:
    with pytest.raises(dataset.NothingPublishedError) as unknown:
        dataset.open(market, dataset=name)

    assert str(unknown.value) == (
        f"There is no {market}/features/datasets/{name}/latest.json: open another data set of this bucket "
        "(default, citrus), or run the DAG on this data set first."
    )


def test_unknown_run_of_a_data_set_names_those_of_the_data_set(market: str) -> None:
    with pytest.raises(dataset.NothingPublishedError, match=r"datasets/citrus does not contain the run 'c'.*: a\."):
        dataset.open(market, dataset="citrus", run="c")


@pytest.mark.parametrize("name", ["Citrus", "a_b", "-a", "a-", "", "a/b", "..", "a\n", "a" * 41])
def test_name_that_is_none_of_a_data_set_is_refused_with_an_example(orchard: str, name: str) -> None:
    with pytest.raises(ValueError, match=r"is not the name of a data set: write 1 to 40 .*, such as citrus-2026"):
        dataset.published(orchard, dataset=name)


def test_run_and_time_exclude_each_other(orchard: str) -> None:
    with pytest.raises(ValueError, match="run='a' and as_of='2026-11-20' exclude each other"):
        dataset.open(orchard, run="a", as_of="2026-11-20")


ROWS = [
    ("Training", "Apple", 100, b"d", [1.0, 2.0], [0.1, 0.2, 0.3]),
    (None, "Apple", 100, b"d", [3.0, 4.0], [0.4, 0.5, 0.6]),
    ("Training", "Lime", 100, b"d", [5.0, 6.0], [0.7, 0.8, 0.9]),
    ("Test", "Lime", 100, b"d", [7.0, 8.0], [1.0, 1.1, 1.2]),
]


@pytest.fixture
def shop(local_aws: LocalAws, bucket: str) -> str:
    """A bucket with a published run of four images, one of them without a split."""
    scalars = {"split": pl.String, "category": pl.String, "width": pl.Int32, "descriptors": pl.Binary}
    schema = scalars | dict.fromkeys(("pca", "features"), pl.List(pl.Float32))
    place = layout.DatasetLayout(bucket)
    _publish(local_aws, place, "a", place.latest, pl.DataFrame(ROWS, schema, orient="row"))
    return f"s3://{bucket}"


def test_vectors_and_labels_of_a_split_are_in_the_order_of_the_rows(shop: str) -> None:
    vectors, labels = dataset.matrix_and_labels(shop, split="Training")

    assert (vectors.tolist(), vectors.dtype) == ([[1, 2], [5, 6]], np.float32)
    assert labels.tolist() == ["Apple", "Lime"]
    assert vectors.flags.writeable


def test_vectors_and_labels_without_a_split_are_those_of_all_images(shop: str) -> None:
    vectors, labels = dataset.matrix_and_labels(shop, column="features", run="a")

    assert vectors.shape == (4, 3)
    assert labels.tolist() == ["Apple", "Apple", "Lime", "Lime"]


def test_vectors_of_a_missing_split_name_the_splits_of_the_run(shop: str) -> None:
    with pytest.raises(ValueError, match=r"no images of the split 'Validation'\. Its splits: Test, Training\."):
        dataset.matrix_and_labels(shop, split="Validation")


@pytest.mark.parametrize("column", ["descriptors", "width", "path", "split", "pac"])
def test_column_without_vectors_is_an_error_that_lists_those_with_vectors(shop: str, column: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=rf"^The column '{column}' has no vectors; choose one of pca, features\.$"):
        dataset.matrix_and_labels(shop, column=column)
