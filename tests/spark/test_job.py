"""The job against a real S3 server and a real local Spark."""

import collections
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.ml import PipelineModel
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql import SparkSession

from fruits_features import projection
from fruits_features.__main__ import first_line
from fruits_features.cache.selection import CacheError
from fruits_features.contract.arguments import Arguments, InvalidArgumentsError
from fruits_features.contract.families import DEFAULT_FAMILIES
from fruits_features.contract.layout import RunLayout
from fruits_features.extraction.batches import BatchExtractor
from fruits_features.extraction.families.onnx import ModelError
from fruits_features.io.fetcher import BucketError
from fruits_features.job import run, spark_ml
from fruits_features.job.distribute import SparkRunner
from fruits_features.job.inventory import InventoryError
from fruits_features.job.partition import PartitionResult
from fruits_features.pca.fit import ReductionError
from fruits_features.recogniser.model import load
from fruits_features.schemas import QUARANTINE, arrow_schema, features_columns
from include.dev.local_aws.s3.fault_proxy import Fault, Request, S3FaultProxy
from tests.support.buckets import Bucket
from tests.support.deadly_decoder.sitecustomize import ENDLESS_MARK, MARK
from tests.support.onnx_models import DIMENSION, expected, model
from tests.support.recognisers import assert_equal, fitted_on


def photograph(seed: int, size: int = 40) -> bytes:
    """Return a JPEG of a coloured disc on white with some noise."""
    random = np.random.default_rng(seed)
    pixels = np.full((size, size, 3), 255, np.uint8)
    colour = [int(value) for value in random.integers(0, 255, 3)]
    cv2.circle(pixels, (size // 2, size // 2), int(random.integers(8, size // 2)), colour, -1)
    pixels -= random.integers(0, 12, pixels.shape, np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def fill(photos: Bucket, images: int = 24) -> None:
    """Put some photographs into two splits of three categories with special characters in their names."""
    categories = ("Apple Golden 2", "Açaí #1", "100% Kiwi+Lime")
    for number in range(images):
        split = "Test" if number % 4 == 3 else "Training"
        photos.put(f"images/{split}/{categories[number % 3]}/r_{number}_100.jpg", photograph(number))


def arguments(photos: Bucket, entries: list[dict[str, object]] | None = None, **changes: object) -> Arguments:
    places = {
        "bucket": photos.name,
        "inventory": photos.inventory(entries),
        "output": str(photos.runs / "run"),
        "run": "run",
    }
    return Arguments(**places | changes)  # type: ignore[arg-type]


def rows_of(folder: str) -> list[dict[str, Any]]:
    return pq.read_table(folder).to_pylist()


def test_run_on_splits_and_special_names_writes_every_image_in_order(spark: SparkSession, photos: Bucket) -> None:
    fill(photos)

    outcome = run.run(lambda: spark.sparkContext, arguments(photos, k=5))

    layout = RunLayout(str(photos.runs / "run"))
    rows = rows_of(layout.features)
    assert (outcome.inventoried, outcome.quarantined, outcome.k) == (24, 0, 5)
    assert [row["path"] for row in rows] == [
        f"s3://{photos.name}/{entry['key']}"
        for entry in sorted(photos.entries(), key=lambda e: (e["category"], e["key"]))
    ]
    assert {row["split"] for row in rows} == {"Training", "Test"}
    assert all(len(row["descriptors"]) == 32 * row["keypoints"] for row in rows)
    assert not Path(layout.staging).exists()


def test_run_writes_exactly_the_contracts_schemas(spark: SparkSession, photos: Bucket) -> None:
    fill(photos)
    photos.put("images/Training/Lime/broken.jpg", b"no image")

    run.run(lambda: spark.sparkContext, arguments(photos, k=2, include_pixels=True))

    layout = RunLayout(str(photos.runs / "run"))
    for folder, columns in ((layout.features, features_columns(include_pixels=True)), (layout.quarantine, QUARANTINE)):
        (file,) = Path(folder).glob("*.parquet")
        found = pq.ParquetFile(file)
        assert found.schema_arrow.remove_metadata() == arrow_schema(columns)
        assert found.metadata.row_group(0).column(0).compression == "ZSTD"
    row = rows_of(layout.features)[0]
    assert (len(row["features"]), len(row["pca"])) == (843, 2)
    assert len(row["image"]) == 40 * 40 * 3


def test_rerun_with_other_partitions_writes_the_same_rows(
    spark: SparkSession, photos: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(photos)
    run.run(lambda: spark.sparkContext, arguments(photos, k=8))
    layout = RunLayout(str(photos.runs / "run"))
    before = pq.read_table(layout.features)

    monkeypatch.setattr("fruits_features.job.inventory.IMAGES_PER_PARTITION", 5)
    run.run(lambda: spark.sparkContext, arguments(photos, k=8))
    after = pq.read_table(layout.features)

    assert after.drop(["pca"]) == before.drop(["pca"])
    np.testing.assert_allclose(np.stack(after["pca"].to_pylist()), np.stack(before["pca"].to_pylist()), atol=1e-4)


def test_run_in_shards_writes_the_rows_of_one_in_memory(
    spark: SparkSession, photos: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(photos)
    photos.put("images/Training/Lime/broken.jpg", b"no image")
    store = {"store": str(photos.runs / "described")}
    run.run(lambda: spark.sparkContext, arguments(photos, k=8, **store))
    layout = RunLayout(str(photos.runs / "run"))
    before = pq.read_table(layout.features), rows_of(layout.quarantine)
    photos.put("images/Training/Lime/new.jpg", photograph(100))
    photos.put("images/Training/Lime/broken.jpg", b"no image")

    monkeypatch.setattr("fruits_features.job.shards.SHARD_BYTES", 1_000)
    monkeypatch.setattr("fruits_features.job.shards.SAMPLED_ROWS", 1)
    outcome = run.run(lambda: spark.sparkContext, arguments(photos, k=8, **store))
    after = pq.read_table(layout.features)

    assert (outcome.inventoried, outcome.reused) == (26, 25)
    assert after.filter(pc.not_equal(after["path"], f"s3://{photos.name}/images/Training/Lime/new.jpg")).drop(
        ["pca"]
    ) == before[0].drop(["pca"])
    assert rows_of(layout.quarantine) == before[1]
    assert not Path(layout.staging).exists()


def test_recogniser_of_several_files_is_that_of_the_published_rows(
    spark: SparkSession, photos: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(photos)
    monkeypatch.setattr("fruits_features.output.features_writer.OUTPUT_FILE_BYTES", 2**13)
    monkeypatch.setattr("fruits_features.output.features_writer.MIN_EVEN_FILE_BYTES", 1)
    outcome = run.run(lambda: spark.sparkContext, arguments(photos, k=8))
    layout = RunLayout(str(photos.runs / "run"))

    assert len(list(Path(layout.features).glob("*.parquet"))) > 2
    assert_equal(load(layout.portable_recogniser), fitted_on(rows_of(layout.features), outcome.projection))


def test_extractor_without_spark_returns_the_rows_that_spark_writes(spark: SparkSession, photos: Bucket) -> None:
    fill(photos)
    run.run(lambda: spark.sparkContext, arguments(photos, k=2))
    extractor = BatchExtractor(photos.name, DEFAULT_FAMILIES, max_bytes=10**6, max_pixels=10**6, include_pixels=False)

    inventory = pq.read_table(photos.runs / "inventory")
    extracted = {row["path"]: row for chunk in extractor.extract(inventory) for row in chunk.extracted.to_pylist()}

    for row in rows_of(RunLayout(str(photos.runs / "run")).features):
        same = {name: value for name, value in extracted[row["path"]].items() if name in row}
        assert row == same | {"pca": row["pca"]}


def test_both_projections_equal_the_parquet_values(spark: SparkSession, photos: Bucket) -> None:
    fill(photos)
    run.run(lambda: spark.sparkContext, arguments(photos, explained_variance=0.9))
    layout = RunLayout(str(photos.runs / "run"))
    rows = rows_of(layout.features)
    written = np.array([row["pca"] for row in rows])

    portable = projection.load(layout.portable_projection)
    embedded = np.stack([portable.embed((photos.folder / row["path"].split("/", 3)[3]).read_bytes()) for row in rows])
    np.testing.assert_allclose(embedded, written, atol=1e-4)

    frame = spark.read.parquet(layout.features).select("path", array_to_vector("features").alias("features"))
    model = PipelineModel.load(layout.spark_model)
    transformed = model.transform(frame).select("path", vector_to_array("pca").alias("pca")).collect()
    np.testing.assert_allclose(
        [row["pca"] for row in sorted(transformed)],
        [row["pca"] for row in sorted(rows, key=lambda row: row["path"])],
        atol=1e-4,
    )
    assert model.stages[1].explainedVariance.toArray().sum() >= 0.9


def test_run_with_model_writes_every_embedding(spark: SparkSession, photos: Bucket) -> None:
    fill(photos)
    inventory = photos.entries()
    photos.put("models/net.onnx", model())
    families = {"features": ("onnx", "color"), "onnx_model": f"s3://{photos.name}/models/net.onnx"}

    outcome = run.run(lambda: spark.sparkContext, arguments(photos, inventory, k=3, **families))

    layout = RunLayout(str(photos.runs / "run"))
    rows = rows_of(layout.features)
    files = [(photos.folder / row["path"].split("/", 3)[3]).read_bytes() for row in rows]
    assert (outcome.inventoried, outcome.quarantined) == (24, 0)
    embeddings = [row["features"][:DIMENSION] for row in rows]
    np.testing.assert_allclose(embeddings, [expected(data) for data in files], atol=1e-4)
    portable = projection.load(layout.portable_projection)
    np.testing.assert_allclose([portable.embed(data) for data in files], [row["pca"] for row in rows], atol=1e-4)


def test_run_with_unsupported_model_fails_before_anything_is_read(spark: SparkSession, photos: Bucket) -> None:
    photos.put("models/net.onnx", model())
    photos.put("models/other.onnx", b"no model")
    nothing = arguments(photos, [], features=("onnx",), onnx_model=f"s3://{photos.name}/models/net.onnx", k=6)

    with pytest.raises(InvalidArgumentsError, match="--k is 6, but the families onnx have 5 features"):
        run.run(lambda: spark.sparkContext, nothing)
    with pytest.raises(ModelError, match=r"/models/other\.onnx cannot be loaded"):
        run.run(lambda: spark.sparkContext, replace(nothing, onnx_model=f"s3://{photos.name}/models/other.onnx"))
    with pytest.raises(ModelError, match=r"There is no ONNX model s3://.+/models/none\.onnx"):
        run.run(lambda: spark.sparkContext, replace(nothing, onnx_model=f"s3://{photos.name}/models/none.onnx"))


def test_projection_is_fitted_on_the_training_split_only(spark: SparkSession, photos: Bucket) -> None:
    fill(photos)
    run.run(lambda: spark.sparkContext, arguments(photos, k=3))

    rows = rows_of(RunLayout(str(photos.runs / "run")).features)

    def mean(split: str) -> np.ndarray:
        return np.mean([row["pca"] for row in rows if row["split"] == split], axis=0)

    np.testing.assert_allclose(mean("Training"), 0, atol=1e-6)
    assert np.abs(mean("Test")).max() > 1e-3


def test_run_on_bad_objects_quarantines_each_with_its_reason(spark: SparkSession, photos: Bucket) -> None:
    fill(photos)
    photo = photograph(1)
    photos.put("images/outside.jpg", photo)
    photos.put("images/Training/Lime/empty.jpg", b"")
    photos.put("images/Training/Lime/text.jpg", b"no image at all")
    photos.put("images/Training/Lime/cut.jpg", photo[: len(photo) // 2])
    photos.put("images/Training/Lime/long.jpg", photo + bytes(20_000))
    photos.put("images/Training/Lime/huge.png", cv2.imencode(".png", np.zeros((3000, 3000), np.uint8))[1].tobytes())
    photos.put("images/Training/Lime/changed.jpg", photo)
    entries = photos.entries()
    photos.put("images/Training/Lime/changed.jpg", photograph(2))
    gone = next(dict(entry) for entry in entries) | {"key": "images/Training/Lime/gone.jpg", "category": "Lime"}
    dots = gone | {"key": "images/Training/Lime//dots.jpg"}
    limits = {"max_image_bytes": 20_000, "max_image_pixels": 1_000_000, "max_quarantine_share": 0.5}

    outcome = run.run(lambda: spark.sparkContext, arguments(photos, [*entries, gone, dots], k=2, **limits))

    rejected = rows_of(RunLayout(str(photos.runs / "run")).quarantine)
    assert {(row["path"].rsplit("/", 1)[1], row["stage"], row["reason"]) for row in rejected} == {
        ("outside.jpg", "fetch", "no_category"),
        ("empty.jpg", "fetch", "empty"),
        ("text.jpg", "decode", "not_an_image"),
        ("cut.jpg", "decode", "truncated"),
        ("long.jpg", "fetch", "too_many_bytes"),
        ("huge.png", "decode", "too_many_pixels"),
        ("changed.jpg", "fetch", "changed"),
        ("gone.jpg", "fetch", "gone"),
        ("dots.jpg", "fetch", "unusable_key"),
    }
    assert (outcome.inventoried, outcome.quarantined) == (33, 9)
    assert all(row["detail"].endswith(".") for row in rejected)


def test_run_is_complete_although_first_gets_of_every_third_object_fail(
    spark: SparkSession, photos: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(photos, 60)
    kinds = (Fault.INTERNAL_ERROR, Fault.SLOW_DOWN, Fault.RESET, Fault.RESET_IN_BODY, Fault.SHORT_BODY)

    def faults(request: Request) -> Fault | None:
        number = int(request.target.rpartition("/r_")[2].partition("_")[0])
        return kinds[number // 3 % len(kinds)] if number % 3 == 0 and request.nth <= 2 else None

    host, port = os.environ["AWS_ENDPOINT_URL_S3"].removeprefix("http://").split(":")
    with S3FaultProxy((host, int(port)), faults=faults) as proxy:
        monkeypatch.setitem(
            spark.sparkContext.environment, "AWS_ENDPOINT_URL_S3", proxy.url
        )  # the workers reach S3 through the proxy
        outcome = run.run(lambda: spark.sparkContext, arguments(photos, k=2))

    assert (outcome.inventoried, outcome.quarantined) == (60, 0)
    assert len(rows_of(RunLayout(str(photos.runs / "run")).features)) == 60
    assert len(proxy.seen) == 60
    assert proxy.failed == dict.fromkeys(kinds, 8)


def test_first_line_of_failed_task_is_its_python_error(spark: SparkSession) -> None:
    def fail(_: int) -> None:
        try:
            int("503 Slow Down")
        except ValueError as error:
            raise BucketError("The bucket gave up.") from error

    with pytest.raises(Py4JJavaError) as raised:
        spark.sparkContext.parallelize([1], 1).map(fail).collect()

    assert first_line(raised.value) == "BucketError: The bucket gave up."


@pytest.mark.parametrize(("mark", "reason"), [(MARK, "decoder_crash"), (ENDLESS_MARK, "decoder_timeout")])
def test_run_with_image_that_stops_the_decoder_keeps_the_others(
    spark: SparkSession, photos: Bucket, mark: bytes, reason: str
) -> None:
    fill(photos)
    photos.put("images/Training/100% Kiwi+Lime/deadly.jpg", photograph(1) + mark)

    outcome = run.run(lambda: spark.sparkContext, arguments(photos, k=2, max_quarantine_share=0.1))

    layout = RunLayout(str(photos.runs / "run"))
    rejected = [(row["path"].rsplit("/", 1)[1], row["stage"], row["reason"]) for row in rows_of(layout.quarantine)]
    assert rejected == [("deadly.jpg", "decode", reason)]
    assert (outcome.inventoried, outcome.quarantined) == (25, 1)
    assert len({row["path"] for row in rows_of(layout.features)}) == 24


def test_run_above_the_quarantine_share_fails_with_counts_and_keeps_the_quarantine(
    spark: SparkSession, photos: Bucket
) -> None:
    fill(photos, 9)
    photos.put("images/Lime/text.jpg", b"no image at all")

    with pytest.raises(run.JobError, match=r"1 of 10 images were quarantined \(not_an_image: 1\).*0\.05"):
        run.run(lambda: spark.sparkContext, arguments(photos))

    layout = RunLayout(str(photos.runs / "run"))
    assert [row["reason"] for row in rows_of(layout.quarantine)] == ["not_an_image"]
    assert not Path(layout.features).exists()


def test_run_that_loses_images_fails_with_the_counts(
    spark: SparkSession, photos: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(photos)
    extract = SparkRunner.extract

    def lose_a_part(*everything: Any) -> PartitionResult:  # noqa: ANN401
        result = extract(*everything)
        assert len(result.parts) == 2
        return replace(result, parts=result.parts[:1])

    monkeypatch.setattr(SparkRunner, "extract", lose_a_part)

    with pytest.raises(CacheError, match=r"^\d+ of 24 objects to extract have no outcome"):
        run.run(lambda: spark.sparkContext, arguments(photos, k=2))


@pytest.mark.parametrize(
    ("folder", "writer"), [("features", (SparkRunner, "reduce")), ("quarantine", (spark_ml, "save"))]
)
def test_run_fails_if_another_process_writes_to_its_folders(
    spark: SparkSession, photos: Bucket, monkeypatch: pytest.MonkeyPatch, folder: str, writer: tuple[Any, str]
) -> None:
    fill(photos)
    written = getattr(*writer)

    def write_and_intrude(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        outcome = written(*arguments, **options)
        other = photos.runs.joinpath("run", folder, "part-00007.parquet")
        other.parent.mkdir(parents=True, exist_ok=True)
        other.touch()
        return outcome

    monkeypatch.setattr(*writer, write_and_intrude)

    with pytest.raises(run.JobError, match=f"{folder} contains other files than this run has written"):
        run.run(lambda: spark.sparkContext, arguments(photos, k=2))


def test_run_with_more_components_than_images_names_the_maximum(spark: SparkSession, photos: Bucket) -> None:
    fill(photos)

    with pytest.raises(ReductionError, match=r"--k is 300, but the 18 images to fit .* at most 17"):
        run.run(lambda: spark.sparkContext, arguments(photos, k=300))


def test_run_on_empty_inventory_raises(spark: SparkSession, photos: Bucket) -> None:
    with pytest.raises(InventoryError, match="lists no object"):
        run.run(lambda: spark.sparkContext, arguments(photos))


@pytest.mark.parametrize(("photographs", "images"), [("fruits-360-sample", 100), ("grocery-fruit", 1253)])
def test_run_on_real_photographs_extracts_all(
    spark: SparkSession, photos: Bucket, real_images: Path, photographs: str, images: int
) -> None:
    for path in (real_images / photographs).rglob("*.jpg"):
        photos.put(f"images/{path.relative_to(real_images / photographs).as_posix()}", path.read_bytes())

    outcome = run.run(lambda: spark.sparkContext, arguments(photos, k=64))

    rows = rows_of(RunLayout(str(photos.runs / "run")).features)
    assert (outcome.inventoried, outcome.quarantined) == (images, 0)
    assert collections.Counter(row["keypoints"] > 0 for row in rows) == {True: images}
    portable = projection.load(RunLayout(str(photos.runs / "run")).portable_projection)
    for row in rows[::20]:
        image = (photos.folder / row["path"].split("/", 3)[3]).read_bytes()
        np.testing.assert_allclose(portable.embed(image), row["pca"], atol=1e-4)
