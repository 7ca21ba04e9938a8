"""Which staged files become which final file."""

import pytest

from fruits_features.final import FILE_BYTES, plan_files
from fruits_features.parts import StagedFile

MB = 1024 * 1024


def staged(*sizes: int) -> list[StagedFile]:
    return [StagedFile(f"described-{number:03}", 1, size) for number, size in enumerate(sizes)]


@pytest.mark.parametrize("sizes", [[1], [20 * MB] * 9])
def test_few_staged_files_become_one_file(sizes: list[int]) -> None:
    files = staged(*sizes)

    (file,) = plan_files(files)

    assert file.staged == tuple(one.name for one in files)
    assert file.name == "part-00000.parquet"


@pytest.mark.parametrize("count", [10, 37, 100, 1000])
def test_many_staged_files_become_files_of_64_to_256_mb_in_order(count: int) -> None:
    files = staged(*[25 * MB] * count)

    planned = plan_files(files)

    assert [name for file in planned for name in file.staged] == [one.name for one in files]
    assert all(64 * MB <= 25 * MB * len(file.staged) <= 256 * MB for file in planned)


@pytest.mark.parametrize(
    ("megabytes", "cores", "files"), [(400, 2, 4), (400, 1, 3), (130, 2, 1), (260, 8, 2), (1600, 8, 16)]
)
def test_files_are_as_many_for_every_core_unless_they_get_too_small(megabytes: int, cores: int, files: int) -> None:
    planned = plan_files(staged(*[10 * MB] * (megabytes // 10)), cores)

    assert len(planned) == files
    assert all(64 * MB <= 10 * MB * len(file.staged) <= 256 * MB for file in planned)


def test_staged_file_larger_than_a_file_is_a_file_of_its_own() -> None:
    planned = plan_files(staged(FILE_BYTES, 10 * FILE_BYTES, FILE_BYTES))

    assert [file.name for file in planned] == [f"part-{number:05}.parquet" for number in range(len(planned))]
    assert [len(file.staged) for file in planned] == [1, 1, 1]
