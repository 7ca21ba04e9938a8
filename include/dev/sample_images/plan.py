"""Select the images to draw: categories, and the number of images per category and split.

The counts are those of Fruits-360, version 2020.05.18 (131 categories, 67,692 images in `Training`, 22,688 in `Test`).
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
FRAMES_PER_FILM = 328
"""Frames of the longest films of Fruits-360, in which a fruit turns once."""
PROTOTYPE_CATEGORIES = ("Avocado", "Avocado ripe", "Banana", "Banana Lady Finger", "Banana Red")
PROTOTYPE_IMAGES = 644


class PlanError(ValueError):
    """The requested images cannot be drawn. The message names the reason and the possible values."""


@dataclass(frozen=True)
class Image:
    """One image to draw.

    Attributes:
        split: `Training` or `Test`.
        category: Name of the category and of its folder.
        frame: Number of the frame over all films of the category, from 0. It determines the image.
    """

    split: str
    category: str
    frame: int

    @property
    def path(self) -> str:
        """Path inside the folder, named as in Fruits-360. Names of films after the first begin with `r_`, `r2_`, ….

        >>> Image("Test", "Fig", 3).path, Image("Training", "Fig", 330).path
        ('Test/Fig/3_100.jpg', 'Training/Fig/r_2_100.jpg')
        """
        film, number = divmod(self.frame, FRAMES_PER_FILM)
        prefix = ("", "r_")[film] if film <= 1 else f"r{film}_"
        return f"{self.split}/{self.category}/{prefix}{number}_100.jpg"


@cache
def fruits_360() -> Mapping[str, Mapping[str, int]]:
    """Return the number of images per category and split, in the order of Fruits-360."""
    text = resources.files(__package__).joinpath("categories.csv").read_text(encoding="utf-8")
    return {
        row["category"]: {TRAINING: int(row["training"]), TEST: int(row["test"])}
        for row in csv.DictReader(text.splitlines())
    }


def make_plan(categories: Sequence[str], images: int | None = None) -> list[Image]:
    """Return the images to draw.

    A smaller plan spreads its frames over the complete turn and is a subset of the complete plan. A path always has the
    same frame.

    Args:
        categories: Names of categories of Fruits-360.
        images: Total number of images, distributed in proportion to Fruits-360's counts. `None` selects all.

    Raises:
        PlanError: A category is unknown, or the categories have fewer images.
    """
    counts = _counts(categories)
    available = sum(counts.values())
    total = available if images is None else images
    if not 1 <= total <= available:
        raise PlanError(f"{total:,} images were requested; the selected categories have 1 to {available:,}")
    shares = _apportion(counts, total)
    return [
        Image(split, category, frame)
        for (category, split), share in shares.items()
        for frame in _spread(_frames(category, split), share)
    ]


def _counts(categories: Sequence[str]) -> dict[tuple[str, str], int]:
    known = fruits_360()
    for name in categories:
        if name not in known:
            similar = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(similar)}?" if similar else "categories.csv lists the names"
            raise PlanError(f"there is no category {name!r} in Fruits-360; {hint}")
    return {(name, split): known[name][split] for name in dict.fromkeys(categories) for split in (TRAINING, TEST)}


def _apportion(counts: Mapping[tuple[str, str], int], total: int) -> dict[tuple[str, str], int]:
    """Distribute `total` in proportion to `counts` by the largest remainder method."""
    available = sum(counts.values())
    shares = {key: count * total // available for key, count in counts.items()}
    by_remainder = sorted(counts, key=lambda key: -(counts[key] * total % available))
    for key in by_remainder[: total - sum(shares.values())]:
        shares[key] += 1
    return shares


def _frames(category: str, split: str) -> list[int]:
    """Return the frames of a category that belong to a split. About every fourth frame is `Test`."""
    counts = fruits_360()[category]
    total, test = counts[TRAINING] + counts[TEST], counts[TEST]
    return [frame for frame in range(total) if ((frame + 1) * test // total > frame * test // total) == (split == TEST)]


def _spread(frames: Sequence[int], count: int) -> list[int]:
    return [frames[i * len(frames) // count] for i in range(count)]
