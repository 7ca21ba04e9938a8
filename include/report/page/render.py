"""Render figures as one self-contained HTML page.

Names of files and categories are untrusted input from the bucket. Jinja2 escapes them. The page's Content Security
Policy forbids all requests and allows only the scripts of this package.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bokeh.util.paths import bokehjs_path
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fruits_features.contract.layout import RunLayout
from include.report.page import charts, formats
from include.report.sections import plane

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CATEGORY_PICTURES = 300


def render(figures: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Return the page as HTML.

    Args:
        figures: Figures as in `figures.json`.
        pictures: `data:` URIs by path of the image.
    """
    folder = Path(__file__).parent
    scripts = [(Path(bokehjs_path()) / "js" / "bokeh.min.js").read_text(), (folder / "page.js").read_text()]
    colours = charts.colours([category["category"] for category in figures["categories"]])
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            figures=figures,
            figures_uri=RunLayout(figures["uri"]).report_figures,
            pictures=pictures,
            colours=colours,
            centres=plane.centres(figures["plane"]),
            style=Markup((folder / "page.css").read_text()),  # noqa: S704 - a file of this package
            scripts=[Markup(script) for script in scripts],  # noqa: S704 - files of this package and of Bokeh
            script_sources=" ".join(map(_source, scripts)),
            charts={
                "plane": charts.plane(figures["plane"], colours),
                "variance": charts.variance(figures["variance"]["shares"]),
                "colours": charts.SELECTION_COLOURS,
                **_calibration(figures["recogniser"] or {}),
            },
        )
    )


def _calibration(recogniser: Mapping[str, Any]) -> dict[str, Any]:
    """Return the charts of the calibration, if there is one."""
    found = recogniser.get("calibration")
    if not found:
        return {}
    return {"calibration": charts.calibration(found["bins"]), "confidences": charts.confidences(found["bins"])}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("include.report.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # Bokeh's JSON refers to earlier entries
    environment.filters |= formats.FILTERS
    return environment


def _source(script: str) -> str:
    """Return the source expression of a script for the Content Security Policy, which is its hash."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
