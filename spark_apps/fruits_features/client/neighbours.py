"""Nearest neighbours of a photo among the images of a run, by the cosine of the components."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fruits_features.contract.layout import FITTED_SPLIT
from fruits_features.dataset import matrix_of
from fruits_features.io.vectors import unit_vectors


@dataclass(frozen=True)
class Neighbour:
    """An image of a run that is similar to a photo.

    Args:
        path: Address of the image, `s3://<bucket>/<key>`.
        category: Kind of fruit.
        cosine: Cosine of the components of image and photo, from -1 to 1.
    """

    path: str
    category: str
    cosine: float


@dataclass(frozen=True)
class Neighbours:
    """Images of a run whose neighbourhood can be searched.

    Args:
        names: Columns `path` and `category`, n rows.
        directions: Components as unit vectors, n x k, float32.
    """

    names: pl.DataFrame
    directions: NDArray[np.float32]

    @classmethod
    def of(cls, features: pl.LazyFrame) -> Self:
        """Read the training images of a run, or all images of a run without them.

        Args:
            features: Table `features` of the run.
        """
        rows = features.select("path", "category", "split", "pca").collect()
        training = rows.filter(pl.col("split") == FITTED_SPLIT)
        known = rows if training.is_empty() else training
        return cls(known.select("path", "category"), unit_vectors(matrix_of(known["pca"])))

    def nearest(self, components: NDArray[np.float32], k: int) -> list[Neighbour]:
        """Return the images with the largest cosines, the largest first; all images if there are fewer than `k`.

        Args:
            components: Components of the photo, float32.
            k: Number of images.
        """
        cosines = self.directions @ unit_vectors(components[np.newaxis])[0]
        order = np.argsort(-cosines, kind="stable")[:k]
        found = zip(self.names[order].iter_rows(), cosines[order], strict=True)
        return [Neighbour(path, category, float(cosine)) for (path, category), cosine in found]
