"""Format figures as text. `FILTERS` are the filters of the page's template."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE_S = 60
_CENT = 0.01
_KILO = 1024
_THIN = "\N{NARROW NO-BREAK SPACE}"
_NOTHING = "\N{EN DASH}"


def number(value: float | None) -> str:
    r"""Format an integer in groups of three digits.

    >>> number(90380).replace("\u202f", " ")
    '90 380'
    """
    return _NOTHING if value is None else f"{value:,.0f}".replace(",", _THIN)


def percent(share: float | None, digits: int = 1) -> str:
    r"""Format a share as a percentage. A share between 0 and 1 never looks like 0 % or 100 %.

    >>> [percent(share).replace("\u202f", " ") for share in (0.9549, 0.00001, 0.99999, 1)]
    ['95.5 %', '< 0.1 %', '> 99.9 %', '100.0 %']
    """
    if share is None:
        return _NOTHING
    smallest = 10**-digits
    if 0 < share * 100 < smallest:
        return f"< {smallest:g}{_THIN}%"
    if 100 - smallest < share * 100 < 100:  # noqa: PLR2004 - per cent
        return f"> {100 - smallest:g}{_THIN}%"
    return f"{share * 100:.{digits}f}{_THIN}%"


def signed(value: float) -> str:
    r"""Format a number with its sign, as a typographic minus.

    >>> signed(0.281), signed(-0.2) == "\N{MINUS SIGN}0.20"
    ('+0.28', True)
    """
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def points(difference: float) -> str:
    r"""Format a difference of shares in percentage points.

    >>> points(-0.0123) == "\N{MINUS SIGN}1.2", points(0.1)
    (True, '+10.0')
    """
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def size(count: float) -> str:
    r"""Format a number of bytes.

    >>> size(8).replace("\u202f", " "), size(5.3 * 2**20).replace("\u202f", " ")
    ('8 B', '5.3 MB')
    """
    units = iter(("B", "KB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= _KILO and unit != "TB":
        count, unit = count / _KILO, next(units)
    return f"{count:.0f}{_THIN}{unit}" if unit == "B" else f"{count:.1f}{_THIN}{unit}"


def duration(seconds: float | None) -> str:
    r"""Format a duration in seconds.

    >>> duration(4.25).replace("\u202f", " "), duration(3725).replace("\u202f", " ")
    ('4.2 s', '1 h 02 min')
    """
    if seconds is None:
        return _NOTHING
    if seconds < _MINUTE_S:
        return f"{seconds:.1f}{_THIN}s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    hours, minutes = divmod(minutes, _MINUTE_S)
    return f"{hours}{_THIN}h {minutes:02}{_THIN}min" if hours else f"{minutes}{_THIN}min {rest:02}{_THIN}s"


def dollars(amount: float | None) -> str:
    """Format an amount in dollars. A positive amount never looks like zero.

    >>> dollars(0.5), dollars(0.002), dollars(0)
    ('$0.50', '< $0.01', '$0.00')
    """
    if amount is None:
        return _NOTHING
    return "< $0.01" if 0 < amount < _CENT else f"${amount:,.2f}"


def moment(text: str) -> str:
    """Format an ISO 8601 time for readers, in UTC.

    >>> moment("2026-11-22T09:04:05.678+01:00")
    '2026-11-22 08:04 UTC'
    """
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def figure(value: float | None, name: str) -> str:
    """Format a figure of the comparison between runs by its name."""
    formats: dict[str, Callable[[float | None], str]] = {
        "explained": percent,
        "recogniser": percent,
        "accuracy": percent,
        "seconds": duration,
        "dollars": dollars,
    }
    return formats.get(name, number)(value)


FILTERS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (number, percent, signed, points, size, duration, dollars, moment, figure)
}
"""Each function by its name."""
