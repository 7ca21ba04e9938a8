"""Small runs with chosen components, so that the figures of their reports can be computed by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from fruits_features import schemas
from fruits_features.contract.families import total_dimension
from fruits_features.contract.layout import DatasetLayout
from fruits_features.projection import Projection
from include.report.build import Inputs, Report, build
from include.run_files import RunFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FAMILIES = ("orb", "texture")
LAYOUT = DatasetLayout("fruits").run("r")

Place = tuple[str | None, str, tuple[float, float]]
Lost = tuple[str, int, str]

KNOWN: list[Place] = [
    ("Training", "Apple", (1, 0)),
    ("Training", "Apple", (0.9, 0.1)),
    ("Training", "Lime", (0, 1)),
    ("Training", "Lime", (0.1, 0.9)),
]
QUERIES: list[Place] = [
    ("Test", "Apple", (1, 0.1)),
    ("Test", "Apple", (0.1, 1)),  # nearest to a Lime
    ("Test", "Kiwi", (-1, 0)),  # not in Training; the orthogonal Lime is nearest
    ("Test", "Lime", (0, 2)),
]


def projection() -> Projection:
    """Return two components. The first mixes both families (0.6 and 0.8), the second uses texture only."""
    width = total_dimension(FAMILIES)
    components = np.zeros((width, 2))
    components[7, 0], components[256, 0], components[265, 1] = -0.6, 0.8, 1
    return Projection(FAMILIES, np.zeros(width), np.ones(width), components, np.array([0.6, 0.3]))


def inputs(folder: Path, places: Sequence[Place], lost: Sequence[Lost] = (), **changes: Any) -> Inputs:  # noqa: ANN401
    """Write a run and return the inputs of its report.

    Args:
        folder: Folder of the run.
        places: Split, category and components of each image. The images are named 0.jpg, 1.jpg, …
        lost: Key, size and reason of each object in quarantine.
        changes: Changes to the inputs.
    """
    columns = schemas.features_columns(include_pixels=False)
    rows = [
        {
            "path": f"s3://fruits/images/{f'{split}/' if split else ''}{category}/{number}.jpg",
            "split": split,
            "category": category,
            "width": 1,
            "height": 1,
            "keypoints": 0,
            "descriptors": b"",
            "features": [0.0],
            "pca": pca,
        }
        for number, (split, category, pca) in enumerate(places)
    ]
    rejected = [
        {"path": f"s3://fruits/{key}", "size": size, "stage": "decode", "reason": reason, "detail": f"About {key}."}
        for key, size, reason in lost
    ]
    _write(folder, LAYOUT.features, rows, schemas.arrow_schema(columns))
    _write(folder, LAYOUT.quarantine, rejected, schemas.arrow_schema(schemas.QUARANTINE))
    keys = [{"key": row["path"].removeprefix("s3://fruits/")} for row in rows + rejected]
    _write(folder, LAYOUT.inventory, keys, pa.schema([("key", pa.string())]))
    files = RunFiles(LAYOUT, SubTreeFileSystem(str(folder), LocalFileSystem()))
    made = Inputs("r", files, projection(), {"checks": []}, fetch=lambda _key: None)
    return replace(made, **changes)


def report(folder: Path, places: Sequence[Place], lost: Sequence[Lost] = (), **changes: Any) -> Report:  # noqa: ANN401
    """Write a run and build its report."""
    return build(inputs(folder, places, lost, **changes))


def _write(folder: Path, uri: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    place = folder / uri.removeprefix("s3://")
    place.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), place / "part-00000.parquet")
