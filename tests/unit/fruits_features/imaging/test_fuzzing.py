"""Mutated images of each format: no crash, no endless loop, and every outcome is features or a rejection."""

import random
import struct
import time
from collections.abc import Callable

import numpy as np
import pytest

from fruits_features.contract.rejections import Reason, Rejected, Stage
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures
from fruits_features.extraction.subprocess_pool import Failure, SubprocessPool
from fruits_features.imaging.formats.header import MalformedHeaderError, UnsupportedFormatError
from fruits_features.imaging.headers import read_header
from fruits_features.imaging.limits import opencv_environment
from tests.support.pictures import stored

MUTANTS = 300
"""Mutated files per original. All of them take some seconds."""
MAX_PIXELS = 10_000
DEADLINE_S = 10.0
BUDGET_S = 120.0
"""Longest time of one format, for all mutants together."""
STORED = stored()
FORMATS = sorted({name.partition(",")[0] for name in STORED})
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Values at the edges of 8, 16 and 32 bits, for sizes, counts and positions."""


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def write_extreme(data: bytearray, rng: random.Random) -> None:
    """Overwrite a number, mostly in the first bytes, where headers are."""
    value = rng.choice(EXTREMES)
    stored_value = struct.pack(rng.choice("<>") + ("B" if value < 0x100 else "H" if value < 0x10000 else "I"), value)
    end = min(len(data), rng.choice((64, 256, len(data))))
    start = rng.randrange(end)
    data[start : start + len(stored_value)] = stored_value


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def remove_block(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 64)]


def repeat_block(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    block = data[start : start + rng.randint(1, 64)]
    data[start:start] = block * rng.randint(1, 50)


def insert_noise(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.randint(1, 64))


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip_bits,
    write_extreme,
    write_extreme,
    cut,
    remove_block,
    repeat_block,
    insert_noise,
)


def mutants(image_format: str) -> dict[str, bytes]:
    """Return mutated files by name. The name is the seed, so that a failure can be repeated."""
    mutated = {}
    for original in (name for name in STORED if name.partition(",")[0] == image_format):
        for number in range(MUTANTS):
            name = f"{original} #{number}"
            rng = random.Random(name)  # noqa: S311 - mutations need a seed, and no secrecy
            data = bytearray(STORED[original].data)
            for _ in range(rng.randint(1, 3)):
                if data:
                    rng.choice(MUTATIONS)(data, rng)
            mutated[name] = bytes(data)
    return mutated


@pytest.mark.parametrize("image_format", FORMATS)
def test_header_of_mutated_image_is_read_or_malformed(image_format: str) -> None:
    started = time.process_time()

    for data in mutants(image_format).values():
        try:
            header = read_header(data)
        except (MalformedHeaderError, UnsupportedFormatError):
            continue
        assert header is None or min(header.width, header.height, header.tile_pixels, header.scans) >= 0

    assert time.process_time() - started < BUDGET_S


@pytest.mark.parametrize("image_format", FORMATS)
def test_extraction_of_mutated_image_gives_features_or_a_rejection(image_format: str) -> None:
    files = mutants(image_format)
    extractor = ImageExtractor(("orb", "color", "texture", "contrast"), MAX_PIXELS, keep_pixels=True)

    with SubprocessPool(extractor.extract, DEADLINE_S, opencv_environment(MAX_PIXELS)) as pool:
        outcomes = dict(zip(files, pool.map(files.values(), files), strict=True))

    assert {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Failure)} == {}
    extracted = [outcome for outcome in outcomes.values() if isinstance(outcome, ImageFeatures)]
    rejected = [outcome for outcome in outcomes.values() if isinstance(outcome, Rejected)]
    assert len(extracted) + len(rejected) == len(files)
    assert extracted  # some mutants are still images, and some are not
    assert rejected
    for image in extracted:
        assert image.pixels is not None
        assert image.pixels.shape == (image.height, image.width, 3)
        assert image.height * image.width <= MAX_PIXELS
        assert np.isfinite(image.features).all()
    for rejection in rejected:
        assert (rejection.stage, rejection.detail[-1:]) == (Stage.DECODE, ".")
        assert rejection.reason in {
            Reason.EMPTY,
            Reason.NOT_AN_IMAGE,
            Reason.TRUNCATED,
            Reason.TOO_MANY_PIXELS,
            Reason.TOO_MANY_SCANS,
            Reason.UNSUPPORTED_FORMAT,
            Reason.UNDECODABLE,
        }
