"""HEIC and AVIF: turned, converted, on white, and limited before they are decoded. Pillow is the reference."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from fruits_features.contract.rejections import Reason, Rejected
from fruits_features.imaging import heic
from fruits_features.imaging.decode import decode
from fruits_features.imaging.formats.av1 import coded_pixels
from fruits_features.imaging.headers import read_header
from tests.support import pictures
from tests.support.pictures import HEIGHT, WIDTH

pillow_heif.register_heif_opener()
MAX_PIXELS = 10_000
SWAPPED = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
for _one, _other in ((b"rXYZ", b"gXYZ"),):
    _first, _second = SWAPPED.index(_one), SWAPPED.index(_other)
    SWAPPED[_first : _first + 4], SWAPPED[_second : _second + 4] = _other, _one
KINDS = {
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "HEIF": {"quality": 95, "chroma": 444},
}


def turned(kind: str, orientation: int, mode: str = "RGB", **options: object) -> bytes:
    """Return the picture in a mode, to be turned by its boxes."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = pictures.half_seen() if mode == "RGBA" else pictures.picture()
    return pictures.save(image, kind, exif=exif.tobytes(), **KINDS[kind], **options)


def shown(data: bytes) -> NDArray[np.uint8]:
    """Return what Pillow shows on white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("kind", KINDS)
def test_picture_is_turned_and_on_white(kind: str, mode: str, orientation: int) -> None:
    data = turned(kind, orientation, mode)

    pixels = decode(data, MAX_PIXELS)

    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == ((HEIGHT, WIDTH, 3) if orientation < 5 else (WIDTH, HEIGHT, 3))
    np.testing.assert_allclose(pixels, shown(data), atol=3)


@pytest.mark.parametrize("kind", KINDS)
def test_profile_is_converted(kind: str) -> None:
    plain = decode(turned(kind, 1), MAX_PIXELS)
    assert isinstance(plain, np.ndarray)

    pixels = decode(turned(kind, 1, icc_profile=bytes(SWAPPED)), MAX_PIXELS)

    np.testing.assert_allclose(pixels, plain[..., [1, 0, 2]], atol=4)


@pytest.mark.parametrize("kind", KINDS)
def test_grey_picture_is_read(kind: str) -> None:
    pixels = decode(pictures.save(pictures.picture("L"), kind, quality=95), MAX_PIXELS)

    np.testing.assert_allclose(pixels, np.asarray(pictures.picture("L").convert("RGB")), atol=4)


@pytest.mark.parametrize("kind", KINDS)
def test_picture_with_too_many_pixels_is_rejected_before_it_is_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    monkeypatch.setattr(heic, "decode", None)

    outcome = decode(turned(kind, 1), max_pixels=HEIGHT * WIDTH - 1)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_picture_is_rejected(kind: str) -> None:
    data = turned(kind, 6, "RGBA")
    cuts = [*range(16, len(data), 29), *range(len(data) - 8, len(data))]

    outcomes = [decode(data[:cut], MAX_PIXELS) for cut in cuts]

    assert {outcome.reason for outcome in outcomes if isinstance(outcome, Rejected)} <= {
        Reason.TRUNCATED,
        Reason.UNDECODABLE,
    }
    assert all(isinstance(outcome, Rejected) for outcome in outcomes)


@pytest.mark.parametrize("kind", KINDS)
def test_picture_larger_than_its_boxes_state_is_rejected(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    data = pictures.save(Image.new("RGB", (1600, 1600)), kind)
    real, stated = struct.pack(">II", 1600, 1600), struct.pack(">II", WIDTH, HEIGHT)
    assert real in data

    outcome = decode(data.replace(real, stated), MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason in {Reason.TOO_MANY_PIXELS, Reason.UNDECODABLE}


def test_heic_without_the_library_is_an_unsupported_format(monkeypatch: pytest.MonkeyPatch) -> None:
    data = turned("HEIF", 1)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)

    outcome = decode(data, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.detail) == (
        Reason.UNSUPPORTED_FORMAT,
        "The file is HEIC, and pillow-heif is not installed. Install it, or save the photograph as JPEG.",
    )


@pytest.mark.parametrize("brand", [b"isom", b"mp42", b"qt  ", b"M4A "])
def test_video_is_not_an_image(brand: bytes) -> None:
    video = struct.pack(">I4s4sI4s", 20, b"ftyp", brand, 0, brand) + bytes(100)

    assert read_header(video) is None


TIMING = [(1, 1), (7, 32), (9, 32)]
"""Presence of the timing, units of a tick, and ticks a second."""
INTERVAL = [(1, 1), (0b00101, 5)]
"""Pictures at equal intervals, of 4 ticks, as a number of variable length (section 4.10.3 of the specification)."""
DECODER_MODEL = [(1, 1), (5, 5), (7, 32), (9, 5), (3, 5)]
"""Presence of the decoder model, delays of 6 bits, a tick and two lengths."""


@pytest.mark.parametrize(
    ("timing", "point"),
    [
        ([(0, 1)], [(7, 5)]),
        ([(0, 1)], [(8, 5), (1, 1)]),  # levels above 7 have a tier
        ([*TIMING, (0, 1), (0, 1)], [(5, 5)]),
        ([*TIMING, *INTERVAL, (0, 1)], [(5, 5)]),
        ([*TIMING, *INTERVAL, *DECODER_MODEL], [(5, 5), (0, 1)]),
        ([*TIMING, (0, 1), *DECODER_MODEL], [(5, 5), (1, 1), (63, 6), (63, 6), (1, 1)]),
    ],
)
@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize("points", [1, 3])
def test_size_in_a_complete_sequence_header_is_found(
    points: int, delay: int, timing: list[tuple[int, int]], point: list[tuple[int, int]]
) -> None:
    """Values and their numbers of bits are those of section 5.5.1 of the AV1 specification."""
    each = [(0, 12), *point, *[(1, 1), (9, 4)] * delay]
    fields = [(0, 4), (0, 1), *timing, (delay, 1), (points - 1, 5), *each * points]
    fields += [(10, 4), (9, 4), (1200 - 1, 11), (900 - 1, 10)]
    bits = "".join(f"{value:0{count}b}" for value, count in fields)
    payload = int(bits.ljust(8 * 64, "0"), 2).to_bytes(64)

    assert coded_pixels(bytes([1 << 3 | 2, len(payload)]) + payload) == 1200 * 900


def test_file_without_the_box_of_properties_is_malformed() -> None:
    for kind in KINDS:
        outcome = decode(turned(kind, 1).replace(b"iprp", b"free"), MAX_PIXELS)

        assert isinstance(outcome, Rejected)
        assert (outcome.reason, outcome.detail) == (
            Reason.UNDECODABLE,
            "The file is malformed: the box b'iprp' is missing.",
        )


def test_library_is_not_loaded_for_other_formats(tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(pictures.stored()["jpeg"].data)
    program = """
import sys
from fruits_features.imaging.decode import decode
decode(open(sys.argv[1], "rb").read(), 10_000)
print("pillow_heif" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program, picture], check=True, capture_output=True, text=True)

    assert result.stdout == "False\n"
