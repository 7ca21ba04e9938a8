"""A published run as an object: answers, and an error for everything that can be wrong."""

from __future__ import annotations

import io
import pickle
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import fruits_features
from fruits_features import projection
from fruits_features.client import extras
from fruits_features.client.extras import MissingExtraError
from fruits_features.client.published_run import DamagedRunError, NoRecogniserError, PublishedRun
from fruits_features.contract import layout
from fruits_features.extraction.families.onnx import ModelError, Weights
from fruits_features.publications import NothingPublishedError
from tests.support.published_runs import COLOURS, COUNTS, NAME, photo, put_pointer

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.dev.local_aws.local import LocalAws
    from tests.unit.fruits_features.client.conftest import Shop


def changed(fruits: PublishedRun, replaced: dict[str, bytes | None] | None = None, **paths: str | None) -> PublishedRun:
    """Return a run with other files.

    Args:
        fruits: Run to copy.
        replaced: Content by name in `paths`; `None` for a file that does not exist.
        paths: Other paths; `None` for a path that the pointer lacks.
    """
    named = {name: path for name, path in {**fruits.pointer["paths"], **paths}.items() if path}
    contents = {named[name]: content for name, content in (replaced or {}).items()}

    def read(uri: str) -> bytes:
        content = contents[uri] if uri in contents else fruits.read(uri)
        if content is None:
            raise FileNotFoundError(uri)
        return content

    return PublishedRun({**fruits.pointer, "paths": named}, read, fruits.filesystem)


@pytest.mark.parametrize("category", COLOURS)
def test_photo_is_recognised_with_a_probability(fruits: PublishedRun, category: str) -> None:
    (first, probability), *others = fruits.recognise(photo(category))

    assert first == category
    assert 0.5 < probability <= 1
    assert [name for name, _ in others] != []
    assert sum(p for _, p in others) + probability == pytest.approx(1)


def test_photo_is_bytes_or_a_path_or_an_object(fruits: PublishedRun, shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "é 1.png"
    file.write_bytes(photo("Lime", 0))

    expected = fruits.recognise(photo("Lime", 0))

    assert fruits.recognise(file) == expected
    assert fruits.recognise(str(file)) == expected
    assert fruits.recognise(f"s3://{shop.bucket}/images/Training/Lime/0.png") == expected


def test_top_limits_the_categories(fruits: PublishedRun) -> None:
    assert len(fruits.recognise(photo("Plum"), top=2)) == 2
    assert len(fruits.recognise(photo("Plum"), top=99)) == len(COLOURS)


def test_nearest_are_the_training_images_with_the_largest_cosines(fruits: PublishedRun, shop: Shop) -> None:
    vectors, _ = fruits.matrix("Training")
    query = fruits.embed(photo("Apple"))
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)

    found = fruits.nearest(photo("Apple"), k=4)

    assert [one.cosine for one in found] == pytest.approx(sorted(cosines, reverse=True)[:4], abs=1e-5)
    assert {one.category for one in found} == {"Apple"}
    assert all(one.path.startswith(f"s3://{shop.bucket}/images/Training/Apple/") for one in found)


def test_nearest_of_a_training_image_is_itself(fruits: PublishedRun, shop: Shop) -> None:
    (itself,) = fruits.nearest(photo("Plum", 3), k=1)

    assert itself.path == f"s3://{shop.bucket}/images/Training/Plum/3.png"
    assert itself.cosine == pytest.approx(1, abs=1e-5)


def test_nearest_of_more_than_all_are_all(fruits: PublishedRun) -> None:
    assert len(fruits.nearest(photo("Plum"), k=1000)) == len(COLOURS) * COUNTS["Training"]


def test_features_and_matrix_are_those_of_the_run(fruits: PublishedRun) -> None:
    vectors, labels = fruits.matrix("Test")
    table = fruits.features().collect()

    assert vectors.shape == (len(COLOURS) * COUNTS["Test"], 3)
    assert vectors.dtype == np.float32
    assert sorted(labels) == sorted([*COLOURS] * COUNTS["Test"])
    assert len(table) == len(COLOURS) * sum(COUNTS.values())
    with pytest.raises(ValueError, match=r"no images of the split 'Tset'\. Its splits: Test, Training\."):
        fruits.matrix("Tset")


@pytest.mark.usefixtures("aws_environment")
def test_run_is_opened_by_name_and_time(shop: Shop) -> None:
    assert fruits_features.open(shop.uri, run=NAME).run == NAME
    assert fruits_features.open(shop.uri, as_of="2026-11-30").run == NAME


@pytest.mark.usefixtures("aws_environment")
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"run": "yesterday"}, NothingPublishedError, f"the run 'yesterday'.* newest first: {NAME}"),
        ({"as_of": "2020-01-01"}, NothingPublishedError, "a run published by 2020"),
        ({"as_of": "yesterday"}, ValueError, "'yesterday' is not a time"),
        ({"as_of": 20261129}, ValueError, "as_of=20261129 is not a time: write '2026-11-20'"),
        ({"run": "a", "as_of": "2026-11-29"}, ValueError, "exclude each other"),
    ],
)
def test_wrong_name_of_a_run_is_an_error(
    shop: Shop, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fruits_features.open(shop.uri, **arguments)


@pytest.mark.usefixtures("aws_environment")
@pytest.mark.parametrize("bucket", ["", "s3://", "s3://fruits/images", "Fruits!", "https://example.com/fruits", None])
def test_wrong_address_of_a_bucket_is_an_error(bucket: str) -> None:
    with pytest.raises(ValueError, match=r"is not the address of a bucket; write s3://<bucket>\."):
        fruits_features.open(bucket)


@pytest.mark.usefixtures("aws_environment")
def test_bucket_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(
        NothingPublishedError, match=r"There is no s3://fruits-of-nobody/features/latest\.json: run the DAG"
    ):
        fruits_features.open("s3://fruits-of-nobody")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no image at all", "not_an_image"), (b"", "empty"), (photo("Lime")[:200], "truncated")],
)
def test_photo_that_is_none_is_an_error_with_the_reason(fruits: PublishedRun, content: bytes, reason: str) -> None:
    with pytest.raises(projection.NotAnImageError, match=reason):
        fruits.recognise(content)
    with pytest.raises(projection.NotAnImageError, match=reason):
        fruits.nearest(content)


def test_file_that_is_larger_than_images_may_be_is_not_read(fruits: PublishedRun, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    with film.open("wb") as file:
        file.truncate(2**40)  # more than fits into memory

    with pytest.raises(
        projection.NotAnImageError,
        match=r"fetch: too_many_bytes: The file has 1099511627776 bytes; the limit is 67108864\.",
    ):
        fruits.recognise(film)


def test_photo_that_cannot_be_read_is_an_error(fruits: PublishedRun, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*photo\.jpg'"):
        fruits.recognise(tmp_path / "photo.jpg")
    with pytest.raises(IsADirectoryError):
        fruits.recognise(tmp_path)


def test_object_that_does_not_exist_is_an_error_without_the_servers_answer(fruits: PublishedRun, shop: Shop) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        fruits.recognise(f"{shop.uri}/images/missing.png")

    assert str(missing.value) == f"[Errno 2] There is no such object: '{shop.uri}/images/missing.png'"


@pytest.mark.parametrize("address", ["s3://", "s3://fruits", "s3://fruits/", "s3://fruits/images/", "s3:///key"])
def test_address_without_a_bucket_or_a_key_is_an_error_and_creates_no_folder(
    fruits: PublishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ValueError, match=f"'{address}' is not the address of an object; write s3://<bucket>/<key>"):
        fruits.recognise(address)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "of", [np.zeros((9, 9, 3), np.uint8), Image.new("RGB", (9, 9)), bytearray(b"x"), ["a"], [], None]
)
def test_photo_of_another_type_is_an_error_with_the_way_out(fruits: PublishedRun, of: bytes) -> None:
    message = (
        f"A photo cannot be of the type {type(of).__name__}; give the path, the s3:// URI or the bytes of one image"
    )
    with pytest.raises(TypeError, match=message):
        fruits.recognise(of)


@pytest.mark.parametrize("image", ["lime.jpg", Path("lime.jpg"), np.zeros((9, 9, 3), np.uint8)])
def test_projection_takes_bytes_only(fruits: PublishedRun, image: bytes) -> None:
    with pytest.raises(
        TypeError, match=rf"^An image cannot be of the type {type(image).__name__}; give the bytes of one"
    ):
        fruits.projection.embed(image)


@pytest.mark.parametrize("address", ["https://example.com/lime.jpg", "file:///lime.jpg", "GS://fruits/lime.jpg"])
def test_photo_at_another_url_is_an_error_with_the_way_out(fruits: PublishedRun, address: str) -> None:
    with pytest.raises(ValueError, match=f"^'{address}' is neither a path nor an s3:// URI; download the photo"):
        fruits.recognise(address)


@pytest.mark.parametrize("number", [0, -1, 2.5, "3", None])
def test_number_of_answers_is_a_positive_integer(fruits: PublishedRun, number: int) -> None:
    with pytest.raises(ValueError, match=f"^top={number!r} is not a positive integer; give 1 or more"):
        fruits.recognise(photo("Lime"), top=number)
    with pytest.raises(ValueError, match=f"^k={number!r} is not a positive integer; give 1 or more"):
        fruits.nearest(photo("Lime"), k=number)


def test_run_of_an_older_version_finds_neighbours_but_recognises_nothing(fruits: PublishedRun) -> None:
    older = changed(fruits, recogniser=None)

    with pytest.raises(NoRecogniserError, match=rf"The run {NAME} has no recogniser: .*Run the DAG again"):
        older.recognise(photo("Lime"))
    assert older.nearest(photo("Lime"), k=1)[0].category == "Lime"


@pytest.mark.parametrize("name", ["projection", "recogniser"])
def test_missing_or_damaged_file_of_the_run_is_an_error(fruits: PublishedRun, name: str) -> None:
    content = fruits.read(fruits.pointer["paths"][name])
    uri = fruits.pointer["paths"][name]

    with pytest.raises(DamagedRunError, match=f"lacks {uri}; restore"):
        changed(fruits, {name: None}).recognise(photo("Lime"))
    for damaged in (b"", content[:-9], content[:100] + b"\1" + content[101:]):
        with pytest.raises(DamagedRunError, match=f"{uri} cannot be used: .*; restore an earlier version"):
            changed(fruits, {name: damaged}).recognise(photo("Lime"))


def test_missing_or_damaged_table_of_the_run_is_an_error(
    fruits: PublishedRun, local_aws: LocalAws, bucket: str, shop: Shop
) -> None:
    def put(content: bytes) -> None:
        local_aws.s3().put_object(Bucket=bucket, Key="features/part-00000.parquet", Body=content)

    content = _only_file(local_aws, shop.bucket, fruits.pointer["paths"]["features"])
    table = f"s3://{bucket}/features"

    with pytest.raises(DamagedRunError, match=f"lacks {table}; restore"):
        changed(fruits, features=table).nearest(photo("Lime"))
    for damaged in (b"", content[:-9], _damaged_page(content, "pca")):
        put(damaged)
        with pytest.raises(DamagedRunError, match=f"{table} cannot be used: .*; restore an earlier version"):
            changed(fruits, features=table).nearest(photo("Lime"))
    put(content)
    assert changed(fruits, features=table).nearest(photo("Lime"), k=1)[0].category == "Lime"


def _only_file(local_aws: LocalAws, bucket: str, folder: str) -> bytes:
    """Return the content of the only object of a folder."""
    (listed,) = local_aws.s3().list_objects_v2(Bucket=bucket, Prefix=layout.split(folder)[1])["Contents"]
    return local_aws.s3().get_object(Bucket=bucket, Key=listed["Key"])["Body"].read()


def _damaged_page(content: bytes, column: str) -> bytes:
    """Return a Parquet file with one wrong bit in a column's data."""
    group = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
    chunks = (group.column(number) for number in range(group.num_columns))
    (chunk,) = (each for each in chunks if each.path_in_schema.startswith(column))
    place = chunk.data_page_offset + chunk.total_compressed_size // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("name", ["projection", "recogniser"])
def test_file_of_another_projection_is_an_error(fruits: PublishedRun, name: str) -> None:
    pointer: Any = {**fruits.pointer, "projection": {"version": "000000000000"}}

    with pytest.raises(DamagedRunError, match=r"belongs to the projection \w{12}, but the run .* has 000000000000"):
        getattr(PublishedRun(pointer, fruits.read, fruits.filesystem), name)


@pytest.mark.parametrize(
    ("extra", "absent", "call"),
    [
        ("read", "polars", "features"),
        ("read", "pyarrow", "matrix"),
        ("read", "pyarrow", "nearest"),
        ("embed", "cv2", "nearest"),
        ("embed", "cv2", "recognise"),
    ],
)
def test_missing_extra_is_named(
    fruits: PublishedRun, monkeypatch: pytest.MonkeyPatch, extra: str, absent: str, call: str
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == absent else object())
    arguments = () if call in {"features", "matrix"} else (photo("Lime"),)

    with pytest.raises(MissingExtraError, match=rf"needs {absent}, .*: pip install 'fruits-features\[{extra}\]'"):
        getattr(fruits, call)(*arguments)


def test_module_that_another_thread_is_importing_is_not_missing(
    fruits: PublishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = ModuleType("cv2")
    monkeypatch.setitem(sys.modules, "cv2", half)

    assert half.__spec__ is None
    assert fruits.recognise(photo("Lime"), top=1)[0][0] == "Lime"


def test_missing_extra_of_a_run_with_a_network_is_named(
    network: Callable[[str], PublishedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = network("0" * 64)
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "onnxruntime" else object())

    with pytest.raises(MissingExtraError, match=r"needs onnxruntime, .*: pip install 'fruits-features\[onnx\]'"):
        run.nearest(photo("Lime"))


@pytest.fixture
def network(fruits: PublishedRun) -> Callable[[str], PublishedRun]:
    """Function that returns a run with a network of a digest."""

    def make(digest: str) -> PublishedRun:
        model = Weights("s3://fruits/models/network.onnx", digest, 8)
        projection = replace(fruits.projection, families=("color", "onnx"), model=model)
        files = {model.uri: b"network"}
        pointer = {**fruits.pointer, "projection": {"version": projection.version}}
        return PublishedRun(pointer, lambda uri: files.get(uri) or projection.to_bytes(), fruits.filesystem)

    return make


def test_network_is_a_local_copy_that_is_removed_with_the_run(network: Callable[[str], PublishedRun]) -> None:
    run = network(sha256(b"network").hexdigest())
    model = run.projection.model
    assert model
    copy = Path(str(model.path))
    assert copy.read_bytes() == b"network"

    del run

    assert not copy.parent.exists()


def test_replaced_network_is_an_error_that_names_it(network: Callable[[str], PublishedRun]) -> None:
    with pytest.raises(ModelError, match=r"network\.onnx was replaced"):
        _ = network("0" * 64).projection


@pytest.mark.usefixtures("aws_environment")
def test_run_keeps_answering_after_another_one_is_published(local_aws: LocalAws, bucket: str, shop: Shop) -> None:
    put_pointer(local_aws.s3(), bucket, shop.pointer)
    fruits = fruits_features.open(f"s3://{bucket}")
    put_pointer(local_aws.s3(), bucket, {**shop.pointer, "run": "next", "paths": {}})

    assert fruits.run == NAME
    assert len(fruits.features().collect()) == len(COLOURS) * sum(COUNTS.values())
    assert fruits_features.open(f"s3://{bucket}").run == "next"


@pytest.mark.usefixtures("aws_environment")
def test_run_is_passed_to_other_processes_and_shown_by_its_name(local_aws: LocalAws, bucket: str, shop: Shop) -> None:
    put_pointer(local_aws.s3(), bucket, shop.pointer)

    fruits = pickle.loads(pickle.dumps(fruits_features.open(f"s3://{bucket}")))  # noqa: S301 - our own

    assert fruits.recognise(photo("Lime"), top=1)[0][0] == "Lime"
    assert len(fruits.features().collect()) == len(COLOURS) * sum(COUNTS.values())
    assert repr(fruits) == f"<PublishedRun {NAME}>"


def test_pointer_is_that_of_the_bucket(fruits: PublishedRun, shop: Shop) -> None:
    assert fruits.pointer["paths"] == shop.pointer["paths"]
    assert layout.split(fruits.pointer["paths"]["features"])[0] == shop.bucket
