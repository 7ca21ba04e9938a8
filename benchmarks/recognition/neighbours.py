"""Measures the search of nearest neighbours: `python -m benchmarks.recognition.neighbours`.

The vectors are made up: 131 categories of 20 visits each, with components of decreasing variance. Other libraries are
measured if they can be imported: `pip install --target FOLDER usearch`, and FOLDER on `PYTHONPATH`.
"""

import argparse
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits_features.client.neighbours import ExactSearch, IndexSearch
from fruits_features.io.vectors import unit_vectors

CATEGORIES, VISITS, DIMENSION = 131, 20, 128
QUERIES, NEIGHBOURS = 500, 10
CONNECTIVITY, EXPANSION = 16, 64
"""Links per vector and width of the search of HNSW graphs."""

Found = Callable[[NDArray[np.float32]], Any]
"""Returns the rows of the nearest neighbours of a unit vector."""


def clustered(count: int, *, seed: int, spread: float = 0.3) -> NDArray[np.float32]:
    """Return unit vectors, `count` x `DIMENSION`, float32.

    Args:
        count: Number of vectors.
        seed: Seed of the random numbers.
        spread: Standard deviation within a visit. That of the categories' means is 1.
    """
    random = np.random.default_rng(seed)
    scale = (1 / np.sqrt(np.arange(1, DIMENSION + 1))).astype(np.float32)
    categories = np.repeat(random.standard_normal((CATEGORIES, DIMENSION), np.float32), VISITS, axis=0)
    visits = categories + 0.4 * random.standard_normal(categories.shape, np.float32)
    noise = spread * random.standard_normal((count, DIMENSION), np.float32)
    return unit_vectors((visits[random.integers(0, len(visits), count)] + noise) * scale)


def brute_force(vectors: NDArray[np.float32]) -> Found:
    """Compare all vectors by NumPy."""
    exact = ExactSearch(vectors)
    return lambda query: exact.search(query, NEIGHBOURS)[0]


def inverted_file(vectors: NDArray[np.float32]) -> Found:
    """Build the index of the client."""
    index = IndexSearch.build(vectors)
    return lambda query: index.search(query, NEIGHBOURS)[0]


def faiss_graph(vectors: NDArray[np.float32]) -> Found:
    """Build a graph of faiss."""
    faiss = import_module("faiss")
    index = faiss.IndexHNSWFlat(DIMENSION, CONNECTIVITY, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = EXPANSION
    index.add(vectors)
    return lambda query: index.search(query[np.newaxis], NEIGHBOURS)[1][0]


def usearch_graph(vectors: NDArray[np.float32]) -> Found:
    """Build a graph of usearch."""
    options = {"connectivity": CONNECTIVITY, "expansion_search": EXPANSION}
    index = import_module("usearch.index").Index(ndim=DIMENSION, metric="ip", dtype="f32", **options)
    index.add(np.arange(len(vectors)), vectors)
    return lambda query: index.search(query, NEIGHBOURS).keys


def main() -> None:
    """Print one line per candidate."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.recognition.neighbours", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--count", type=int, default=100_000, help="number of vectors (default: %(default)s)")
    count = parser.parse_args().count
    vectors = clustered(count + QUERIES, seed=0)
    known, queries = vectors[:count], vectors[count:]
    candidates = {"numpy": brute_force, "faiss IVF": inverted_file, "faiss HNSW": faiss_graph}
    if find_spec("usearch"):
        candidates["usearch"] = usearch_graph
    expected: list[Any] = []
    for name, build in candidates.items():
        started, used = time.perf_counter(), time.process_time()
        search = build(known)
        build_s, build_cpu_s = time.perf_counter() - started, time.process_time() - used
        started = time.perf_counter()
        found = [search(query) for query in queries]
        query_ms = 1000 * (time.perf_counter() - started) / QUERIES
        expected = expected or found
        common = sum(np.intersect1d(*pair).size for pair in zip(found, expected, strict=True))
        recall = common / (NEIGHBOURS * QUERIES)
        print(f"{name:12}{build_s:8.1f} s{build_cpu_s:8.1f} s CPU{query_ms:8.2f} ms  recall {recall:.4f}", flush=True)


if __name__ == "__main__":
    main()
