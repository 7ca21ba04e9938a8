"""Distribution of cached rows over the final files."""

import numpy as np
import pyarrow as pa
import pytest

from fruits_features.cache.store import StoredFile
from fruits_features.io import staging
from fruits_features.output.features_writer import (
    OUTPUT_FILE_BYTES,
    FeaturesFile,
    as_files,
    plan_file_ends,
    split_into_files,
)
from fruits_features.recogniser.sample import TrainingImages

MB = 1024 * 1024


def planned(sizes: list[int], rows: int = 10, cores: int = 1) -> list[FeaturesFile]:
    """Plan files for cached files of the given sizes in bytes, with the same number of rows each, in order."""
    files = [StoredFile(f"described-{number:03}", rows, size, size, ()) for number, size in enumerate(sizes)]
    file = np.repeat(np.arange(len(files), dtype=np.int32), rows)
    labels = {name: [f"{name} {n}" for n in range(len(file))] for name in ("key", "split", "category", "etag")}
    places = {"file": file, "row": np.tile(np.arange(rows), len(files))}
    training = TrainingImages.of(1, np.zeros(len(file), np.int32))
    ends = plan_file_ends(sum(sizes), cores)
    return as_files(split_into_files(pa.table({**labels, **places}), training, files, ends))


def rows_of(file: FeaturesFile) -> pa.Table:
    (selection,) = file.rows
    return staging.read(selection.rows)


def files_of(file: FeaturesFile) -> list[str]:
    (selection,) = file.rows
    return [one.name for one in selection.files]


def sizes_of(files: list[FeaturesFile], row_bytes: int) -> list[int]:
    return [rows_of(file).num_rows * row_bytes for file in files]


@pytest.mark.parametrize("sizes", [[1], [20 * MB] * 9])
def test_few_cached_rows_become_one_file(sizes: list[int]) -> None:
    (file,) = planned(sizes)

    assert files_of(file) == [f"described-{number:03}" for number in range(len(sizes))]
    assert file.name == "part-00000.parquet"


@pytest.mark.parametrize("count", [10, 37, 100, 1000])
def test_many_cached_rows_become_files_of_64_to_256_mb_in_order(count: int) -> None:
    files = planned([25 * MB] * count)

    keys = [key for file in files for key in rows_of(file)["key"].to_pylist()]
    assert keys == [f"key {n}" for n in range(10 * count)]
    assert all(64 * MB <= size <= 256 * MB for size in sizes_of(files, 25 * MB // 10))


@pytest.mark.parametrize(
    ("megabytes", "cores", "files"), [(400, 2, 4), (400, 1, 3), (130, 2, 1), (260, 8, 2), (1600, 8, 16)]
)
def test_number_of_files_is_a_multiple_of_the_cores_unless_they_get_too_small(
    megabytes: int, cores: int, files: int
) -> None:
    made = planned([10 * MB] * (megabytes // 10), cores=cores)

    assert len(made) == files
    assert all(64 * MB <= size <= 256 * MB for size in sizes_of(made, MB))


def test_row_larger_than_a_file_becomes_one_file() -> None:
    files = planned([OUTPUT_FILE_BYTES, 10 * OUTPUT_FILE_BYTES, OUTPUT_FILE_BYTES], rows=1)

    assert [file.name for file in files] == [f"part-{number:05}.parquet" for number in range(len(files))]
    assert [len(files_of(file)) for file in files] == [1, 1, 1]


def test_file_refers_only_to_the_cached_files_of_its_rows() -> None:
    first, second = planned([OUTPUT_FILE_BYTES, OUTPUT_FILE_BYTES])

    assert [files_of(file) for file in (first, second)] == [["described-000"], ["described-001"]]
    assert rows_of(second)["file"].to_pylist() == [0] * 10
