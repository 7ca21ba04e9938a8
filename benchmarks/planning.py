"""Print the estimates of clusters for days with 1 % new images, and measure the count of new images.

    PYTHONPATH=.:spark_apps python -m benchmarks.planning
    PYTHONPATH=.:spark_apps python -m benchmarks.planning --count 10000000

The first table has the default settings, images of 5 KB and the prices of `include/emr/prices.toml`. *Before* is a plan
by all images. With `--count`, the count of that many invented objects is measured, of which 1 % are new.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import subprocess_measure
from include.emr import costs, sizing
from include.emr.prices import price_table
from include.emr.sizing import MEASURED_IMAGE_BYTES, SizingTargets, Workload
from include.inventory import changes
from include.settings import Settings

SIZES = (644, 90_380, 1_000_000, 10_000_000)
NEW_SHARE = 0.01
TARGET_MINUTES = 15
ROWS_PER_PART = 50_000


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.planning", description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, help="number of invented objects to count")
    options = parser.parse_args(argv)
    print(*(estimates() if options.count is None else measured(options.count)), sep="\n")
    return 0


def estimates() -> Iterator[str]:
    """Yield the lines of the Markdown table of estimates."""
    yield "| images | new | before: nodes, minutes, estimate | after: nodes, minutes, estimate |"
    yield "|--:|--:|--:|--:|"
    for images in SIZES:
        new = round(images * NEW_SHARE)
        before = Workload(images, images * MEASURED_IMAGE_BYTES)
        after = Workload(new, new * MEASURED_IMAGE_BYTES, cached=images - new)
        yield f"| {images:,} | {new:,} | {_estimate(before)} | {_estimate(after)} |"


def _estimate(workload: Workload) -> str:
    deployment, prices = Settings.model_construct(), price_table()
    targets = SizingTargets(deployment.emr_images_per_core_s, TARGET_MINUTES, deployment.emr_max_nodes)
    nodes = sizing.choose(sizing.AUTO, workload, targets)
    fleets = sizing.fleets(nodes, deployment.emr_architecture, prices)
    expected = costs.estimate(fleets, sizing.minutes(nodes, workload, deployment.emr_images_per_core_s), prices)
    return f"{nodes.core + nodes.task}, {expected.minutes:.0f}, ${expected.dollars:.2f}"


def measured(objects: int) -> Iterator[str]:
    """Yield the lines of the Markdown table of the count's time and memory."""
    start_s = time.monotonic()
    new = changes.count(_parts(objects, 0), _parts(objects, round(objects * NEW_SHARE)))
    wall_s = time.monotonic() - start_s
    yield "| objects | new | seconds | peak MB |"
    yield "|--:|--:|--:|--:|"
    yield f"| {objects:,} | {new.images:,} | {wall_s:.0f} | {subprocess_measure.peak_mb():.0f} |"


def _parts(objects: int, first: int) -> Iterator[pa.Table]:
    """Yield invented rows of an inventory, which are rows of an index too."""
    for start in range(first, objects, ROWS_PER_PART):
        numbers = pa.array(np.arange(start, min(objects, start + ROWS_PER_PART))).cast(pa.string())
        key = pc.binary_join_element_wise("images/Training/Fruit 001/", numbers, "_100.jpg", "")
        etag = pc.utf8_lpad(numbers, 32, "0")
        size = pa.array(np.full(len(numbers), MEASURED_IMAGE_BYTES))
        is_md5 = pa.array(np.full(len(numbers), fill_value=True))
        yield pa.table({"key": key, "etag": etag, "size": size, "by_content": is_md5, "category": numbers})


if __name__ == "__main__":
    sys.exit(main())
