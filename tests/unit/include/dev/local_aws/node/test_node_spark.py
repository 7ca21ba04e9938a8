"""The Spark of the nodes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from include.dev.local_aws.node.spark import NodeSpark

if TYPE_CHECKING:
    from pathlib import Path


def test_home_created_concurrently_is_complete(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: NodeSpark(tmp_path).ensure_home(), range(8)))

    spark = NodeSpark(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [spark.home.name]
    assert sorted(path.name for path in spark.home.iterdir()) == ["bin", "jars"]
    assert (spark.commands / "spark-submit").exists()
