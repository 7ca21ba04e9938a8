"""Confidence intervals (95 %) of shares and of their differences. They hold near 0 and 1 and for few images, too."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

Z = 1.959964
"""97.5 % quantile of the standard normal distribution."""


class Interval(NamedTuple):
    """Limits of an interval."""

    low: float
    high: float


def share(hits: float, of: int) -> Interval:
    """Return the interval of a share: Wilson, Journal of the American Statistical Association 22 (1927), 209-212.

    Args:
        hits: Number of hits.
        of: Number of trials. Without trials the share may be anything.

    >>> low, high = share(81, 263)
    >>> round(low, 4), round(high, 4)
    (0.2553, 0.3662)
    """
    if not of:
        return Interval(0.0, 1.0)
    observed, weight = hits / of, Z**2 / of
    centre = (observed + weight / 2) / (1 + weight)
    half = sqrt(observed * (1 - observed) * weight + weight**2 / 4) / (1 + weight)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def difference(before: tuple[float, int], now: tuple[float, int]) -> Interval:
    """Return the interval of the difference of two shares of independent samples.

    Source: Agresti and Caffo, The American Statistician 54 (2000), 280-288.

    Args:
        before: Hits and trials of the subtracted share.
        now: Hits and trials of the other share.

    >>> low, high = difference((9, 10), (3, 10))
    >>> round(low, 4), round(high, 4)
    (-0.84, -0.16)
    """
    (first, first_of), (second, second_of) = ((hits + 1, of + 2) for hits, of in (before, now))
    lower, upper = first / first_of, second / second_of
    half = Z * sqrt(lower * (1 - lower) / first_of + upper * (1 - upper) / second_of)
    return _limited(upper - lower, half)


def paired_difference(lost: int, gained: int, of: int) -> Interval:
    """Return the interval of the difference of two shares of the same trials.

    Source: Bonett and Price, Journal of Educational and Behavioral Statistics 37 (2012), 479-488.

    Args:
        lost: Number of trials that are hits only in the subtracted share.
        gained: Number of trials that are hits only in the other share.
        of: Number of trials.

    >>> low, high = paired_difference(4, 26, 48)
    >>> round(low, 4), round(high, 4)
    (0.2548, 0.6252)
    """
    fewer, more = (lost + 1) / (of + 2), (gained + 1) / (of + 2)
    return _limited(more - fewer, Z * sqrt((fewer + more - (more - fewer) ** 2) / (of + 2)))


def _limited(centre: float, half: float) -> Interval:
    return Interval(max(-1.0, centre - half), min(1.0, centre + half))
