"""Decoding: each format, and each reason of a rejection."""

import os
import re
import struct
import subprocess
import sys
import time
import zlib

import cv2
import numpy as np
import pytest

from fruits_features.contract.rejections import Reason, Rejected
from fruits_features.imaging.decode import decode
from fruits_features.imaging.headers import read_header
from fruits_features.imaging.limits import MAX_JPEG_SCANS, opencv_environment
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
    "tiff, preview first": len(STORED["tiff, preview first"].data) - 8,
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


def with_scans(count: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated until it has so many scans."""
    data = STORED["jpeg, progressive"].data
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (count - data.count(b"\xff\xda") + 1) + data[-2:]


def test_decode_of_jpeg_with_too_many_scans_rejects_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = decode(with_scans(MAX_JPEG_SCANS), MAX_PIXELS)
    monkeypatch.setattr(cv2, "imdecode", None)

    outcome = decode(with_scans(MAX_JPEG_SCANS + 1), MAX_PIXELS)

    assert not isinstance(decoded, Rejected)
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.detail) == (Reason.TOO_MANY_SCANS, "The JPEG has more than 100 scans.")


def test_header_of_jpeg_with_millions_of_segments_is_rejected_quickly() -> None:
    hostile = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 4_000_000
    started = time.process_time()

    outcome = decode(hostile, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.UNDECODABLE
    assert time.process_time() - started < 2


TIFF_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
"""Letters of `struct` by TIFF type: all integers that libtiff reads as a size."""


def tiff_with_width(field_type: int, letter: str, value: int) -> bytes:
    """Return a TIFF whose width has another type, as libtiff writes it."""
    pixels = bytes(120 * 40 * 3)
    tags = {256: 120, 257: 40, 258: [8] * 3, 259: [1], 262: [2], 273: 8, 277: [3], 278: 40, 279: len(pixels)}
    data = pictures.tiff(pixels, tags)
    width = struct.pack(f"<{letter}", value)
    stored = width.ljust(4, b"\0") if len(width) <= 4 else struct.pack("<I", len(data))
    entry = struct.pack("<HHII", 256, 4, 1, 120)
    assert data.count(entry) == 1
    return data.replace(entry, struct.pack("<HHI", 256, field_type, 1) + stored) + width


@pytest.mark.parametrize(("field_type", "letter"), TIFF_TYPES.items())
def test_limit_of_pixels_applies_to_a_tiff_size_of_any_integer_type(field_type: int, letter: str) -> None:
    data = tiff_with_width(field_type, letter, 120)
    decoded = decode(data, 120 * 40)

    outcome = decode(data, 120 * 40 - 1)

    assert isinstance(decoded, np.ndarray)
    assert decoded.shape == (40, 120, 3)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("field_type", [0, 2, 5, 7, 10, 11, 12, 13, 18, 99])
def test_decode_of_tiff_whose_size_has_another_type_is_malformed(
    field_type: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    data = tiff_with_width(field_type, "I", 120)
    second = data.replace(struct.pack("<HHI", 258, 3, 3), struct.pack("<HHI", 256, 4, 1))  # a valid entry follows

    for malformed in (data, second):
        outcome = decode(malformed, MAX_PIXELS)

        assert isinstance(outcome, Rejected)
        assert outcome.reason == Reason.UNDECODABLE
        assert f"entry 256 of the TIFF has 1 values of type {field_type}" in outcome.detail


@pytest.mark.parametrize("letter", ["b", "h", "i", "q"])
def test_decode_of_tiff_with_negative_width_is_rejected(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    field_type = {letter: number for number, letter in TIFF_TYPES.items()}[letter]

    outcome = decode(tiff_with_width(field_type, letter, -1), MAX_PIXELS)

    assert isinstance(outcome, Rejected)


def test_decode_of_tiff_whose_strip_positions_overflow_is_truncated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    pixels = struct.pack("<QQ", 2**64 - 8, 16) + bytes(100)
    data = pictures.tiff(pixels, {256: 4, 257: 4, 258: [8], 259: [1], 262: [1], 273: 8, 279: 16})
    for tag, position in ((273, 8), (279, 16)):
        data = re.sub(struct.pack("<HHI", tag, 4, 1) + b"....", struct.pack("<HHII", tag, 16, 1, position), data)

    outcome = decode(data, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.TRUNCATED


@pytest.mark.parametrize("shape", [(HEIGHT + 1, WIDTH), (WIDTH * 20, HEIGHT * 20), (HEIGHT, HEIGHT)])
def test_decode_to_another_size_than_the_header_states_is_rejected(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((*shape, 3), np.uint8))

    outcome = decode(STORED["jpeg"].data, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.UNDECODABLE
    assert outcome.detail == (f"The header states 60 x 40 pixels, but the decoder returned {shape[1]} x {shape[0]}.")


def test_opencv_refuses_large_images_itself_in_the_environment_of_workers() -> None:
    program = """
import sys
import cv2
import numpy as np
try:
    print(cv2.imdecode(np.frombuffer(sys.stdin.buffer.read(), np.uint8), cv2.IMREAD_COLOR).shape)
except cv2.error as error:
    print("refused")
"""
    shown = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | opencv_environment(limit),
            input=STORED["png"].data,
            check=True,
            capture_output=True,
        ).stdout
        for limit in (WIDTH * HEIGHT, WIDTH * HEIGHT - 1)
    ]

    assert shown == [b"(40, 60, 3)\n", b"refused\n"]
