"""Summarise the quarantine by reason, with samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fruits_features.contract.rejections import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.report.sample import ReasonCounts

DRAWABLE = frozenset({Reason.NO_CATEGORY, Reason.TRUNCATED, Reason.UNDECODABLE, Reason.NOT_DESCRIBABLE})
"""Reasons of objects that may show something. The others no longer exist, are too large or unsafe to decode."""

_MEANINGS = {str(reason): reason.meaning for reason in Reason}


def by_reason(reasons: Mapping[str, ReasonCounts]) -> list[dict[str, Any]]:
    """Return the number of objects and samples by reason, the most frequent reason first."""
    return [
        {
            "reason": reason,
            "images": counts.images,
            "bytes": counts.size_bytes,
            "meaning": _MEANINGS[reason],
            "samples": [
                {"path": one.path, "size": one.size, "detail": one.detail}
                for one in sorted(counts.samples, key=lambda sample: sample.path)
            ],
        }
        for reason, counts in sorted(reasons.items(), key=lambda item: (-item[1].images, item[0]))
    ]
