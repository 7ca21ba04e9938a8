"""Filter the images among the objects below a prefix. The sensor and the inventory use the same rules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from fruits_features.contract.image_keys import is_system_file
from fruits_features.contract.layout import FEATURES_ROOT, split

if TYPE_CHECKING:
    from include.settings import Settings

MODEL_PREFIX: Final = "models/"
"""Prefix of the models in the deployment's bucket, which the template's roles may read."""


@dataclass(frozen=True)
class ImageFilter:
    """Rules for the objects that are images.

    Args:
        prefix: Key prefix of the images, empty or ending in "/".
        marker: Key of the marker of a complete upload, or `None`.
        own_prefixes: Prefixes below the images' prefix that the pipeline writes to or reads models from.
    """

    prefix: str
    marker: str | None = None
    own_prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings, bucket: str, prefix: str, marker: str | None) -> ImageFilter:
        """Return the filter of a run.

        Own prefixes that contain the images' prefix are ignored: they may be the same folder.

        Args:
            settings: Settings of the deployment.
            bucket: Bucket of the images.
            prefix: Key prefix of the images.
            marker: Key of the marker below the prefix, or `None`.
        """
        own = [f"{FEATURES_ROOT}/", settings.log_prefix]
        if bucket == settings.bucket:
            own += [settings.artifact_prefix, MODEL_PREFIX]
        report_bucket, reports = split(settings.inventory_report or "")
        if bucket == report_bucket:
            own.append(f"{reports.rstrip('/')}/")
        below = tuple(name for name in own if name.startswith(prefix) and name != prefix)
        return cls(prefix, prefix + marker if marker else None, below)

    def apply(self, listed: pa.RecordBatch) -> tuple[pa.RecordBatch, Counter[str]]:
        """Return the rows that are images, and the number of other objects by kind.

        Args:
            listed: Rows with the columns `key` and `size`, all below the prefix.
        """
        kinds = [
            self._kind(key, key.removeprefix(self.prefix), size)
            for key, size in zip(listed["key"].to_pylist(), listed["size"].to_pylist(), strict=True)
        ]
        left_out = Counter(kind for kind in kinds if kind)
        images = listed.filter(pa.array([kind is None for kind in kinds], pa.bool_())) if left_out else listed
        return images, left_out

    def _kind(self, key: str, relative_key: str, size: int) -> str | None:
        """Return the kind of an object that is not an image, or `None`."""
        if key.startswith(self.own_prefixes):
            return "own files"
        if key == self.marker:
            return "markers"
        if not size and key.endswith("/"):
            return "folder objects"
        return "system files" if is_system_file(relative_key) else None
