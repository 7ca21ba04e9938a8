"""Decoding of a JPEG at a smaller scale."""

import struct

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.photographs import photograph
from fruits_features.contract.rejections import Reason, Rejected
from fruits_features.imaging.decode import decode
from fruits_features.imaging.formats.header import Header
from fruits_features.imaging.scaled_jpeg import Detail
from tests.support import pictures

MAX_PIXELS = 10**6


def pixels_of(data: bytes, detail: Detail | None = None) -> NDArray[np.uint8]:
    pixels = decode(data, MAX_PIXELS, detail)
    assert isinstance(pixels, np.ndarray)
    return pixels


def scaled_by_area(pixels: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the image, repeated at its edges to a multiple of the size, scaled by area to a size."""
    factor = -(-pixels.shape[0] // shape[0])
    padding = [(0, factor * small - large) for large, small in zip(pixels.shape[:2], shape[:2], strict=True)]
    padded = np.pad(pixels, [*padding, (0, 0)], mode="edge")
    return padded.reshape(shape[0], factor, shape[1], factor, 3).mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("size", "detail", "divisor"),
    [
        ((1600, 900), Detail(200), 8),
        ((900, 1600), Detail(200), 8),
        ((1599, 900), Detail(200), 4),
        ((400, 20), Detail(200), 2),
        ((399, 399), Detail(200), 1),
        ((100, 100), Detail(200), 1),
        ((8000, 895), Detail(448, shorter=448), 1),
        ((8000, 896), Detail(448, shorter=448), 2),
        ((896, 8000), Detail(448, shorter=448), 2),
    ],
)
def test_divisor_is_the_largest_that_leaves_the_detail(size: tuple[int, int], detail: Detail, divisor: int) -> None:
    assert detail.divisor(Header("jpeg", *size, complete=True)) == divisor
    assert detail.divisor(Header("png", *size, complete=True)) == 1


@pytest.mark.parametrize("divisor", [2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_reduced_jpeg_is_the_complete_one_scaled_by_area(
    divisor: int, mode: str, *, progressive: bool, subsampling: int
) -> None:
    image = Image.fromarray(pixels_of(photograph(403, 301, 1))).convert(mode)
    data = pictures.save(image, "JPEG", progressive=progressive, subsampling=subsampling, quality=92)

    small = pixels_of(data, Detail(400 // divisor))

    assert small.shape == (-(-301 // divisor), -(-403 // divisor), 3)
    assert small.flags.c_contiguous
    difference = np.abs(small - scaled_by_area(pixels_of(data), small.shape))
    assert difference.mean() < 3
    assert difference[:-1, :-1].max() < 40  # at edges of colour, of which a JPEG stores half the resolution


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_jpeg_is_upright(orientation: int) -> None:
    large = pictures.picture().resize((480, 320), resample=Image.Resampling.NEAREST)

    small = pixels_of(pictures.turned("JPEG", orientation, large), Detail(60))

    assert small.shape == (40, 60, 3)
    quarters = [small[y, x] for y in (10, 30) for x in (15, 45)]
    np.testing.assert_allclose(quarters, pictures.SEEN["colour"], atol=8)


def lossless_jpeg(width: int, height: int) -> bytes:
    """Return a lossless JPEG of one grey, for which libjpeg-turbo ignores the scale."""

    def segment(marker: int, payload: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload

    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    only_zeros = bytes([0, 1, *[0] * 15, 0])
    scan = bytes([3, 1, 0, 2, 0, 3, 0, 1, 0, 0])
    differences = bytes(width * height * 3 // 8 + 1)
    return (
        b"\xff\xd8" + segment(0xC3, frame) + segment(0xC4, only_zeros) + segment(0xDA, scan) + differences + b"\xff\xd9"
    )


def test_lossless_jpeg_is_decoded_completely() -> None:
    pixels = pixels_of(lossless_jpeg(400, 300), Detail(50))

    assert pixels.shape == (300, 400, 3)
    assert (pixels == 128).all()


@pytest.mark.parametrize("shape", [(38, 50), (51, 38), (151, 202)])
def test_reduced_jpeg_of_another_size_than_its_header_states_is_rejected(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photograph(403, 301, 1)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((*shape, 3), np.uint8))

    outcome = decode(data, MAX_PIXELS, Detail(50))

    assert isinstance(outcome, Rejected)
    assert outcome.detail == f"The header states 403 x 301 pixels, but the decoder returned {shape[1]} x {shape[0]}."


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_truncated_jpeg_is_rejected_at_a_smaller_scale_too(share: float) -> None:
    data = photograph(403, 301, 1)

    outcome = decode(data[: int(len(data) * share)], MAX_PIXELS, Detail(50))

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.TRUNCATED
