"""Functions that the other candidates share: the application's extraction of a batch, and the count of rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fruits_features.contract.arguments import DEFAULT_MAX_IMAGE_PIXELS
from fruits_features.contract.families import DEFAULT_FAMILIES
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures

COLUMNS = {
    "width": pa.int32(),
    "height": pa.int32(),
    "keypoints": pa.int32(),
    "descriptors": pa.binary(),
    "features": pa.list_(pa.float32()),
}


def extract(images: Sequence[bytes]) -> dict[str, pa.Array]:
    """Extract the default families of images, and return columns.

    Raises:
        ValueError: An image was rejected.
    """
    outcomes = [ImageExtractor(DEFAULT_FAMILIES, DEFAULT_MAX_IMAGE_PIXELS).extract(data) for data in images]
    extracted = [outcome for outcome in outcomes if isinstance(outcome, ImageFeatures)]
    if len(extracted) < len(outcomes):
        raise ValueError(f"{len(outcomes) - len(extracted)} of {len(outcomes)} images were rejected.")
    features = np.array([image.features for image in extracted], np.float32)
    offsets = np.arange(0, features.size + 1, features.shape[1], dtype=np.int32)
    values = {
        "width": [image.width for image in extracted],
        "height": [image.height for image in extracted],
        "keypoints": [len(image.descriptors) for image in extracted],
        "descriptors": [image.descriptors.tobytes() for image in extracted],
    }
    arrays = {name: pa.array(value, COLUMNS[name]) for name, value in values.items()}
    return arrays | {"features": pa.ListArray.from_arrays(pa.array(offsets), pa.array(features.reshape(-1)))}


def count_rows(folder: str) -> int:
    """Return the number of rows in a folder's Parquet files."""
    return sum(pq.read_metadata(path).num_rows for path in Path(folder).rglob("*.parquet"))
