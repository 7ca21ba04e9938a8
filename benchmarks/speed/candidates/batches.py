"""What candidates share that are not this application: its OpenCV work on a batch, and counting what came out."""

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


def describe(images: Sequence[bytes]) -> dict[str, pa.Array]:
    """Describe images by the default families."""
    found = [ImageExtractor(DEFAULT_FAMILIES, DEFAULT_MAX_IMAGE_PIXELS).extract(data) for data in images]
    sound = [one for one in found if isinstance(one, ImageFeatures)]
    if len(sound) < len(found):
        raise ValueError(f"{len(found) - len(sound)} of {len(found)} images cannot be described.")
    features = np.array([one.features for one in sound], np.float32)
    offsets = np.arange(0, features.size + 1, features.shape[1], dtype=np.int32)
    values = {
        "width": [one.width for one in sound],
        "height": [one.height for one in sound],
        "keypoints": [len(one.descriptors) for one in sound],
        "descriptors": [one.descriptors.tobytes() for one in sound],
    }
    arrays = {name: pa.array(value, COLUMNS[name]) for name, value in values.items()}
    return arrays | {"features": pa.ListArray.from_arrays(pa.array(offsets), pa.array(features.reshape(-1)))}


def count_rows(folder: str) -> int:
    """Count the rows of a folder's Parquet files."""
    return sum(pq.read_metadata(path).num_rows for path in Path(folder).rglob("*.parquet"))
