"""Neighbours in large runs: an index that finds what a comparison of all images finds, and its file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from benchmarks.recognition.neighbours import clustered
from fruits_features.client import neighbours
from fruits_features.client.neighbours import ExactSearch, IndexSearch, Neighbours

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DIMENSION = 128


def features(vectors: NDArray[np.float32]) -> pl.LazyFrame:
    """Return a table of a run of training images, and one Test image before them."""
    count = len(vectors)
    columns = {
        "path": ["s3://fruits/images/Test/x.jpg", *(f"s3://fruits/images/Training/{row}.jpg" for row in range(count))],
        "category": ["A"] * (count + 1),
        "split": ["Test", *["Training"] * count],
        "pca": pl.Series([vectors[0], *vectors], dtype=pl.List(pl.Float32)),
    }
    return pl.DataFrame(columns).lazy()


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> NDArray[np.float32]:
    """Vectors of a run that counts as large."""
    monkeypatch.setattr(neighbours, "MIN_INDEXED", 3_999)
    return clustered(4_000, seed=1)


@pytest.mark.parametrize("spread", [0.3, 1.0], ids=["clustered", "hardly-clustered"])
def test_recall_of_the_index_is_at_least_98_percent(spread: float) -> None:
    vectors = clustered(120_000, seed=0, spread=spread)
    known, queries = vectors[:-100], vectors[-100:]
    index, exact = IndexSearch.build(known), ExactSearch(known)

    found = [np.intersect1d(index.search(query, 10)[0], exact.search(query, 10)[0]).size for query in queries]

    assert sum(found) / (10 * len(queries)) >= 0.98


def test_large_run_is_indexed_once(large: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cache" / "run.faiss"

    first = Neighbours.of(features(large), file)
    monkeypatch.setattr(IndexSearch, "build", None)
    second = Neighbours.of(features(large), file)

    assert [path.name for path in file.parent.iterdir()] == ["run.faiss"]
    for one in (first, second):
        found = one.nearest(large[17], 3)
        assert isinstance(one.search, IndexSearch)
        assert found[0].path == "s3://fruits/images/Training/17.jpg"
        assert found[0].cosine == pytest.approx(1, abs=1e-5)
    assert first.nearest(large[17], 10) == second.nearest(large[17], 10)


def test_index_gives_as_many_neighbours_as_asked(large: NDArray[np.float32], tmp_path: Path) -> None:
    indexed = Neighbours.of(features(large), tmp_path / "run.faiss")

    assert len(indexed.nearest(large[0], 3_000)) == 3_000
    assert len(indexed.nearest(large[0], 9_999)) == 4_000


def test_run_up_to_the_limit_is_compared_completely(
    large: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "MIN_INDEXED", 4_000)

    assert isinstance(Neighbours.of(features(large), tmp_path / "run.faiss").search, ExactSearch)


@pytest.mark.parametrize("case", ["without-faiss", "without-file"])
def test_large_run_is_compared_completely_without_an_index(
    case: str, large: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "without-faiss":
        monkeypatch.setattr(neighbours, "find_spec", lambda _: None)

    opened = Neighbours.of(features(large), None if case == "without-file" else tmp_path / "run.faiss")

    assert isinstance(opened.search, ExactSearch)
    assert opened.nearest(large[17], 1)[0].path.endswith("/17.jpg")


def test_index_that_cannot_be_kept_is_used(large: NDArray[np.float32], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")

    opened = Neighbours.of(features(large), tmp_path / "cache" / "run.faiss")

    assert isinstance(opened.search, IndexSearch)
    assert opened.nearest(large[17], 1)[0].path.endswith("/17.jpg")


@pytest.mark.parametrize("content", [b"", b"no index", None], ids=["empty", "other", "cut"])
def test_damaged_index_is_built_again(large: NDArray[np.float32], tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "run.faiss"
    Neighbours.of(features(large), file)
    complete = file.read_bytes()
    file.write_bytes(complete[: len(complete) // 2] if content is None else content)

    opened = Neighbours.of(features(large), file)

    assert opened.nearest(large[17], 1)[0].path.endswith("/17.jpg")
    assert file.stat().st_size == len(complete)


def test_indexes_written_last_are_kept(large: NDArray[np.float32], tmp_path: Path) -> None:
    for number in range(5):
        Neighbours.of(features(large), tmp_path / f"{number}.faiss")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.faiss", "3.faiss", "4.faiss"]


@pytest.mark.parametrize("search", [ExactSearch, IndexSearch])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((DIMENSION - 1,), np.float32), ((DIMENSION + 1,), int), ((1, DIMENSION), np.float32), ((), np.float32)],
    ids=["short", "long", "matrix", "number"],
)
def test_components_of_another_shape_are_an_error(  # noqa: PLR0913, PLR0917 - fixtures
    search: type,
    shape: tuple[int, ...],
    dtype: type,
    large: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if search is ExactSearch:
        monkeypatch.setattr(neighbours, "MIN_INDEXED", 4_000)
    opened = Neighbours.of(features(large), tmp_path / "run.faiss")
    assert isinstance(opened.search, search)

    with pytest.raises(ValueError, match=r"^The components have the shape") as wrong:
        opened.nearest(np.ones(shape, dtype), 1)

    assert str(wrong.value) == (
        f"The components have the shape {shape}; this run takes the {DIMENSION} components of one image, as `embed` "
        "returns them."
    )


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_component_that_is_not_finite_is_an_error(number: str, large: NDArray[np.float32]) -> None:
    components = large[17].copy()
    components[5] = float(number)

    with pytest.raises(ValueError, match=rf"^Component 5 is {number}, not a finite number; this run takes the 128 "):
        Neighbours.of(features(large)).nearest(components, 1)


def test_components_may_be_any_numbers(large: NDArray[np.float32]) -> None:
    opened = Neighbours.of(features(large))

    assert opened.nearest(large[17].tolist(), 1)[0].path.endswith("/17.jpg")  # type: ignore[arg-type]
    assert len(opened.nearest(np.ones(DIMENSION, int), 1)) == 1  # type: ignore[arg-type]
