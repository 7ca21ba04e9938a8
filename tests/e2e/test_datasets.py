"""Data sets of one bucket are published, one after the other and at once, without an effect on each other."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from fruits_features import dataset
from include.dev.local_airflow.database import ensure_database
from include.dev.sample_images import generate, make_plan
from tests.support.airflow.pipeline import Pipeline
from tests.support.documents import ROOT, blocks, script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.dev.local_aws.local import LocalAws

PARAMS = {"k": 3}
GUIDE = blocks(Path("docs/guides/data-sets.md"))
(TRIGGER,) = [block.code for block in GUIDE if block.language == "sh"]
CITRUS = json.loads(TRIGGER.split("'")[1]) | PARAMS
FOLDERS = {"images/fruits/": "features", "images/citrus/": "features/datasets/citrus"}
"""Folder of each data set by its image prefix."""


class Market(Pipeline):
    """A bucket with images of two data sets. A rerun with few new images creates no cluster."""

    def state(self, folder: str) -> dict[str, str]:
        """Return the ETag of each object of a data set by key."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{folder}/")
        found = {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", [])}
        return {key: etag for key, etag in found.items() if folder != "features" or "/datasets/" not in key}

    def prefixes(self, folder: str) -> set[str]:
        """Return the image prefixes of the published rows of a data set."""
        features = self.json(f"{folder}/latest.json")["paths"]["features"]
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{self.key(features)}/")["Contents"]
        rows = pl.concat([pl.read_parquet(io.BytesIO(self.get(f"s3://{self.bucket}/{one['Key']}"))) for one in listed])
        return {f"{'/'.join(self.key(path).split('/')[:2])}/" for path in rows["path"]}


@pytest.fixture(scope="module")
def market(
    local_aws: LocalAws, airflow_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Market:
    """A bucket whose data sets were published for the first time by runs of two Airflows at once."""
    environment = {**airflow_environment, "FRUITS_IMAGE_PREFIX": "images/fruits/"}
    environment.pop("FRUITS_NO_CLUSTER_BELOW", None)
    market = Market(local_aws, local_aws.s3(), local_aws.create_bucket("market"), environment)
    folder = tmp_path_factory.mktemp("images")
    for number, prefix in enumerate(FOLDERS):
        generate(folder / prefix, make_plan(["Avocado", "Banana"], 16), seed=number, jobs=1, progress=False)
        market.put_folder(folder / prefix, prefix)
    second = {**environment, "AIRFLOW_HOME": str(folder / "airflow")}
    ensure_database(folder / "airflow", second)
    with ThreadPoolExecutor(2) as airflows:
        runs = [
            airflows.submit(market.run_installed_command, "2026-08-01", **PARAMS),
            airflows.submit(replace(market, environment=second).run_installed_command, "2026-08-02", **CITRUS),
        ]
    for run in runs:
        assert run.result().ok, run.result().error
    return market


def test_data_sets_that_are_published_at_once_have_pointers_and_rows_of_their_own(market: Market) -> None:
    for prefix, folder in FOLDERS.items():
        latest = market.json(f"{folder}/latest.json")

        assert market.prefixes(folder) == {prefix}
        assert latest["inventory"]["prefix"] == prefix
        assert market.key(latest["paths"]["run"]) == f"{folder}/runs/{latest['run']}/run.json"
        assert all(uri.startswith(f"s3://{market.bucket}/{folder}/runs/") for uri in latest["paths"].values())
        assert market.has(f"{folder}/described/")


def test_rerun_of_a_data_set_changes_no_other_one(market: Market, tmp_path: Path) -> None:
    others, before = market.state("features"), market.json("features/datasets/citrus/latest.json")
    generate(tmp_path, make_plan(["Avocado"], 4), seed=9, jobs=1, progress=False)
    market.put("images/citrus/Training/Cherry/new.jpg", next(tmp_path.rglob("*.jpg")).read_bytes())
    clusters = market.cluster_states()
    strict = replace(market, environment={**market.environment, "FRUITS_RETENTION_DAYS": "1"})

    run = strict.run("2026-08-03", **CITRUS)

    assert run.ok, run.error
    after = market.json("features/datasets/citrus/latest.json")
    record = market.json(market.key(after["paths"]["run"]))
    assert (after["run"] != before["run"], record["work"]["described"]) == (True, 1)
    assert market.has("features/datasets/citrus/published/")
    assert market.state("features") == others
    assert market.cluster_states() == clusters, "the data set's own cache has the other images"


def test_unchanged_data_set_is_skipped_though_another_one_was_published_since(market: Market) -> None:
    before = market.state("features")

    run = market.run("2026-08-04", **PARAMS)

    assert run.ok, run.error
    assert "Nothing has changed since run" in run.log
    after = market.state("features")
    assert {key: after[key] for key in before} == before


def test_run_on_the_images_of_another_data_set_is_refused_by_its_first_task(market: Market) -> None:
    before, clusters = market.json("features/latest.json"), market.cluster_states()

    run = market.run("2026-08-05", image_prefix="images/citrus/", **PARAMS)

    assert not run.ok
    assert "The image prefix is 'images/citrus/', but the published run" in run.log
    assert "Name another data set with the parameter `dataset`, or set `replace_dataset`" in run.log
    assert market.json("features/latest.json") == before
    assert market.cluster_states() == clusters


def test_name_that_is_none_of_a_data_set_is_refused_before_any_task(market: Market) -> None:
    run = market.run("2026-08-06", dataset="Citrus fruits", **PARAMS)

    assert not run.ok
    assert "1 to 40 lowercase letters, digits and hyphens" in run.log
    assert not market.has("features/datasets/Citrus")


def test_guides_example_opens_the_data_set(market: Market) -> None:
    example = script([block for block in GUIDE if block.language == "python"])
    program = (
        f"{example}\nassert fruits_features.open('s3://fruits').run != citrus.run\nprint(rows.collect()['path'][0])"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program.replace("s3://fruits", f"s3://{market.bucket}")],
        env={**market.environment, "PYTHONPATH": str(ROOT / "spark_apps")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"s3://{market.bucket}/images/citrus/")


def test_unknown_data_set_is_an_error_that_names_the_known_ones(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, market.environment[name])

    with pytest.raises(dataset.NothingPublishedError, match=r"another data set of this bucket \(default, citrus\)"):
        dataset.open(f"s3://{market.bucket}", dataset="lemons")


def test_replacement_that_the_run_requests_is_published(market: Market) -> None:
    before = market.json("features/latest.json")

    run = market.run("2026-08-07", image_prefix="images/citrus/", replace_dataset=True, **PARAMS)

    assert run.ok, run.error
    assert market.json("features/latest.json")["run"] != before["run"]
    assert market.prefixes("features") == {"images/citrus/"}
