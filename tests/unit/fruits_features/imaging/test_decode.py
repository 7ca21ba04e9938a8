"""Decoding: each format, and each reason of a rejection."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from fruits_features.contract.rejections import Reason, Rejected
from fruits_features.imaging.decode import decode
from fruits_features.imaging.headers import read_header
from tests.support import pictures
from tests.support.pictures import HEIGHT, SEEN, WIDTH

MAX_PIXELS = 10_000
STORED = pictures.stored()


@pytest.mark.parametrize("name", STORED)
def test_decode_of_each_format_returns_the_picture_as_rgb(name: str) -> None:
    stored = STORED[name]

    pixels = decode(stored.data, MAX_PIXELS)

    assert isinstance(pixels, np.ndarray)
    assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert pixels.flags.c_contiguous
    quarters = [pixels[y : y + 10, x : x + 20].reshape(-1, 3) for y in (5, 25) for x in (5, 35)]
    for quarter, colour in zip(quarters, stored.quarters, strict=True):
        np.testing.assert_allclose(quarter, np.broadcast_to(colour, quarter.shape), atol=stored.tolerance)


@pytest.mark.parametrize("name", STORED)
def test_header_of_each_format_contains_the_size(name: str) -> None:
    header = read_header(STORED[name].data)

    assert header is not None
    assert header.format == name.partition(",")[0]
    assert (header.width, header.height, header.complete) == (WIDTH, HEIGHT, True)


@pytest.mark.parametrize("name", STORED)
def test_decode_of_truncated_file_never_returns_half_a_picture(name: str) -> None:
    data = STORED[name].data
    picture = decode(data, MAX_PIXELS)
    cuts = {*np.linspace(0, len(data), 30, endpoint=False, dtype=int).tolist(), *range(len(data) - 8, len(data))}

    outcomes = {cut: decode(data[:cut], MAX_PIXELS) for cut in sorted(cuts)}

    reasons = {outcome.reason for outcome in outcomes.values() if isinstance(outcome, Rejected)}
    assert reasons <= {Reason.EMPTY, Reason.NOT_AN_IMAGE, Reason.TRUNCATED, Reason.UNDECODABLE}
    sound = {cut: pixels for cut, pixels in outcomes.items() if not isinstance(pixels, Rejected)}
    for pixels in sound.values():
        np.testing.assert_array_equal(pixels, picture)
    assert not sound or min(sound) >= FIRST_PICTURE_ENDS.get(name, len(data))


FIRST_PICTURE_ENDS = {
    "jpeg, bytes after its end": len(STORED["jpeg"].data),
    "tiff, several pages": len(STORED["tiff"].data),
    "tiff, fax": len(STORED["tiff, fax"].data) - 4,
}
"""Length from which a truncated file still decodes: only later pages or the end of the page list are missing."""


@pytest.mark.parametrize("ending", [b"", bytes(500), b"\xff\x00\xff"])
def test_decode_of_jpeg_cut_after_thumbnail_is_truncated(ending: bytes) -> None:
    jpeg = STORED["jpeg"].data
    embedded = b"\xff\xe2" + struct.pack(">H", len(jpeg) + 2) + jpeg  # its end marker is not the image's
    cut = jpeg[:2] + embedded + jpeg[2:-2] + ending

    outcome = decode(cut, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.TRUNCATED


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("JPEG", "colour"),
        *((kind, seen) for kind in ("PNG", "TIFF", "WEBP") for seen in ("colour", "half seen")),
    ],
)
def test_decode_applies_the_exif_orientation(kind: str, seen: str, orientation: int) -> None:
    image = pictures.picture() if seen == "colour" else pictures.half_seen()

    pixels = decode(pictures.turned(kind, orientation, image), MAX_PIXELS)

    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    quarters = [pixels[y, x] for y in (10, 30) for x in (15, 45)]
    np.testing.assert_allclose(quarters, SEEN[seen], atol=8)


@pytest.mark.parametrize("orientation", [0, 9])
def test_decode_ignores_unknown_orientation(orientation: int) -> None:
    upright = pictures.turned("PNG", 1, pictures.half_seen())
    exif = upright.index(b"eXIf") + 4
    (length,) = struct.unpack_from(">I", upright, exif - 8)
    block = upright[exif : exif + length].replace(
        struct.pack(">HHIH", 0x0112, 3, 1, 1), struct.pack(">HHIH", 0x0112, 3, 1, orientation)
    )
    odd = upright[:exif] + block + struct.pack(">I", zlib.crc32(b"eXIf" + block)) + upright[exif + length + 4 :]
    assert odd != upright

    np.testing.assert_array_equal(decode(odd, MAX_PIXELS), decode(upright, MAX_PIXELS))


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_decode_of_grey_picture_whose_transparency_opencv_drops_is_rejected(name: str) -> None:
    data = {
        "png": pictures.save(pictures.picture("L"), "PNG", transparency=117),
        "tiff": pictures.save(pictures.half_seen("LA"), "TIFF"),
    }[name]

    outcome = decode(data, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.UNDECODABLE
    assert outcome.detail == f"OpenCV does not return the transparency of a {name} image in uint8 grey."


def test_decode_of_tall_transparent_picture_blends_all_rows_with_white() -> None:
    image = pictures.half_seen().resize((6, 700), resample=pictures.Image.Resampling.NEAREST)

    pixels = decode(pictures.save(image, "PNG"), MAX_PIXELS)

    assert isinstance(pixels, np.ndarray)
    for half, row in zip((slice(0, 350), slice(350, 700)), (pixels[0], pixels[-1]), strict=True):
        np.testing.assert_array_equal(pixels[half], np.broadcast_to(row, (350, 6, 3)))
    np.testing.assert_allclose(pixels[-1, 0], pictures.HALF_BLUE, atol=2)


@pytest.mark.parametrize("name", STORED)
def test_decode_rejects_too_many_pixels_before_decoding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    monkeypatch.setattr(cv2, "imdecodeWithMetadata", None)

    outcome = decode(STORED[name].data, max_pixels=HEIGHT * WIDTH - 1)

    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.detail) == (
        Reason.TOO_MANY_PIXELS,
        "The image has 60 x 40 pixels; the limit is 2399.",
    )


def test_decode_rejects_huge_tile_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    tags = {256: 1, 257: 1, 258: [8], 259: [1], 262: [1], 277: [1], 322: 16_000, 323: 16_000, 324: 8, 325: 100}

    outcome = decode(pictures.tiff(bytes(100), tags), MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.detail) == (
        Reason.TOO_MANY_PIXELS,
        "The image has 1 x 1 pixels in tiles of 256000000 pixels; the limit is 10000.",
    )


def test_decode_of_tiff_with_two_sizes_uses_the_first_like_libtiff(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    small = pictures.tiff(bytes(100), {256: 30_000, 257: 1, 258: [8], 262: [1], 273: 8, 279: 100})
    twice = small.replace(struct.pack("<HHII", 258, 3, 1, 8), struct.pack("<HHII", 256, 4, 1, 1))
    assert twice != small

    outcome = decode(twice, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("side", [10, 10_000])
def test_decode_of_gif_with_frame_outside_the_screen_is_rejected(side: int) -> None:
    gif = STORED["gif"].data
    frame = gif.index(b"\x2c" + bytes(4) + struct.pack("<HH", WIDTH, HEIGHT))
    screen = struct.pack("<HH", 10, 10)
    huge = gif[:6] + screen + gif[10 : frame + 5] + struct.pack("<HH", side * 6, side) + gif[frame + 9 :]

    outcome = decode(huge, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.UNDECODABLE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"<html>no image</html>", Reason.NOT_AN_IMAGE),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", Reason.NOT_AN_IMAGE),
        (b"\xff\xd8\xff", Reason.TRUNCATED),
        (b"\xff\xd8\xff\xd9", Reason.UNDECODABLE),
        (b"\x89PNG\r\n\x1a\n", Reason.UNDECODABLE),
        (b"BM", Reason.UNDECODABLE),
        (b"GIF89a\x05\x00\x05\x00" + bytes(30), Reason.UNDECODABLE),
        (b"II*\x00\x08\x00\x00\x00\xff\xff" + bytes(30), Reason.UNDECODABLE),
    ],
)
def test_decode_of_other_bytes_returns_the_reason(data: bytes, reason: Reason) -> None:
    outcome = decode(data, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == reason
