"""What a column of `features` tells, in words and, where it counts a colour, as that colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from fruits_features.extraction.families import color, contrast, pixels, texture

if TYPE_CHECKING:
    from collections.abc import Mapping

_GREY = 128  # red and blue difference of what has no colour


class Column(NamedTuple):
    """One column.

    Args:
        family: what it belongs to.
        words: what it tells.
        colour: what it counts, as `#rrggbb`; empty for what is no colour.
    """

    family: str
    words: str
    colour: str = ""


def describe(sizes: Mapping[str, int], index: int) -> Column:
    """Describe a column by its place in `features`.

    Args:
        sizes: how many columns each family has, in the order of the families.
        index: of the column.

    >>> describe({"orb": 256, "texture": 30}, 256)
    Column(family='texture', words='luma: light spots or flat', colour='')
    """
    for name, size in sizes.items():
        if index < size:
            return Column(name, *_DESCRIBE[name](index))
        index -= size
    raise IndexError(f"There are {sum(sizes.values())} columns, and none {index} beyond them; give a smaller one.")


def _orb(index: int) -> tuple[str]:
    return (f"descriptor bit {index}",)


def _color(index: int) -> tuple[str, str]:
    """Tell the middle of a bin."""
    low, high = np.array(color.RANGES, float).T
    place = np.array(np.unravel_index(index, color.BINS)) + 0.5
    luma, red, blue = low + place * (high - low) / np.array(color.BINS)
    pixel = cv2.cvtColor(np.array([[[luma, red, blue]]], np.uint8), cv2.COLOR_YCrCb2RGB)
    words = f"luma {luma:.0f}, red {red - _GREY:+.0f}, blue {blue - _GREY:+.0f}"
    return words.replace("-", "\N{MINUS SIGN}"), f"#{pixel.tobytes().hex()}"


def _texture(index: int) -> tuple[str]:
    channel, pattern = divmod(index, texture.PATTERNS)
    light, dark = (("light", "dark"), ("red", "green"), ("blue", "yellow"))[channel]
    named = {
        0: f"{light} spots or flat",
        texture.PATTERNS // 2 - 1: "edges",
        texture.PATTERNS - 2: f"{dark} spots",
        texture.PATTERNS - 1: "no uniform pattern",
    }
    words = named.get(pattern, f"{pattern} of 8 neighbours larger")
    return (f"{texture.CHANNELS[channel]}: {words}",)


def _contrast(index: int) -> tuple[str]:
    """Tell the middle of a bin."""
    places = np.unravel_index(index, [contrast.BINS] * len(contrast.WIDTHS))
    luma, red, blue = (np.array(places) - contrast.BINS // 2) * contrast.WIDTHS
    words = f"luma {luma:+d}, red {red:+d}, blue {blue:+d} beside its surroundings"
    return (words.replace("-", "\N{MINUS SIGN}"),)


def _pixels(index: int) -> tuple[str]:
    row, column, channel = np.unravel_index(index, (pixels.SIDE, pixels.SIDE, 3))
    return (f"row {row + 1}, column {column + 1}, {('red', 'green', 'blue')[int(channel)]}",)


def _onnx(index: int) -> tuple[str]:
    return (f"value {index} of the model's",)


_DESCRIBE = {"orb": _orb, "color": _color, "texture": _texture, "contrast": _contrast, "pixels": _pixels, "onnx": _onnx}
