"""Interactive charts as Bokeh's JSON: the plane of the components, and the curve of explained variance.

The page's script sets the colours of text and lines, since they depend on the reader's light or dark mode.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from bokeh.embed import json_item
from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    HoverTool,
    Line,
    NumeralTickFormatter,
    PanTool,
    Range1d,
    ResetTool,
    Scatter,
    Segment,
    TapTool,
    VBar,
    WheelZoomTool,
    ZoomInTool,
    ZoomOutTool,
)
from bokeh.models.renderers import GlyphRenderer
from bokeh.palettes import Category10, Category20, Turbo256
from bokeh.plotting import figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bokeh.embed.standalone import StandaloneEmbedJson
    from bokeh.models import Tool
    from bokeh.models.glyph import Glyph

SELECTION_COLOURS = Category10[10]
_TIP = "font: 13px system-ui, sans-serif; max-width: 240px; overflow-wrap: anywhere"
_POINT_TIP = f"""
<div style="display: flex; gap: 10px; align-items: center; {_TIP}"><img src="@picture{{safe}}" alt="" width="64">
<div><strong>@category</strong><br>@file</div></div>"""
_CURVE_TIP = (
    f'<div style="{_TIP}">@count components explain @together{{0.0 %}}<br>the last of them @share{{0.0 %}}</div>'
)
_BIN_TIP = (
    f'<div style="{_TIP}">probability @confidence{{0 %}}: @accuracy{{0.0 %}} recognised'
    "<br>(@low{0.0 %} to @high{0.0 %})<br>@images{0,0} images</div>"
)

_LEFT = 84
"""Space for the vertical axis in pixels, so that the axes of two charts are aligned."""


def plane(sample: Mapping[str, Any], colours: Mapping[str, str]) -> StandaloneEmbedJson:
    """Return the chart of the plane. The page's script fills the source `picked` and the column `picture`.

    Args:
        sample: Result of `include.report.sections.plane.sample`.
        colours: Colours by category.
    """
    data = {
        "x": sample["x"],
        "y": sample["y"],
        "category": sample["category"],
        "file": [path.rpartition("/")[2] for path in sample["path"]],
        "colour": [colours[category] for category in sample["category"]],
        "picture": [""] * len(sample["x"]),
    }
    glyph = partial(Scatter, x="x", y="y", size=6, fill_color="colour", line_color=None)
    points = _draw("points", data, glyph(fill_alpha=0.65))
    picked = _draw("picked", {name: [] for name in data}, glyph(fill_alpha=0.95))
    hover = HoverTool(tooltips=_POINT_TIP, renderers=[points], limit=1, point_policy="snap_to_data", name="hover")
    chart = figure(
        name="plane",
        sizing_mode="stretch_both",
        min_height=320,
        tools=[*_tools(), TapTool(renderers=[points]), hover],
        toolbar_location="above",
        x_axis_label="first component",
        y_axis_label="second component",
    )
    chart.toolbar.logo = None
    chart.renderers += [points, picked]
    return _transparent(chart)


def _transparent(chart: figure) -> StandaloneEmbedJson:
    """Return the chart without background and border, so that the page's background is visible."""
    chart.background_fill_color = chart.border_fill_color = chart.outline_line_color = None
    return json_item(chart)


def _tools() -> list[Tool]:
    return [PanTool(), BoxZoomTool(), WheelZoomTool(), ZoomInTool(), ZoomOutTool(), ResetTool()]


def _draw(name: str, data: Mapping[str, Sequence[Any]], glyph: Glyph) -> GlyphRenderer[Glyph]:
    """Return a renderer of data. Points that are not selected look like selected ones."""
    return GlyphRenderer(
        name=f"{name}_drawn", data_source=ColumnDataSource(dict(data), name=name), glyph=glyph, nonselection_glyph=None
    )


def variance(shares: Sequence[float]) -> StandaloneEmbedJson:
    """Return the chart of the cumulative explained variance by number of components."""
    data = {"count": range(1, len(shares) + 1), "together": [*accumulate(shares)], "share": shares}
    data = {name: [*values] for name, values in data.items()}
    bars = _draw("bars", data, VBar(x="count", top="share", width=0.8, line_color=None))
    curve = _draw("curve", data, Line(x="count", y="together", line_width=2.5))
    chart = figure(
        name="variance",
        sizing_mode="stretch_width",
        height=280,
        tools=[HoverTool(tooltips=_CURVE_TIP, renderers=[curve], mode="vline")],
        toolbar_location=None,
        x_axis_label="components",
        x_range=Range1d(start=0, end=len(shares) + 1),
        y_range=Range1d(start=0, end=1.02),
    )
    chart.yaxis.formatter = NumeralTickFormatter(format="0 %")
    chart.renderers += [bars, curve]
    return _transparent(chart)


def calibration(bins: Sequence[Mapping[str, float]]) -> StandaloneEmbedJson:
    """Return the reliability diagram: accuracy by confidence, with the diagonal of a perfect calibration.

    Args:
        bins: Bins with `confidence`, `accuracy`, the limits `low` and `high` of its interval, and `images`.
    """
    data = {name: [one[name] for one in bins] for name in ("confidence", "accuracy", "low", "high", "images")}
    perfect = _draw("perfect", {"x": [0, 1], "y": [0, 1]}, Line(x="x", y="y", line_dash="dashed"))
    segments = Segment(x0="confidence", x1="confidence", y0="low", y1="high", line_width=2)
    limits = _draw("limits", data, segments)
    points = _draw("bins", data, Scatter(x="confidence", y="accuracy", size=9, line_color=None))
    chart = figure(
        name="calibration",
        sizing_mode="stretch_width",
        height=320,
        tools=[HoverTool(tooltips=_BIN_TIP, renderers=[points])],
        toolbar_location=None,
        min_border_left=_LEFT,
        y_axis_label="recognised",
        x_range=Range1d(start=0, end=1.02),
        y_range=Range1d(start=0, end=1.02),
    )
    chart.xaxis.formatter = chart.yaxis.formatter = NumeralTickFormatter(format="0 %")
    chart.renderers += [perfect, limits, points]
    return _transparent(chart)


def confidences(bins: Sequence[Mapping[str, float]]) -> StandaloneEmbedJson:
    """Return the chart of the number of images by confidence.

    Args:
        bins: Bins with `confidence` and `images`.
    """
    data = {name: [one[name] for one in bins] for name in ("confidence", "images")}
    bars = _draw("bars", data, VBar(x="confidence", top="images", width=0.04, line_color=None))
    chart = figure(
        name="confidences",
        sizing_mode="stretch_width",
        height=160,
        tools=[],
        toolbar_location=None,
        min_border_left=_LEFT,
        x_axis_label="probability",
        y_axis_label="images",
        x_range=Range1d(start=0, end=1.02),
        y_range=Range1d(start=0, end=1.05 * max(data["images"], default=1)),
    )
    chart.xaxis.formatter = NumeralTickFormatter(format="0 %")
    chart.yaxis.formatter = NumeralTickFormatter(format="0a")
    chart.renderers.append(bars)
    return _transparent(chart)


def colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each category. With many categories, neighbours in the alphabet have similar colours.

    >>> colours(["Apple", "Lime"])
    {'Apple': '#1f77b4', 'Lime': '#ff7f0e'}
    """
    few = Category10[10] if len(names) <= 10 else Category20[20]  # noqa: PLR2004 - sizes of the palettes
    if len(names) <= len(few):
        return dict(zip(names, few, strict=False))
    bright = Turbo256[24:232]  # both ends are too dark for a dark page
    return {name: bright[place * (len(bright) - 1) // (len(names) - 1)] for place, name in enumerate(names)}
