"""What the run was: what it read and when, whose projection it uses, and the parameters that made the difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fruits_features.contract.layout import PORTABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

MAIN = ("features", "onnx_model", "k", "explained_variance", "refit", "include_pixels")
"""Of the parameters, those that change what comes out."""


@dataclass(frozen=True)
class About:
    """Where a run comes from.

    Args:
        images: where they lie.
        taken_at: when its inventory was taken, in ISO 8601.
        kept_from: address of the published projection that it kept; `None` where it fitted its own.
        why: it did: one sentence.
        params: the DAG run's.
    """

    images: str
    taken_at: str
    kept_from: str | None
    why: str
    params: Mapping[str, Any]

    def figures(self) -> dict[str, Any]:
        """Tell it in plain types: the run whose projection was kept by its name, and of the parameters the main ones.

        A number of components is asked for in place of a share of the variance, and left out are those not set.
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
