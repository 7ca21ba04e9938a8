"""Columns of every table that the application reads and writes.

The writers, the validation and docs/reference/data-dictionary.md use them. Run `make docs` after a change.

List items are named `element`, as in the Parquet standard. So a schema built here equals the one read from a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from fruits_features.contract.rejections import Stage

_VECTOR = pa.list_(pa.field("element", pa.float32(), nullable=False))


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: Column name.
        type: Arrow type.
        meaning: Description of a value, one or two sentences.
        nullable: True if a value may be null. `meaning` then says when.
        unit: Unit of the values. Empty if they have none.
        shape: Shape of a list or binary value, for example `keypoints x 32 (uint8, row by row)`.
    """

    name: str
    type: pa.DataType
    meaning: str
    nullable: bool = False
    unit: str = ""
    shape: str = ""


_PATH = Column("path", pa.string(), "Address of the image: `s3://<bucket>/<key>`. The key is not URL-encoded.")
_SPLIT = Column(
    "split",
    pa.string(),
    "Training, Validation or Test: the first folder of that name above the category, in any letter case (also train, "
    "valid and val). Null without one.",
    nullable=True,
)
_CATEGORY = Column("category", pa.string(), "Kind of fruit: the name of the folder that holds the image, in form NFC.")
_SIZE = Column("size", pa.int64(), "Size of the object, as listed in the inventory.", unit="bytes")
_IMAGE = Column("image", pa.binary(), "The decoded image.", shape="height x width x 3 (uint8, row by row, RGB)")

FEATURES = Column(
    "features", _VECTOR, "Features of all families, before the reduction.", shape="sum of the families' dimensions"
)
PACKED = Column("features", pa.binary(), FEATURES.meaning, shape=f"{FEATURES.shape} (float32)")
"""Features as the feature cache stores them."""

INVENTORY = (
    Column("key", pa.string(), "Key of the object, not URL-encoded."),
    Column("size", pa.int64(), "Size of the object.", unit="bytes"),
    Column("etag", pa.string(), "ETag of the object, without quotes."),
    Column(
        "last_modified", pa.timestamp("us", tz="UTC"), "Time of the last write to the object.", unit="microseconds, UTC"
    ),
    _SPLIT,
    Column("category", pa.string(), "Last folder of the key. Null if the object is not in a folder.", nullable=True),
)

LABELS = (_PATH, _SPLIT, _CATEGORY)
"""Columns that come from the inventory, not from the image's bytes."""

_FEATURES = (
    *LABELS,
    Column("width", pa.int32(), "Width of the original image, after its EXIF orientation was applied.", unit="pixels"),
    Column(
        "height", pa.int32(), "Height of the original image, after its EXIF orientation was applied.", unit="pixels"
    ),
    Column("keypoints", pa.int32(), "Number of ORB keypoints at 100 x 100 pixels. 0 is valid."),
    Column("descriptors", pa.binary(), "ORB descriptors of the keypoints.", shape="keypoints x 32 (uint8, row by row)"),
    FEATURES,
    Column("pca", _VECTOR, "Features after centring, scaling by family and projection.", shape="k"),
)

QUARANTINE = (
    _PATH,
    _SIZE,
    Column("stage", pa.string(), f"Stage that rejected the image: {', '.join(Stage)}."),
    Column("reason", pa.string(), "Reason of the rejection, from the closed list below."),
    Column("detail", pa.string(), "One sentence with the measured values."),
)

IDENTITY = (
    Column("key", pa.string(), "Key of the object, not URL-encoded."),
    Column("etag", pa.string(), "ETag of the object, without quotes."),
    _SIZE,
    Column("by_content", pa.bool_(), "True if the ETag equals the MD5 of the object's bytes."),
)
"""Columns that identify an object at the time of its extraction."""
REJECTED = (*IDENTITY, *(column for column in QUARANTINE if column not in IDENTITY))
"""Columns of a worker's rejected images."""
INDEX = (
    *IDENTITY,
    Column(
        "file",
        pa.int32(),
        "Number of the segment's file that holds the row. Null if the image was rejected.",
        nullable=True,
    ),
    Column("row", pa.int64(), "Number of the row in that file. Null if the image was rejected.", nullable=True),
    Column("stage", pa.string(), "Stage that rejected the image. Null if it has features.", nullable=True),
    Column("reason", pa.string(), "Reason of the rejection. Null if the image has features.", nullable=True),
    Column(
        "detail", pa.string(), "One sentence with the measured values. Null if the image has features.", nullable=True
    ),
)
"""Columns of the feature cache's index: the location of each image's features, or the reason of its rejection."""

METADATA_KEY = "fruits_features"
"""Key of the JSON object in the Parquet metadata of `features/` and `quarantine/`. It names what wrote the file."""
METADATA = {
    "version": "Version of the application.",
    "arguments": "Parameters of the run by name, defaults included.",
    "projection": "Version of the projection that computed `pca`: equal versions, equal numbers. Only in `features/`.",
}
"""Fields of that JSON object, with their meaning."""


def features_columns(*, include_pixels: bool) -> tuple[Column, ...]:
    """Return the columns of `features/`."""
    return (*_FEATURES, _IMAGE) if include_pixels else _FEATURES


def extracted_columns(*, include_pixels: bool) -> tuple[Column, ...]:
    """Return the columns of an image before the reduction: all but `pca`."""
    return tuple(column for column in features_columns(include_pixels=include_pixels) if column.name != "pca")


def extractor_columns(*, include_pixels: bool) -> tuple[Column, ...]:
    """Return the columns of the rows that a worker hands over: the object's identity and its features."""
    return (*IDENTITY, *extracted_columns(include_pixels=include_pixels))


def stored_columns(*, include_pixels: bool) -> tuple[Column, ...]:
    """Return the columns of the feature cache's files: what is computed from an image's bytes, and their ETag.

    Path, split and category are left out: they come from the inventory of each run and may change.
    """
    extracted = extracted_columns(include_pixels=include_pixels)
    etag = next(column for column in IDENTITY if column.name == "etag")
    return (etag, *(PACKED if column is FEATURES else column for column in extracted if column not in LABELS))


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the Arrow schema of columns. It equals the schema that pyarrow reads from the files, metadata excluded.

    >>> arrow_schema(QUARANTINE).field("size")
    pyarrow.Field<size: int64 not null>
    """
    return pa.schema([pa.field(column.name, column.type, nullable=column.nullable) for column in columns])
