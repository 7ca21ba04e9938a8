"""A run publishes features of a bucket of images. A second run gives the same rows."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest

from fruits_airflow.task_ids import VALIDATE_PARQUET
from fruits_features import dataset
from fruits_features.projection import Projection
from fruits_features.recogniser.model import Recogniser
from include.validation.cluster_figures import AGAIN
from tests.support.airflow.pipeline import DATE, ODD_NAMES, PARAMS
from tests.support.described_fields import OF_LATEST, OF_RECORD, undescribed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.airflow.pipeline import Pipeline, Published


def test_every_image_is_in_exactly_one_table(pipeline: Pipeline, published: Published) -> None:
    assert published.features.height == 48 + len(ODD_NAMES)
    assert set(published.quarantine.select("path", "stage", "reason").iter_rows()) == {
        (f"s3://{pipeline.bucket}/images/Test/Banana/text.jpg", "decode", "not_an_image"),
        (f"s3://{pipeline.bucket}/images/Test/Banana/empty.jpg", "fetch", "empty"),
        (f"s3://{pipeline.bucket}/images/Test/Banana/cut.jpg", "decode", "truncated"),
        (f"s3://{pipeline.bucket}/images/Test/Banana/huge.png", "decode", "too_many_pixels"),
        (f"s3://{pipeline.bucket}/images/stray.jpg", "fetch", "no_category"),
    }


def test_odd_names_keep_their_spelling_and_category(pipeline: Pipeline, published: Published) -> None:
    odd = published.features.filter(pl.col("path").is_in([f"s3://{pipeline.bucket}/{key}" for key in ODD_NAMES]))

    assert sorted(odd["category"]) == ["Banana", "Crème brûlée #1"]


def test_published_documents_contain_run_counts_projection_and_checks(pipeline: Pipeline, published: Published) -> None:
    latest, record = published.latest, pipeline.json(pipeline.key(published.latest["paths"]["run"]))
    assert (undescribed(latest, OF_LATEST), undescribed(record, OF_RECORD)) == ([], [])

    assert latest["run"] == f"{DATE}T000000Z-fruits-fruits_features"
    assert latest["counts"] == {"inventory": 55, "features": 50, "quarantine": 5}
    assert latest["projection"]["components"] == 8
    assert 0 < latest["projection"]["explained_variance"] <= 1
    assert record["dag"]["dag_id"] == "fruits_features"
    assert record["params"]["k"] == 8
    not_passed = {check["name"]: check["severity"] for check in record["checks"] if not check["passed"]}
    assert not_passed == {
        "recogniser: accuracy against the published run": "not checked",
        "drift: comparison with the published run": "not checked",
    }
    assert "/artifacts/fruits_features-" in record["artifacts"]["application"]


def test_projection_without_spark_gives_the_published_row(pipeline: Pipeline, published: Published) -> None:
    projection = Projection.from_bytes(pipeline.get(published.latest["paths"]["projection"]))
    row = published.features.row(0, named=True)

    np.testing.assert_allclose(projection.embed(pipeline.get(row["path"])), row["pca"], atol=1e-4)


def test_published_recogniser_knows_the_training_categories(pipeline: Pipeline, published: Published) -> None:
    recogniser = Recogniser.from_bytes(pipeline.get(published.latest["paths"]["recogniser"]))
    training = published.features.filter(pl.col("split") == "Training")
    row = training.row(0, named=True)

    guesses = recogniser.recognise(np.float32(row["pca"]))

    assert recogniser.projection == published.latest["projection"]["version"]
    assert recogniser.categories == tuple(sorted(set(training["category"])))
    assert sum(probability for _, probability in guesses) == pytest.approx(1)
    assert pipeline.record()["recogniser"]["splits"]["Training"]["images"] == training.height


def test_cluster_is_terminated_and_the_logs_of_its_step_are_kept(pipeline: Pipeline, published: Published) -> None:
    assert published.latest
    assert pipeline.cluster_states()[0] == ("TERMINATED", "USER_REQUEST")
    assert pipeline.aws.active_clusters() == []
    listed = pipeline.s3.list_objects_v2(Bucket=pipeline.bucket, Prefix="logs/emr/")["Contents"]
    assert [entry["Key"] for entry in listed if "/steps/" in entry["Key"] and entry["Key"].endswith("stderr.gz")]


def test_cost_of_the_cluster_is_in_the_record_and_by_task_in_the_report(
    pipeline: Pipeline, published: Published
) -> None:
    cost = pipeline.record()["cost"]
    figures = pipeline.key(published.latest["paths"]["report"]).replace("index.html", "figures.json")
    tasks = pipeline.json(figures)["tasks"]

    assert cost["estimate"]["minutes"] == 10.5
    assert {row["type"] for row in cost["actual"]["hours"]} == {"m7g.xlarge", "m7g.2xlarge"}
    assert 0 < cost["actual"]["dollars"] < cost["estimate"]["dollars"]
    assert tasks["dollars"] == pytest.approx(cost["actual"]["dollars"])
    assert [row["task"] for row in tasks["by_task"] if row["dollars"]] == [
        "create_cluster", "cluster_ready", "featurize_and_reduce", "validate_on_cluster", "terminate_cluster",
    ]  # fmt: skip


def test_second_step_measured_the_run_and_sampled_it_for_the_report(pipeline: Pipeline, published: Published) -> None:
    record = pipeline.json(pipeline.key(published.latest["paths"]["run"]))
    checks = {check["name"]: check for check in record["checks"] if check["name"].startswith("cluster: ")}
    figures = pipeline.json(pipeline.key(published.latest["paths"]["report"]).replace("index.html", "figures.json"))

    assert checks[AGAIN]["saw"] == "0 of 1 differ (part-00000.parquet)"
    assert all(check["passed"] for check in checks.values())
    assert f"`{VALIDATE_PARQUET}` judges them" in published.log
    assert figures["plane"]["shown"] == figures["plane"]["of"] == 50
    assert sum(reason["images"] for reason in figures["quarantine"]) == 5


def test_cluster_installed_its_requirements_from_the_wheelhouse(pipeline: Pipeline, published: Published) -> None:
    record = pipeline.json(pipeline.key(published.latest["paths"]["run"]))
    prefix = f"logs/emr/{pipeline.cluster_ids()[0]}/node/"  # other tests let the bootstrap of later clusters fail
    listed = pipeline.s3.list_objects_v2(Bucket=pipeline.bucket, Prefix=prefix)["Contents"]
    (log,) = [entry["Key"] for entry in listed if entry["Key"].endswith("bootstrap-actions/1/stdout.gz")]
    output = gzip.decompress(pipeline.get(log)).decode()

    assert record["artifacts"]["wheelhouse"].startswith("s3://fruits/artifacts/wheelhouse-")
    assert f"installed from {record['artifacts']['wheelhouse']}" in output or "installed already" in output


def test_published_rows_read_with_pandas_and_duckdb(pipeline: Pipeline, published: Published, tmp_path: Path) -> None:
    prefix = pipeline.key(published.latest["paths"]["features"])
    keys = [entry["Key"] for entry in pipeline.s3.list_objects_v2(Bucket=pipeline.bucket, Prefix=prefix)["Contents"]]
    for key in keys:
        pipeline.s3.download_file(pipeline.bucket, key, str(tmp_path / key.rpartition("/")[2]))

    by_pandas = pd.concat(pd.read_parquet(file) for file in tmp_path.glob("*.parquet"))
    by_duckdb = duckdb.read_parquet(f"{tmp_path}/*.parquet").filter("len(pca) = 8").count("*").fetchall()

    assert len(by_pandas) == 50
    assert by_pandas["pca"].map(len).eq(8).all()
    assert by_duckdb == [(50,)]


def test_dataset_opens_the_published_run(
    pipeline: Pipeline, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, pipeline.environment[name])

    limes = dataset.open(f"s3://{pipeline.bucket}").filter(pl.col("category").str.starts_with("Banana"))
    rejected = dataset.open(f"s3://{pipeline.bucket}", "quarantine")

    assert limes.collect().equals(published.features.filter(pl.col("category").str.starts_with("Banana")))
    assert rejected.collect().equals(published.quarantine)
    with pytest.raises(dataset.NothingPublishedError, match=r"There is no s3://nothing-here/features/latest.json"):
        dataset.open("s3://nothing-here")


def test_second_run_of_a_date_gives_the_same_rows_in_a_new_folder(pipeline: Pipeline, published: Published) -> None:
    again = pipeline.run(DATE, force=True, **PARAMS)

    assert again.ok, again.error
    assert "`validate_on_cluster` is skipped: 55 images are at most 2,000,000" in again.log
    assert "starting task_id=featurize_and_reduce" in again.log
    assert "starting task_id=validate_on_cluster" not in again.log
    assert pipeline.latest()["run"] == f"{published.latest['run']}-2"
    record = pipeline.record()
    images, outside = record["inventory"]["images"], record["inventory"]["uncategorised"]
    assert set(record["work"].pop("seconds")) == {"start", "describe", "reduce"}
    assert record["work"] == {"described": outside, "reused": images - outside}
    assert record["projection"]["version"] == published.latest["projection"]["version"]
    rows = pipeline.table("features")
    assert rows.drop("pca").equals(published.features.drop("pca"))
    np.testing.assert_allclose(np.stack(rows["pca"]), np.stack(published.features["pca"]), atol=1e-4)
