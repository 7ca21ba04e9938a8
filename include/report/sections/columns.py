"""Meanings of the columns of `features`, in words and as a colour for columns that count a colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from fruits_features.extraction.families import color, contrast, pixels, texture

if TYPE_CHECKING:
    from collections.abc import Mapping

_GREY = 128  # red and blue difference of grey


class Column(NamedTuple):
    """One column.

    Args:
        family: Family of the column.
        words: Meaning of the column.
        colour: Colour that the column counts, as `#rrggbb`, or an empty string.
    """

    family: str
    words: str
    colour: str = ""


def column_at(sizes: Mapping[str, int], index: int) -> Column:
    """Return the column at an index of `features`.

    Args:
        sizes: Number of columns of each family, in the order of the families.
        index: Index of the column, from 0.

    Raises:
        IndexError: `features` has fewer columns.

    >>> column_at({"orb": 256, "texture": 30}, 256)
    Column(family='texture', words='luma: light spots or flat', colour='')
    """
    offset = index
    for name, size in sizes.items():
        if offset < size:
            return Column(name, *_MEANINGS[name](offset))
        offset -= size
    raise IndexError(f"Column {index} is out of range: there are {sum(sizes.values())} columns.")


def _orb(index: int) -> tuple[str]:
    return (f"descriptor bit {index}",)


def _color(index: int) -> tuple[str, str]:
    """Return the centre of a bin in words and as a colour."""
    low, high = np.array(color.RANGES, float).T
    centre = np.array(np.unravel_index(index, color.BINS)) + 0.5
    luma, red, blue = low + centre * (high - low) / np.array(color.BINS)
    pixel = cv2.cvtColor(np.array([[[luma, red, blue]]], np.uint8), cv2.COLOR_YCrCb2RGB)
    words = f"luma {luma:.0f}, red {red - _GREY:+.0f}, blue {blue - _GREY:+.0f}"
    return words.replace("-", "\N{MINUS SIGN}"), f"#{pixel.tobytes().hex()}"


def _texture(index: int) -> tuple[str]:
    channel, pattern = divmod(index, texture.PATTERNS)
    light, dark = (("light", "dark"), ("red", "green"), ("blue", "yellow"))[channel]
    names = {
        0: f"{light} spots or flat",
        texture.PATTERNS // 2 - 1: "edges",
        texture.PATTERNS - 2: f"{dark} spots",
        texture.PATTERNS - 1: "no uniform pattern",
    }
    words = names.get(pattern, f"{pattern} of 8 neighbours larger")
    return (f"{texture.CHANNELS[channel]}: {words}",)


def _contrast(index: int) -> tuple[str]:
    """Return the centre of a bin."""
    bins = np.unravel_index(index, [contrast.BINS] * len(contrast.WIDTHS))
    luma, red, blue = (np.array(bins) - contrast.BINS // 2) * contrast.WIDTHS
    words = f"luma {luma:+d}, red {red:+d}, blue {blue:+d} beside its surroundings"
    return (words.replace("-", "\N{MINUS SIGN}"),)


def _pixels(index: int) -> tuple[str]:
    row, column, channel = np.unravel_index(index, (pixels.SIDE, pixels.SIDE, 3))
    return (f"row {row + 1}, column {column + 1}, {('red', 'green', 'blue')[int(channel)]}",)


def _onnx(index: int) -> tuple[str]:
    return (f"value {index} of the model's",)


_MEANINGS = {"orb": _orb, "color": _color, "texture": _texture, "contrast": _contrast, "pixels": _pixels, "onnx": _onnx}
