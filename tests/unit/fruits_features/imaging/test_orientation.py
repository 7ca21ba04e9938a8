"""Orientation: one reader and one turn for every format. Pillow is the reference."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fruits_features.imaging.decode import decode
from fruits_features.imaging.formats.ifd import read_orientation
from tests.support import pictures
from tests.support.pictures import HEIGHT, WIDTH

MAX_PIXELS = 10_000
ORIENTATIONS = range(1, 9)
SHORT, LONG = 3, 4
TYPES = {1: "B", SHORT: "H", LONG: "I", 6: "b", 8: "h", 9: "i"}


def block(order: str, orientation: int, field_type: int = SHORT, before: bytes = b"") -> bytes:
    """Return an EXIF block with an orientation in one type and byte order, after other entries."""
    value = struct.pack(order + TYPES[field_type], orientation).ljust(4, b"\0")
    entry = struct.pack(f"{order}HHI", 274, field_type, 1) + value
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(before) // 12 + 1)
    return start + before + entry + bytes(4)


def in_jpeg(exif: bytes) -> bytes:
    data = pictures.save(pictures.picture(), "JPEG", quality=95, subsampling=0)
    payload = b"Exif\0\0" + exif
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + data[2:]


def in_png(exif: bytes, mode: str = "RGB", *, last: bool = False) -> bytes:
    data = pictures.save(pictures.picture(mode), "PNG")
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    at = data.index(b"IEND" if last else b"IDAT") - 4
    return data[:at] + chunk + data[at:]


def in_webp(exif: bytes, mode: str = "RGB") -> bytes:
    return pictures.save(pictures.picture(mode), "WEBP", lossless=True, exif=exif)


FILES = {
    "jpeg": in_jpeg,
    "png": in_png,
    "png, after the pixels": lambda exif: in_png(exif, last=True),
    "png, opacity": lambda exif: in_png(exif, "RGBA"),
    "webp": in_webp,
    "webp, prefix": lambda exif: in_webp(b"Exif\0\0" + exif),
    "webp, opacity": lambda exif: in_webp(exif, "RGBA"),
    "webp, opacity and prefix": lambda exif: in_webp(b"Exif\0\0" + exif, "RGBA"),
}


def shown(data: bytes) -> NDArray[np.uint8]:
    """Return what Pillow shows on white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("field_type", [SHORT, LONG])
@pytest.mark.parametrize("name", FILES)
def test_orientation_of_each_format_type_and_byte_order_is_applied(
    name: str, field_type: int, order: str, orientation: int
) -> None:
    data = FILES[name](block(order, orientation, field_type))

    pixels = decode(data, MAX_PIXELS)

    assert isinstance(pixels, np.ndarray)
    np.testing.assert_allclose(pixels, shown(data), atol=6)


@given(
    order=st.sampled_from("<>"),
    orientation=st.sampled_from(ORIENTATIONS),
    field_type=st.sampled_from(sorted(TYPES)),
    before=st.lists(st.binary(min_size=10, max_size=10), max_size=4),
    prefixes=st.integers(0, 2),
)
@settings(max_examples=300, deadline=None)
def test_orientation_after_damaged_entries_is_read(
    order: str, orientation: int, field_type: int, before: list[bytes], prefixes: int
) -> None:
    damaged = b"".join(struct.pack(f"{order}H", 100 + number) + entry for number, entry in enumerate(before))
    exif = block(order, orientation, field_type, damaged)

    assert read_orientation(b"Exif\0\0" * prefixes + exif[:-4]) == orientation


@given(st.binary(max_size=60), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"Exif\0\0"]))
@settings(max_examples=300, deadline=None)
def test_orientation_of_any_bytes_is_one_of_eight(noise: bytes, start: bytes) -> None:
    assert read_orientation(start + noise) in ORIENTATIONS


def tiff(order: str, orientation: int, layout: str, depth: int, samples: int) -> bytes:
    """Return a TIFF of the picture in strips of 16 rows or tiles of 16 x 32 pixels, deflated."""
    image = np.asarray(pictures.half_seen() if samples == 4 else pictures.picture())
    values = image.astype(np.uint16) * 257 if depth == 16 else image
    values = values.astype(values.dtype.newbyteorder(order))
    rows, columns = (16, 32) if layout == "tiles" else (16, WIDTH)
    blocks = []
    for top in range(0, HEIGHT, rows):
        for left in range(0, WIDTH, columns):
            part = values[top : top + rows, left : left + columns]
            if layout == "tiles":
                part = np.pad(part, ((0, rows - part.shape[0]), (0, columns - part.shape[1]), (0, 0)), mode="edge")
            blocks.append(zlib.compress(part.tobytes()))
    sizes = [len(one) for one in blocks]
    positions = (8 + np.cumsum([0, *sizes[:-1]])).tolist()
    tags: dict[int, tuple[int, list[int]]] = {
        256: (LONG, [WIDTH]),
        257: (LONG, [HEIGHT]),
        258: (SHORT, [depth] * samples),
        259: (SHORT, [8]),
        262: (SHORT, [2]),
        274: (SHORT, [orientation]),
        277: (SHORT, [samples]),
        284: (SHORT, [1]),
    }
    if layout == "tiles":
        tags |= {322: (LONG, [columns]), 323: (LONG, [rows]), 324: (LONG, positions), 325: (LONG, sizes)}
    else:
        tags |= {273: (LONG, positions), 278: (LONG, [rows]), 279: (LONG, sizes)}
    if samples == 4:
        tags[338] = (SHORT, [2])
    return _directory(order, b"".join(blocks), tags)


def _directory(order: str, pixels: bytes, tags: dict[int, tuple[int, list[int]]]) -> bytes:
    start = 8 + len(pixels)
    behind = start + 2 + 12 * len(tags) + 4
    entries = values = b""
    for tag, (field_type, numbers) in sorted(tags.items()):
        stored = struct.pack(f"{order}{len(numbers)}{TYPES[field_type]}", *numbers)
        if len(stored) > 4:
            stored, values = struct.pack(f"{order}I", behind + len(values)), values + stored
        entries += struct.pack(f"{order}HHI", tag, field_type, len(numbers)) + stored.ljust(4, b"\0")
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", start)
    return head + pixels + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + values


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("layout", ["strips", "tiles"])
@pytest.mark.parametrize(("depth", "samples"), [(8, 3), (8, 4), (16, 3), (16, 4)])
def test_orientation_of_tiff_in_strips_and_tiles_is_applied(
    depth: int, samples: int, layout: str, order: str, orientation: int
) -> None:
    reference = tiff(order, orientation, layout, 8, samples)  # Pillow reads no 16-bit RGB

    pixels = decode(tiff(order, orientation, layout, depth, samples), MAX_PIXELS)

    assert isinstance(pixels, np.ndarray)
    np.testing.assert_allclose(pixels, shown(reference), atol=2)
