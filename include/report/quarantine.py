"""Summarise the quarantine by reason, with samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from fruits_features.contract.rejections import Reason

if TYPE_CHECKING:
    from include.run_files import RunFiles

SAMPLES = 12
DRAWABLE = frozenset({Reason.NO_CATEGORY, Reason.TRUNCATED, Reason.UNDECODABLE, Reason.NOT_DESCRIBABLE})
"""Reasons of objects that may show something. The others no longer exist, are too large or unsafe to decode."""

_MEANINGS = {str(reason): reason.meaning for reason in Reason}
_SAMPLE_COLUMNS = {"path": pl.String, "size": pl.Int64, "reason": pl.String, "detail": pl.String, "draw": pl.UInt64}


def by_reason(files: RunFiles) -> list[dict[str, Any]]:
    """Return the number of objects and samples by reason, the most frequent reason first."""
    counted = pl.DataFrame(schema={"reason": pl.String, "images": pl.Int64, "bytes": pl.Int64})
    samples = pl.DataFrame(schema=_SAMPLE_COLUMNS)
    for batch in files.quarantine.batches(["path", "size", "reason", "detail"]):
        counts = batch.group_by("reason").agg(images=pl.len().cast(pl.Int64), bytes=pl.col("size").sum())
        counted = pl.concat([counted, counts]).group_by("reason").sum()
        drawn = pl.concat([samples, batch.with_columns(draw=pl.col("path").hash()).select(*_SAMPLE_COLUMNS)])
        samples = drawn.sort("draw").group_by("reason", maintain_order=True).head(SAMPLES).select(*_SAMPLE_COLUMNS)
    reasons = counted.sort(["images", "reason"], descending=[True, False]).to_dicts()
    samples_of = {reason: rows.sort("path") for (reason,), rows in samples.group_by("reason")}
    return [
        {
            **row,
            "meaning": _MEANINGS[row["reason"]],
            "samples": samples_of[row["reason"]].select("path", "size", "detail").to_dicts(),
        }
        for row in reasons
    ]
