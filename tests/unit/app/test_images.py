"""Bytes to pixels: every format, and every way of not being an image."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fruits_features.headers import read_header
from fruits_features.images import decode
from fruits_features.rejections import Reason, Rejected

HEIGHT, WIDTH = 40, 60
MAX_PIXELS = 10_000


def picture() -> NDArray[np.uint8]:
    """Draw red above blue, RGB."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[: HEIGHT // 2, :, 0] = 250
    pixels[HEIGHT // 2 :, :, 2] = 250
    return pixels


def encode(extension: str, pixels: NDArray[np.generic] | None = None, parameters: list[int] | None = None) -> bytes:
    bgr = cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR) if pixels is None else pixels
    return cv2.imencode(extension, bgr, parameters or [])[1].tobytes()


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Put an EXIF segment with one entry, the orientation, behind the start marker."""
    tiff = b"II*\x00" + struct.pack("<IHHHIHH", 8, 1, 0x0112, 3, 1, orientation, 0) + bytes(4)
    exif = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def palette_png() -> bytes:
    """Write a PNG of palette colours, which OpenCV cannot write: red above blue."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\x00" + bytes([row >= HEIGHT // 2]) * WIDTH for row in range(HEIGHT))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", bytes([250, 0, 0, 0, 0, 250])),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


WHOLE = {
    "jpeg": encode(".jpg"),
    "jpeg, progressive": encode(".jpg", parameters=[cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "jpeg, restart markers": encode(".jpg", parameters=[cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
    "jpeg, bytes after its end": encode(".jpg") + b"appended by a camera",
    "png": encode(".png"),
    "png, 16 bits": encode(".png", cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR).astype(np.uint16) * 257),
    "png, alpha": encode(".png", cv2.cvtColor(picture(), cv2.COLOR_RGB2BGRA)),
    "png, palette": palette_png(),
    "webp, lossy": encode(".webp", parameters=[cv2.IMWRITE_WEBP_QUALITY, 95]),
    "webp, lossless": encode(".webp"),
    "bmp": encode(".bmp"),
    "tiff": encode(".tiff"),
    "gif": encode(".gif"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_decode_of_each_format_gives_upright_rgb(name: str) -> None:
    pixels = decode(WHOLE[name], MAX_PIXELS)

    assert isinstance(pixels, np.ndarray)
    assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    np.testing.assert_allclose(pixels[5, 30], [250, 0, 0], atol=35)  # GIF's palette is coarse
    np.testing.assert_allclose(pixels[-5, 30], [0, 0, 250], atol=35)


@pytest.mark.parametrize("name", WHOLE)
def test_header_of_each_format_tells_the_size(name: str) -> None:
    header = read_header(WHOLE[name])

    assert header is not None
    assert header.format == name.partition(",")[0]
    assert (header.width, header.height, header.complete) == (WIDTH, HEIGHT, True)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_decode_of_a_cut_file_never_gives_half_a_picture(name: str, share: float) -> None:
    whole = WHOLE[name].removesuffix(b"appended by a camera")

    outcome = decode(whole[: int(len(whole) * share)], MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason in {Reason.TRUNCATED, Reason.UNDECODABLE}


def test_decode_of_a_jpeg_cut_just_before_its_end_marker_is_truncated() -> None:
    thumbnail = with_exif_orientation(encode(".jpg"), 1)
    embedded = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    jpeg = encode(".jpg")
    cut = jpeg[:2] + embedded + jpeg[2:-2]

    outcome = decode(cut, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.TRUNCATED


@pytest.mark.parametrize(("orientation", "top", "shape"), [(3, [0, 0, 250], (40, 60, 3)), (6, None, (60, 40, 3))])
def test_decode_applies_exif_orientation(orientation: int, top: list[int] | None, shape: tuple[int, ...]) -> None:
    pixels = decode(with_exif_orientation(encode(".jpg"), orientation), MAX_PIXELS)

    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == shape
    if top:
        np.testing.assert_allclose(pixels[5, 30], top, atol=12)


def test_decode_of_grey_gives_three_equal_channels() -> None:
    pixels = decode(encode(".jpg", np.full((HEIGHT, WIDTH), 77, np.uint8)), MAX_PIXELS)

    assert isinstance(pixels, np.ndarray)
    assert (pixels == 77).all()


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".gif"])
def test_decode_of_too_many_pixels_refuses_before_decoding(extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)

    outcome = decode(encode(extension), max_pixels=HEIGHT * WIDTH - 1)

    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.detail) == (
        Reason.TOO_MANY_PIXELS,
        "60 x 40 pixels are more than the limit of 2399.",
    )


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
def test_decode_of_what_is_no_image_tells_why(data: bytes, reason: Reason) -> None:
    outcome = decode(data, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == reason
