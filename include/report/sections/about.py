"""Origin of a run: its images, the time of its inventory, its projection and its main parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fruits_features.contract.layout import PORTABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

MAIN = ("features", "onnx_model", "k", "explained_variance", "refit", "include_pixels")
"""Parameters that change the result."""


@dataclass(frozen=True)
class About:
    """Origin of a run.

    Args:
        images: URI of the images.
        taken_at: Time of the inventory in ISO 8601.
        kept_from: URI of the published projection that the run kept, or `None` if it fitted its own.
        why: Reason for keeping or fitting it, in one sentence.
        params: Parameters of the DAG run.
    """

    images: str
    taken_at: str
    kept_from: str | None
    why: str
    params: Mapping[str, Any]

    def figures(self) -> dict[str, Any]:
        """Return the origin in plain types, with the name of the run whose projection was kept and the main parameters.

        Parameters that are not set are omitted. `k` replaces `explained_variance`.
        """
        unused = "explained_variance" if self.params.get("k") else "k"
        main = {name: self.params[name] for name in MAIN if self.params.get(name) and name != unused}
        kept_from = self.kept_from and self.kept_from.removesuffix(f"/projection/{PORTABLE}").rpartition("/")[2]
        return {
            "images": self.images,
            "taken_at": self.taken_at,
            "kept_from": kept_from,
            "why": self.why,
            "params": main,
        }
