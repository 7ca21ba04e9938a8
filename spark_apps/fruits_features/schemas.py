"""The columns of everything the application reads and writes: written once, used by writer, validation and docs.

After a change, `make docs` writes docs/reference/data-dictionary.md anew.

Knows pyarrow and no Spark. Arrow's list items are named as in Parquet's standard (`element`), so that a schema built
here equals the one read back from a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from fruits_features.contract.rejections import Stage

_VECTOR = pa.list_(pa.field("element", pa.float32(), nullable=False))


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        name: its name.
        type: its Arrow type.
        meaning: what a value tells, in one sentence.
        nullable: whether a value may be missing; `meaning` then tells what that means.
        unit: of the values, empty where they have none.
        shape: of a value that holds several, for example `keypoints x 32 (uint8, row by row)`.
    """

    name: str
    type: pa.DataType
    meaning: str
    nullable: bool = False
    unit: str = ""
    shape: str = ""


_PATH = Column("path", pa.string(), "Where the image lies: `s3://<bucket>/<key>`, the key as it is (not URL-quoted).")
_SPLIT = Column(
    "split",
    pa.string(),
    "Training or Test, where the first folder below the images is named so; null: it is not.",
    nullable=True,
)
_CATEGORY = Column("category", pa.string(), "What the image shows: the name of its folder.")
_SIZE = Column("size", pa.int64(), "The object's size when it was inventoried.", unit="bytes")
_IMAGE = Column("image", pa.binary(), "The decoded image.", shape="height x width x 3 (uint8, row by row, RGB)")

FEATURES = Column(
    "features", _VECTOR, "The families' features, before reduction.", shape="the sum of the families' dimensions"
)
PACKED = Column("features", pa.binary(), FEATURES.meaning, shape=f"{FEATURES.shape} (float32)")
"""As the store keeps them."""

INVENTORY = (
    Column("key", pa.string(), "The object's key, as it is (not URL-quoted)."),
    Column("size", pa.int64(), "The object's size.", unit="bytes"),
    Column("etag", pa.string(), "The object's ETag, without quotes."),
    Column(
        "last_modified", pa.timestamp("us", tz="UTC"), "When the object was last written.", unit="microseconds, UTC"
    ),
    _SPLIT,
    Column("category", pa.string(), "The last folder of the key; null: the object lies outside any.", nullable=True),
)

LABELS = (_PATH, _SPLIT, _CATEGORY)
"""What the inventory says of an image."""

_FEATURES = (
    *LABELS,
    Column("width", pa.int32(), "The original image's width, upright (EXIF orientation applied).", unit="pixels"),
    Column("height", pa.int32(), "The original image's height, upright (EXIF orientation applied).", unit="pixels"),
    Column("keypoints", pa.int32(), "How many ORB keypoints the image has, at 100 x 100 pixels; 0 is valid."),
    Column("descriptors", pa.binary(), "The keypoints' ORB descriptors.", shape="keypoints x 32 (uint8, row by row)"),
    FEATURES,
    Column("pca", _VECTOR, "The features, centred, scaled by family and projected.", shape="k"),
)

QUARANTINE = (
    _PATH,
    _SIZE,
    Column("stage", pa.string(), f"How far the image came: {', '.join(Stage)}."),
    Column("reason", pa.string(), "What was wrong, from a closed list (see below)."),
    Column("detail", pa.string(), "One sentence with the figures at hand."),
)

IDENTITY = (
    Column("key", pa.string(), "The object's key, as it is (not URL-quoted)."),
    Column("etag", pa.string(), "The object's ETag, without quotes."),
    _SIZE,
    Column("by_content", pa.bool_(), "Whether the ETag was found to be the MD5 of the object's bytes."),
)
"""Which object a row is about, as it was when it was described."""
REJECTED = (*IDENTITY, *(column for column in QUARANTINE if column not in IDENTITY))
"""The columns in which a worker gives rejected images."""
INDEX = (
    *IDENTITY,
    Column("file", pa.int32(), "Which file of its part of the store holds it; null: none.", nullable=True),
    Column("row", pa.int64(), "Which of the file's rows it is; null: none.", nullable=True),
    Column("stage", pa.string(), "How far the image came; null: it is described.", nullable=True),
    Column("reason", pa.string(), "Why it was rejected; null: it is described.", nullable=True),
    Column("detail", pa.string(), "One sentence with the figures at hand; null: it is described.", nullable=True),
)
"""The store's own index (`store`): who is described where, or rejected why."""

METADATA_KEY = "fruits_features"
"""Key of the Parquet metadata of `features/` and `quarantine/` that tells what wrote a file: a JSON object."""
METADATA = {
    "version": "The application's version.",
    "arguments": "The run's parameters by name, those left at their default too.",
    "projection": "Version of the projection that gave `pca`: the same one, the same numbers. Only in `features/`.",
}
"""What stands in that object."""


def features_columns(*, include_pixels: bool) -> tuple[Column, ...]:
    """Tell the columns of `features/`."""
    return (*_FEATURES, _IMAGE) if include_pixels else _FEATURES


def described_columns(*, include_pixels: bool) -> tuple[Column, ...]:
    """Tell the columns that are known of an image before the reduction."""
    return tuple(column for column in features_columns(include_pixels=include_pixels) if column.name != "pca")


def worked_columns(*, include_pixels: bool) -> tuple[Column, ...]:
    """Tell the columns in which a worker gives described images."""
    return (*IDENTITY, *described_columns(include_pixels=include_pixels))


def stored_columns(*, include_pixels: bool) -> tuple[Column, ...]:
    """Tell the columns of the store's files: what an image's bytes tell, and the ETag that they had.

    Where an image lies and what that makes it (path, split, category) is the inventory's to say, and may change.
    """
    described = described_columns(include_pixels=include_pixels)
    etag = next(column for column in IDENTITY if column.name == "etag")
    return (etag, *(PACKED if column is FEATURES else column for column in described if column not in LABELS))


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """Make the Arrow schema of columns, equal to what pyarrow reads from the Parquet files (metadata apart).

    >>> arrow_schema(QUARANTINE).field("size")
    pyarrow.Field<size: int64 not null>
    """
    return pa.schema([pa.field(column.name, column.type, nullable=column.nullable) for column in columns])
