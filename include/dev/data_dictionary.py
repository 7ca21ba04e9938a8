"""Writes docs/reference/data-dictionary.md from the application's schemas: `python -m include.dev.data_dictionary`.

The columns, reasons and metadata keys stand in `fruits_features`; here stands only what a reader wants to know around
them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from fruits_features.contract.rejections import Reason
from fruits_features.schemas import INVENTORY, METADATA, METADATA_KEY, QUARANTINE, Column, features_columns

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE = Path(__file__).parents[2] / "docs" / "reference" / "data-dictionary.md"

_TEMPLATE = """\
# Data dictionary

<!-- Written by `make docs` from spark_apps/fruits_features/schemas.py and rejections.py: change those. -->

One run lies below `s3://<bucket>/features/runs/<run>/`; `s3://<bucket>/features/latest.json` names the published one.
Every inventoried object is a row of exactly one of `features/` and `quarantine/`.

All three tables are Parquet with plain types. `features/` and `quarantine/` are compressed with zstd and sorted by
`category`, then by `path` (in `quarantine/`, which has no category, objects outside any come last). The files of
`features/` hold 64 to 256 MB each, a small run is one file; their names sort as their rows do.

## `features/`: one row an image that was described

{features}

With `--include-pixels` (the DAG's parameter `include_pixels`) also:

{pixels}

## `quarantine/`: one row an object that was not

{quarantine}

{reasons}

## `inventory/`: one row an object that the run is about

{inventory}

## The files' own metadata

Each file of `features/` and `quarantine/` tells what wrote it: under the key `{metadata_key}` of its Parquet metadata
stands a JSON object.

{metadata}

## How images are read

The format is told from a file's first bytes: JPEG, PNG, WebP, BMP, TIFF or GIF, whatever the key's extension says.
Images are turned upright by their EXIF orientation. Grey, palettes, CMYK and YCCK become RGB, 16 bits become 8. Of
several frames or pages the first is taken.

What is transparent shows white, as the background of Fruits-360 is. Where OpenCV does not tell what is transparent
(grey with a transparent colour in PNG, grey with opacity in TIFF), the image is quarantined.

A file that is cut short is quarantined. One case is not found: a JPEG that was cut short and then given an end marker
looks whole, and what is missing looks grey.

## Reading

`features` is the folder's address, such as `s3://fruits/features/runs/<run>/features`.

```python
import pandas as pd

from_pandas = pd.read_parquet(features)
```

```python
import polars as pl

from_polars = pl.read_parquet(f"{{features}}/*.parquet")
```

```python
import duckdb

from_duckdb = duckdb.sql(f"SELECT * FROM '{{features}}/*.parquet'")
```

```python
from_spark = spark.read.parquet(features)
```

A value of `descriptors` becomes a matrix, and the column `pca` one with a row an image:

```python
import numpy as np

descriptors = np.frombuffer(from_pandas["descriptors"][0], np.uint8).reshape(-1, 32)
vectors = np.stack(from_pandas["pca"])
```

```python
import json

about = json.loads(pl.read_parquet_metadata(f"{{features}}/part-00000.parquet")["{metadata_key}"])
```
"""


def render() -> str:
    """Write the page."""
    known, with_pixels = (features_columns(include_pixels=wanted) for wanted in (False, True))
    return _TEMPLATE.format(
        features=_columns(known),
        pixels=_columns([column for column in with_pixels if column not in known]),
        quarantine=_columns(QUARANTINE),
        reasons=_table(("reason", "meaning"), ((f"`{reason}`", reason.meaning) for reason in Reason)),
        inventory=_columns(INVENTORY),
        metadata_key=METADATA_KEY,
        metadata=_table(("key", "meaning"), ((f"`{key}`", meaning) for key, meaning in METADATA.items())),
    )


def _columns(columns: Iterable[Column]) -> str:
    rows = (
        (f"`{one.name}`", _type(one.type), "yes" if one.nullable else "no", one.unit, one.shape, one.meaning)
        for one in columns
    )
    return _table(("column", "type", "null", "unit", "shape", "meaning"), rows)


def _type(kind: pa.DataType) -> str:
    """Name a type as people do.

    >>> _type(pa.list_(pa.float32())), _type(pa.int64())
    ('list of float', 'int64')
    """
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a table in Markdown.

    >>> print(_table(["a", "b"], [["1", ""]]))
    | a | b |
    |---|---|
    | 1 |  |
    """
    head, *body = ["| " + " | ".join(cells) + " |" for cells in (titles, *rows)]
    return "\n".join([head, "|---" * (head.count(" | ") + 1) + "|", *body])


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
