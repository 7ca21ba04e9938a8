"""What was quarantined, by reason, with some of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from fruits_features.contract.rejections import Reason

if TYPE_CHECKING:
    from include.run_files import RunFiles

SAMPLES = 12
DRAWABLE = frozenset({Reason.NO_CATEGORY, Reason.TRUNCATED, Reason.UNDECODABLE, Reason.NOT_DESCRIBABLE})
"""Reasons under which the object itself is there and may show something; others are gone, too large or dangerous."""

_MEANINGS = {str(reason): reason.meaning for reason in Reason}
_KEPT = {"path": pl.String, "size": pl.Int64, "reason": pl.String, "detail": pl.String, "draw": pl.UInt64}


def by_reason(files: RunFiles) -> list[dict[str, Any]]:
    """Count the quarantine by reason, the most frequent first, and draw some of each."""
    counted = pl.DataFrame(schema={"reason": pl.String, "images": pl.Int64, "bytes": pl.Int64})
    samples = pl.DataFrame(schema=_KEPT)
    for batch in files.quarantine.batches(["path", "size", "reason", "detail"]):
        counts = batch.group_by("reason").agg(images=pl.len().cast(pl.Int64), bytes=pl.col("size").sum())
        counted = pl.concat([counted, counts]).group_by("reason").sum()
        drawn = pl.concat([samples, batch.with_columns(draw=pl.col("path").hash()).select(*_KEPT)])
        samples = drawn.sort("draw").group_by("reason", maintain_order=True).head(SAMPLES).select(*_KEPT)
    found = counted.sort(["images", "reason"], descending=[True, False]).to_dicts()
    of = {reason: rows.sort("path") for (reason,), rows in samples.group_by("reason")}
    return [
        {
            **one,
            "meaning": _MEANINGS[one["reason"]],
            "samples": of[one["reason"]].select("path", "size", "detail").to_dicts(),
        }
        for one in found
    ]
