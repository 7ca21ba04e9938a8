"""spark-submit fetches launcher and archive over `s3://`, which is Hadoop's S3A here as on EMR."""

from pathlib import Path

from include.emr.sizing import SIZES
from tests.spark.conftest import Served
from tests.support.buckets import Bucket
from tests.support.hadoop.primary_node import PrimaryNode
from tests.support.hadoop.step import prepare


def test_spark_submit_fetches_launcher_and_archive_over_s3a(photos: Bucket, s3: Served, tmp_path: Path) -> None:
    step = prepare(photos, SIZES["small"])
    node = PrimaryNode(tmp_path / "primary", s3.environment)

    process = node.submit([*step.command, "--help"], {"spark.master": "local[1]"}, {})

    assert process.wait(600) == 0, node.stderr()
    assert "the bucket that holds the images" in (node.folder / "stdout").read_text()


def test_spark_submit_reports_an_application_that_is_not_there(photos: Bucket, s3: Served, tmp_path: Path) -> None:
    step = prepare(photos, SIZES["small"])
    (photos.folder / "artifacts" / step.application).unlink()
    node = PrimaryNode(tmp_path / "primary", s3.environment)

    process = node.submit([*step.command, "--help"], {"spark.master": "local[1]"}, {})

    assert process.wait(600) == 1
    assert f"No such file or directory: s3://{photos.name}/artifacts/{step.application}" in node.stderr()
