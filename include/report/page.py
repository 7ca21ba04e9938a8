"""Figures to a page: one HTML file with everything in it.

Names of files and categories come from the bucket and are anybody's: Jinja2 escapes them, and the page's own security
policy lets it load nothing and run only the scripts that it was written with.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bokeh.util.paths import bokehjs_path
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fruits_features.contract.layout import RunLayout
from include.report import charts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_CATEGORY_PICTURES = 300
_MINUTE_S = 60
_CENT = 0.01
_KILO = 1024
_THIN = "\N{NARROW NO-BREAK SPACE}"
_NOTHING = "\N{EN DASH}"


def render(figures: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Write the page.

    Args:
        figures: as `figures.json` has them.
        pictures: `data:` URIs by the images' paths.
    """
    folder = Path(__file__).parent
    scripts = [(Path(bokehjs_path()) / "js" / "bokeh.min.js").read_text(), (folder / "page.js").read_text()]
    colours = charts.colours([one["category"] for one in figures["categories"]])
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            figures=figures,
            figures_uri=RunLayout(figures["uri"]).report_figures,
            pictures=pictures,
            colours=colours,
            style=Markup((folder / "page.css").read_text()),  # noqa: S704 - ours
            scripts=[Markup(script) for script in scripts],  # noqa: S704 - ours and Bokeh's
            script_sources=" ".join(map(_source, scripts)),
            charts={
                "plane": charts.plane(figures["plane"], colours),
                "variance": charts.variance(figures["variance"]["shares"]),
                "colours": charts.PICKED_COLOURS,
            },
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("include.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # Bokeh refers to what came before
    environment.filters |= {
        "number": number,
        "percent": percent,
        "size": size,
        "duration": duration,
        "dollars": dollars,
        "moment": moment,
    }
    environment.filters |= {"figure": figure, "signed": signed}
    return environment


def _source(script: str) -> str:
    """Name a script in the security policy, by its hash."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


def number(value: float | None) -> str:
    r"""Write a whole number in groups of three digits.

    >>> number(90380).replace("\u202f", " ")
    '90 380'
    """
    return _NOTHING if value is None else f"{value:,.0f}".replace(",", _THIN)


def percent(share: float | None, digits: int = 1) -> str:
    r"""Write a share; what is not quite nothing or all does not look like it.

    >>> [percent(share).replace("\u202f", " ") for share in (0.9549, 0.00001, 0.99999, 1)]
    ['95.5 %', '< 0.1 %', '> 99.9 %', '100.0 %']
    """
    if share is None:
        return _NOTHING
    least = 10**-digits
    if 0 < share * 100 < least:
        return f"< {least:g}{_THIN}%"
    if 100 - least < share * 100 < 100:  # noqa: PLR2004 - per cent
        return f"> {100 - least:g}{_THIN}%"
    return f"{share * 100:.{digits}f}{_THIN}%"


def signed(value: float) -> str:
    r"""Write a number with its sign, a real minus.

    >>> signed(0.281), signed(-0.2) == "\N{MINUS SIGN}0.20"
    ('+0.28', True)
    """
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def size(count: float) -> str:
    r"""Write a number of bytes.

    >>> size(8).replace("\u202f", " "), size(5.3 * 2**20).replace("\u202f", " ")
    ('8 B', '5.3 MB')
    """
    units = iter(("B", "KB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= _KILO and unit != "TB":
        count, unit = count / _KILO, next(units)
    return f"{count:.0f}{_THIN}{unit}" if unit == "B" else f"{count:.1f}{_THIN}{unit}"


def duration(seconds: float | None) -> str:
    r"""Write a duration.

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
    """Write an amount of money; a little of it does not look like nothing.

    >>> dollars(0.5), dollars(0.002), dollars(0)
    ('$0.50', '< $0.01', '$0.00')
    """
    if amount is None:
        return _NOTHING
    return "< $0.01" if 0 < amount < _CENT else f"${amount:,.2f}"


def moment(text: str) -> str:
    """Write a moment in ISO 8601 as people read it.

    >>> moment("2026-11-22T09:04:05.678+01:00")
    '2026-11-22 08:04 UTC'
    """
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def figure(value: float | None, name: str) -> str:
    """Write one of the figures that are compared between runs, by its name."""
    kinds: dict[str, Callable[[float | None], str]] = {
        "explained": percent,
        "accuracy": percent,
        "seconds": duration,
        "dollars": dollars,
    }
    return kinds.get(name, number)(value)
