"""Colour profiles: every format that contains one gives sRGB. Pillow is the reference."""

import io
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from fruits_features.imaging import colour
from fruits_features.imaging.colour import to_srgb
from fruits_features.imaging.decode import decode
from tests.support import pictures

MAX_PIXELS = 10_000
CASES = Path(os.environ.get("FRUITS_REAL_IMAGES", "")).parent / "cases"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DISPLAY_P3 = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}
"""Primaries of Display P3, adapted to D50."""
COLOURS = np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3)


def profile(primaries: dict[bytes, tuple[float, float, float]]) -> bytes:
    """Return the sRGB profile with other primaries."""
    changed = bytearray(SRGB)
    (count,) = struct.unpack_from(">I", SRGB, 128)
    for at in range(132, 132 + 12 * count, 12):
        tag, position = struct.unpack_from(">4sI", SRGB, at)
        if tag in primaries:
            struct.pack_into(">3i", changed, position + 8, *(round(value * 65536) for value in primaries[tag]))
    return bytes(changed)


P3 = profile(DISPLAY_P3)
SWAPPED = profile({b"rXYZ": DISPLAY_P3[b"gXYZ"], b"gXYZ": DISPLAY_P3[b"bXYZ"], b"bXYZ": DISPLAY_P3[b"rXYZ"]})


def converted(pixels: NDArray[np.uint8], source: bytes) -> NDArray[np.uint8]:
    """Return what Pillow converts to sRGB."""
    image = ImageCms.profileToProfile(
        Image.fromarray(pixels), ImageCms.ImageCmsProfile(io.BytesIO(source)), ImageCms.createProfile("sRGB")
    )
    return np.asarray(image)


@pytest.mark.parametrize("name", ["Display P3", "swapped"])
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 95, "subsampling": 0}),
        ("JPEG", "RGB", {"quality": 95, "subsampling": 0, "progressive": True}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("TIFF", "RGB", {}),
        ("TIFF", "RGBA", {"compression": "tiff_deflate"}),
    ],
)
def test_picture_with_a_profile_is_converted_to_srgb(
    kind: str, mode: str, options: dict[str, object], name: str
) -> None:
    source = {"Display P3": P3, "swapped": SWAPPED}[name]
    plain = decode(pictures.save(pictures.picture(mode), kind, **options), MAX_PIXELS)
    assert isinstance(plain, np.ndarray)

    pixels = decode(pictures.save(pictures.picture(mode), kind, icc_profile=source, **options), MAX_PIXELS)

    np.testing.assert_array_equal(pixels, converted(plain, source))
    assert not np.array_equal(pixels, plain)


def test_red_of_display_p3_is_the_red_that_was_meant() -> None:
    paler = np.full((2, 2, 3), (202, 59, 43), np.uint8)  # (220, 40, 30) of sRGB in Display P3

    np.testing.assert_allclose(to_srgb(paler, P3), np.broadcast_to((220, 40, 30), (2, 2, 3)), atol=2)


def test_picture_of_several_bands_is_converted_completely(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = to_srgb(COLOURS, P3)
    monkeypatch.setattr(colour, "_BAND_ROWS", 7)

    np.testing.assert_array_equal(to_srgb(COLOURS, P3), expected)


def test_profile_in_several_parts_of_a_jpeg_is_read_in_their_order() -> None:
    data = pictures.save(pictures.picture(), "JPEG", quality=95)
    parts = [P3[:100], P3[100:300], P3[300:]]

    def segment(number: int) -> bytes:
        payload = b"ICC_PROFILE\0" + bytes([number, 3]) + parts[number - 1]
        return b"\xff\xe2" + struct.pack(">H", len(payload) + 2) + payload

    ordered = data[:2] + segment(1) + segment(2) + segment(3) + data[2:]
    mixed = data[:2] + segment(3) + segment(1) + segment(2) + data[2:]
    incomplete = data[:2] + segment(1) + segment(3) + data[2:]

    expected = decode(pictures.save(pictures.picture(), "JPEG", quality=95, icc_profile=P3), MAX_PIXELS)
    np.testing.assert_array_equal(decode(ordered, MAX_PIXELS), expected)
    np.testing.assert_array_equal(decode(mixed, MAX_PIXELS), expected)
    np.testing.assert_array_equal(decode(incomplete, MAX_PIXELS), decode(data, MAX_PIXELS))


@pytest.mark.parametrize(
    "ignored",
    [
        b"",
        b"no profile",
        P3[:200],
        P3[:16] + b"CMYK" + P3[20:],
        P3[:16] + b"GRAY" + P3[20:],
        P3[:128] + b"\xff" * 4 + P3[132:],
        P3.replace(b"rXYZ", b"none"),
        SRGB,
        SRGB + b"\0",
    ],
    ids=len,
)
def test_invalid_profile_and_one_of_srgb_and_of_other_values_change_nothing(ignored: bytes) -> None:
    assert to_srgb(COLOURS, ignored) is COLOURS


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("damaged", [b"", b"\x01", b"\x00", P3[:60], bytes(200)], ids=len)
def test_picture_with_a_damaged_profile_is_decoded_as_srgb(damaged: bytes, kind: str) -> None:
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    good = pictures.save(pictures.picture(), kind, icc_profile=P3, **options)
    if kind == "PNG":  # the profile is compressed
        at = good.index(b"iCCP")
        data = good[: at + 30] + b"\xff" * 20 + good[at + 50 :]
    else:
        data = good.replace(P3, damaged.ljust(len(P3), b"\xff"))
    assert data != good

    pixels = decode(data, MAX_PIXELS)

    np.testing.assert_array_equal(pixels, decode(pictures.save(pictures.picture(), kind, **options), MAX_PIXELS))


def test_grey_and_cmyk_pictures_ignore_profiles_of_their_own_values() -> None:
    cmyk = P3[:16] + b"CMYK" + P3[20:]
    plain, marked = (
        decode(pictures.save(pictures.picture("CMYK"), "JPEG", quality=95, **options), MAX_PIXELS)
        for options in ({}, {"icc_profile": cmyk})
    )

    np.testing.assert_array_equal(marked, plain)


def test_conversion_is_prepared_once_per_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    colour._transform.cache_clear()  # noqa: SLF001
    built = []
    build = ImageCms.buildTransform
    monkeypatch.setattr(ImageCms, "buildTransform", lambda *args: built.append(1) or build(*args))

    for _ in range(5):
        to_srgb(COLOURS, P3)
        to_srgb(COLOURS, SRGB)

    assert len(built) == 2


def test_png_whose_profile_expands_to_gigabytes_is_decoded() -> None:
    png = pictures.save(pictures.picture(), "PNG")
    compressor = zlib.compressobj(9)
    bomb = b"x\0\0" + b"".join(compressor.compress(bytes(1 << 20)) for _ in range(256)) + compressor.flush()
    chunk = struct.pack(">I", len(bomb)) + b"iCCP" + bomb + struct.pack(">I", zlib.crc32(b"iCCP" + bomb))
    tracemalloc.start()

    pixels = decode(png[:33] + chunk + png[33:], MAX_PIXELS)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(pixels, np.ndarray)
    assert peak < 32 * 1024 * 1024


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not in the folder beside FRUITS_REAL_IMAGES")
@pytest.mark.parametrize("case", ["display-p3.jpg", "srgb.jpg", "channels-swapped-profile.png"])
def test_reported_case_is_red(case: str) -> None:
    pixels = decode((CASES / "icc-profile" / case).read_bytes(), MAX_PIXELS)

    assert isinstance(pixels, np.ndarray)
    np.testing.assert_allclose(pixels[50, 50], (220, 40, 30), atol=4)
