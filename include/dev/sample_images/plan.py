"""What to draw: which categories, and how many images of each in which split.

The counts are those of Fruits-360, version 2020.05.18 (131 categories, 67,692 images in `Training`, 22,688 in `Test`).
Says nothing about how an image looks: that is `looks` and `drawing`.
"""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TRAINING, TEST = "Training", "Test"
FRAMES_A_FILM = 328
"""Fruits-360 films each fruit while it turns once; its longest films have 328 frames."""
PROTOTYPE_CATEGORIES = ("Avocado", "Avocado ripe", "Banana", "Banana Lady Finger", "Banana Red")
PROTOTYPE_IMAGES = 644


class PlanError(ValueError):
    """What was asked for cannot be drawn; the message says why and what can."""


@dataclass(frozen=True)
class Image:
    """One image to draw.

    Attributes:
        split: `Training` or `Test`.
        category: The fruit, which is also the name of the folder.
        frame: 0-based number over all the films of the category; decides what the image looks like.
    """

    split: str
    category: str
    frame: int

    @property
    def path(self) -> str:
        """Path inside the folder, named as in Fruits-360: films after the first are `r_…`, `r2_…`, and so on.

        >>> Image("Test", "Fig", 3).path, Image("Training", "Fig", 330).path
        ('Test/Fig/3_100.jpg', 'Training/Fig/r_2_100.jpg')
        """
        film, number = divmod(self.frame, FRAMES_A_FILM)
        prefix = ("", "r_")[film] if film <= 1 else f"r{film}_"
        return f"{self.split}/{self.category}/{prefix}{number}_100.jpg"


@cache
def fruits_360() -> Mapping[str, Mapping[str, int]]:
    """Images a category and split, in Fruits-360's order."""
    text = resources.files(__package__).joinpath("categories.csv").read_text(encoding="utf-8")
    return {
        row["category"]: {TRAINING: int(row["training"]), TEST: int(row["test"])}
        for row in csv.DictReader(text.splitlines())
    }


def make_plan(categories: Sequence[str], images: int | None = None) -> list[Image]:
    """Choose the images to draw.

    A smaller plan spreads its frames over the whole turn and is a subset of the full plan: the same path always means
    the same frame.

    Args:
        categories: Names of Fruits-360.
        images: How many in all, spread in proportion to Fruits-360's counts; all of them when None.

    Raises:
        PlanError: On an unknown category, or more images than these categories have.
    """
    counts = _counts(categories)
    available = sum(counts.values())
    wanted = available if images is None else images
    if not 1 <= wanted <= available:
        raise PlanError(f"{wanted:,} images were asked for; the chosen categories have 1 to {available:,}")
    shares = _apportion(counts, wanted)
    return [
        Image(split, category, frame)
        for (category, split), share in shares.items()
        for frame in _spread(_frames(category, split), share)
    ]


def _counts(categories: Sequence[str]) -> dict[tuple[str, str], int]:
    known = fruits_360()
    for name in categories:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else "its names are those of categories.csv"
            raise PlanError(f"there is no category {name!r} in Fruits-360; {hint}")
    return {(name, split): known[name][split] for name in dict.fromkeys(categories) for split in (TRAINING, TEST)}


def _apportion(counts: Mapping[tuple[str, str], int], total: int) -> dict[tuple[str, str], int]:
    """Split `total` in proportion to `counts`, exactly, by largest remainders."""
    available = sum(counts.values())
    shares = {key: count * total // available for key, count in counts.items()}
    by_remainder = sorted(counts, key=lambda key: -(counts[key] * total % available))
    for key in by_remainder[: total - sum(shares.values())]:
        shares[key] += 1
    return shares


def _frames(category: str, split: str) -> list[int]:
    """Frames of one category that belong to a split: about every fourth is `Test`, spread evenly."""
    counts = fruits_360()[category]
    total, test = counts[TRAINING] + counts[TEST], counts[TEST]
    return [frame for frame in range(total) if ((frame + 1) * test // total > frame * test // total) == (split == TEST)]


def _spread(frames: Sequence[int], count: int) -> list[int]:
    return [frames[i * len(frames) // count] for i in range(count)]
