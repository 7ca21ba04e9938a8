"""Files that OpenCV reads wrongly without an error: frames, opacity, previews, masks."""

import os
import struct
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fruits_features.contract.rejections import Reason, Rejected
from fruits_features.imaging.decode import decode
from tests.support import pictures
from tests.support.pictures import HEIGHT, WIDTH

MAX_PIXELS = 1_000_000
CASES = Path(os.environ.get("FRUITS_REAL_IMAGES", "")).parent / "cases"
PALETTE = [250, 0, 0, 0, 200, 0, 0, 0, 250, 240, 200, 40, 9, 9, 9, 77, 77, 77, 1, 2, 3, 255, 255, 255]


def gif(
    frame: tuple[int, int, int, int], transparent: int | None = None, *, local: bool = False, later: bool = True
) -> bytes:
    """Return a GIF on a screen of 60 x 40 pixels, background 4 (dark grey).

    Args:
        frame: Left, top, width and height of the first frame, all of colour 1 (green).
        transparent: Transparent colour of the first frame.
        local: Whether the first frame has a colour table of its own, in the reversed order.
        later: Whether an opaque frame of colour 2 (blue) follows, which covers the screen.
    """
    colours = bytes(PALETTE)
    reverse = b"".join(colours[at : at + 3] for at in range(21, -1, -3))
    data = b"GIF89a" + struct.pack("<HHBBB", WIDTH, HEIGHT, 0x82, 4, 0) + colours
    if transparent is not None:
        data += b"!\xf9\x04\x01" + struct.pack("<HBB", 10, transparent, 0)
    data += struct.pack("<BHHHHB", 0x2C, *frame, 0x82 if local else 0) + (reverse if local else b"")
    data += pixels_of(1, frame[2] * frame[3])
    if later:
        data += b"!\xf9\x04\x00" + struct.pack("<HBB", 10, 0, 0)
        data += struct.pack("<BHHHHB", 0x2C, 0, 0, WIDTH, HEIGHT, 0) + pixels_of(2, WIDTH * HEIGHT)
    return data + b";"


def pixels_of(colour: int, count: int) -> bytes:
    """Return LZW data of equal pixels, in codes of 4 bits: each pair of pixels follows a clear code."""
    codes = [code for start in range(0, count, 2) for code in (8, *[colour] * min(2, count - start))] + [9]
    codes += [0] * (len(codes) % 2)
    stream = bytes(low | high << 4 for low, high in zip(codes[::2], codes[1::2], strict=True))
    blocks = (stream[at : at + 255] for at in range(0, len(stream), 255))
    return b"\x03" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


@pytest.mark.parametrize("frames", ["still", "animated"])
@pytest.mark.parametrize("colours", ["global", "local"])
@pytest.mark.parametrize("transparent", [None, 1, 7])
@pytest.mark.parametrize("frame", [(0, 0, 60, 40), (15, 10, 30, 20), (59, 39, 1, 1), (0, 0, 1, 1)])
def test_what_the_first_frame_of_a_gif_does_not_cover_is_white(
    frame: tuple[int, int, int, int], transparent: int | None, colours: str, frames: str
) -> None:
    left, top, width, height = frame
    expected = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    if transparent != 1:
        expected[top : top + height, left : left + width] = PALETTE[18:21] if colours == "local" else PALETTE[3:6]

    data = gif(frame, transparent, local=colours == "local", later=frames == "animated")
    pixels = decode(data, MAX_PIXELS)

    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("frame", [(40, 0, 30, 10), (0, 35, 10, 10), (0, 0, 61, 40)])
def test_gif_whose_first_frame_is_not_inside_the_screen_is_rejected(frame: tuple[int, int, int, int]) -> None:
    outcome = decode(gif(frame), MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.detail == "The file is malformed: the first frame of the GIF is not inside the screen."


def test_gif_of_a_million_blocks_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fruits_features.imaging.formats.gif.MAX_GIF_BLOCKS", 1000)
    many = b"GIF89a" + struct.pack("<HHBBB", WIDTH, HEIGHT, 0, 0, 0)

    for hostile in (many + b"!\xfe\x00" * 2000, many + b"!\xfe" + b"\x01x" * 2000 + b"\0"):
        outcome = decode(hostile, MAX_PIXELS)

        assert isinstance(outcome, Rejected)
        assert "more than 1000" in outcome.detail


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 95}], ids=["VP8L", "VP8 and ALPH"])
@pytest.mark.parametrize("frames", ["still", "animated"])
def test_webp_with_opacity_but_without_its_flag_is_on_white(options: dict[str, object], frames: str) -> None:
    image = pictures.half_seen()
    black = Image.new("RGBA", image.size)
    image = Image.composite(image, black, image.getchannel("A").point(lambda value: 255 * (value > 0)))
    more = (
        {"save_all": True, "append_images": [image.rotate(180)]}
        if frames == "animated"
        else {"exif": b"II*\0\x08\0\0\0\0\0"}
    )
    marked = pictures.save(image, "WEBP", exact=True, **options, **more)
    assert marked[20] & 0x10

    unmarked = marked[:20] + bytes([marked[20] & ~0x10]) + marked[21:]

    expected = decode(marked, MAX_PIXELS)
    assert isinstance(expected, np.ndarray)
    assert (expected[5:15, 35:55] == 255).all()
    np.testing.assert_array_equal(decode(unmarked, MAX_PIXELS), expected)


def test_png_whose_first_chunk_is_not_the_header_is_undecodable() -> None:
    png = pictures.save(pictures.picture(), "PNG")
    apple = png[:8] + struct.pack(">I", 4) + b"CgBI" + b"\x50\0\x20\x02" + bytes(4) + png[8:]

    outcome = decode(apple, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.UNDECODABLE
    assert outcome.detail == "The file is malformed: the first chunk of the PNG is b'CgBI' and not IHDR."


@pytest.mark.parametrize(
    "hostile",
    [
        b"RIFF" + bytes(4) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(10) + bytes(8) * 4_000_000,
        struct.pack(">I4s4sI4s", 20, b"ftyp", b"avif", 0, b"mif1") + struct.pack(">I4s", 8, b"free") * 4_000_000,
    ],
    ids=["WebP", "AVIF"],
)
def test_file_of_millions_of_parts_is_rejected_quickly(hostile: bytes) -> None:
    started = time.process_time()

    outcome = decode(hostile, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert "has more than 100000" in outcome.detail
    assert time.process_time() - started < 2


@pytest.mark.parametrize("count", [4096, 65_535])
def test_tiff_whose_previews_share_a_huge_directory_is_read_quickly(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    entries = struct.pack("<HHII", 254, 4, 1, 1) + struct.pack("<HHII", 330, 4, 1000, 8) * (count - 1)
    start = 8 + 4 * 1000
    data = b"II*\0" + struct.pack("<I", start) + struct.pack("<I", start) * 1000 + struct.pack("<H", count) + entries
    started = time.process_time()

    outcome = decode(data + struct.pack("<I", start), MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert time.process_time() - started < 2


def test_png_without_pixels_is_rejected_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    png = pictures.save(pictures.picture(), "PNG")

    outcome = decode(png[:33] + png[-12:], MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.detail == "The file is malformed: the PNG has no pixels."


def tiff_with_preview(  # noqa: PLR0913 - one argument per property of the file
    where: str,
    *,
    order: str = "<",
    photometric: int = 2,
    orientation: int = 1,
    mark: dict[int, int] | None = None,
    full: bool = True,
) -> bytes:
    """Return a TIFF whose first image is a black preview of 6 x 4 pixels.

    Args:
        where: Where the full image is: `next` directory or `sub` directory.
        order: Byte order.
        photometric: PhotometricInterpretation of the full image.
        orientation: Orientation in the first directory.
        mark: Tag that marks the preview.
        full: Whether the second image is full. Otherwise it is another preview.
    """
    small, large = bytes(6 * 4 * 3), pictures.picture().tobytes()
    depth = 8 + len(small) + len(large)  # position of the bit depths of both images
    first = depth + 6
    second = first + 2 + 12 * 12 + 4

    def directory(width: int, height: int, offset: int, size: int, extra: dict[int, int]) -> bytes:
        tags = {
            256: width,
            257: height,
            259: 1,
            262: 2,
            273: offset,
            277: 3,
            278: height,
            279: size,
            258: None,
            **extra,
        }
        entries = [
            struct.pack(f"{order}HHII", 258, 3, 3, depth)
            if value is None
            else struct.pack(f"{order}HHII", tag, 4, 1, value)
            for tag, value in sorted(tags.items())
        ]
        return struct.pack(f"{order}H", len(entries)) + b"".join(entries)

    mark = mark or {254: 1}
    link = {330: second} if where == "sub" else {65000: 0}
    preview = directory(6, 4, 8, len(small), {**mark, 274: orientation, **link})
    following = {} if full else {254: 1}
    image = directory(WIDTH, HEIGHT, 8 + len(small), len(large), {262: photometric, **following})
    return (
        {"<": b"II*\0", ">": b"MM\0*"}[order]
        + struct.pack(f"{order}I", first)
        + small
        + large
        + struct.pack(f"{order}HHH", 8, 8, 8)
        + preview
        + struct.pack(f"{order}I", second if where == "next" else 0)
        + image
        + bytes(4)
    )


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("mark", [{254: 1}, {255: 2}], ids=["NewSubfileType", "SubfileType"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("where", ["next", "sub"])
def test_full_image_of_tiff_with_preview_is_decoded(
    where: str, order: str, mark: dict[int, int], orientation: int
) -> None:
    pixels = decode(tiff_with_preview(where, order=order, mark=mark, orientation=orientation), MAX_PIXELS)

    upright = np.asarray(pictures.picture())
    np.testing.assert_array_equal(pixels, upright if orientation == 1 else np.rot90(upright, -1))


def test_tiff_with_previews_only_gives_the_first() -> None:
    pixels = decode(tiff_with_preview("next", full=False), MAX_PIXELS)

    np.testing.assert_array_equal(pixels, np.zeros((4, 6, 3), np.uint8))


def test_limit_of_pixels_applies_to_the_full_image_of_a_tiff() -> None:
    outcome = decode(tiff_with_preview("sub"), WIDTH * HEIGHT - 1)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.TOO_MANY_PIXELS


def test_tiff_whose_directories_form_a_loop_is_read() -> None:
    data = tiff_with_preview("next", full=False)
    first = struct.unpack_from("<I", data, 4)[0]

    assert not isinstance(decode(data[:-4] + struct.pack("<I", first), MAX_PIXELS), Rejected)


@pytest.mark.parametrize(
    "data",
    [
        tiff_with_preview("sub", photometric=32803),
        tiff_with_preview("sub", photometric=34892),
        tiff_with_preview("sub")[:8] + b"CR" + tiff_with_preview("sub")[10:],
    ],
    ids=["colour filter array", "linear raw", "Canon"],
)
def test_raw_file_of_a_camera_is_an_unsupported_format(data: bytes) -> None:
    outcome = decode(data, MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.detail) == (
        Reason.UNSUPPORTED_FORMAT,
        "The file is a camera's raw file. Export it as JPEG.",
    )


@pytest.mark.parametrize("pixels", [bytes([13, 1, 0xFF, 0]), bytes([8, 0])], ids=["damaged", "none"])
def test_gif_whose_pixels_cannot_be_decoded_is_rejected(pixels: bytes) -> None:
    data = pictures.save(pictures.picture().convert("P"), "GIF")
    frame = data.index(b"," + struct.pack("<HHHH", 0, 0, WIDTH, HEIGHT))

    outcome = decode(data[: frame + 10] + pixels + b";", MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.UNDECODABLE


def bmp(masks: tuple[int, ...], bits: int = 32, header_bytes: int = 108, compression: int = 3) -> bytes:
    """Return a BMP of the picture whose pixels are composed with masks for red, green, blue and maybe opacity."""
    image = np.asarray(pictures.picture("RGBA").transpose(Image.Transpose.FLIP_TOP_BOTTOM)).astype(np.uint32)
    values = np.zeros(image.shape[:2], np.uint32)
    for channel, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        values |= (image[..., channel] * (mask >> shift) // 255 << shift if mask else 0).astype(np.uint32)
    pixels = values.astype("<u4" if bits == 32 else "<u2").tobytes()
    header = struct.pack("<IiiHHIIiiII", header_bytes, WIDTH, HEIGHT, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    header = (header + struct.pack(f"<{len(masks)}I", *masks)).ljust(max(header_bytes, 40 + 4 * len(masks)), b"\0")
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + pixels


@pytest.mark.parametrize("header_bytes", [40, 108, 124])
@pytest.mark.parametrize(
    "masks",
    [
        (0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000),
        (0xFF000000, 0xFF0000, 0xFF00),
        (0xFF00, 0xFF0000, 0xFF000000),
        (0x3FF00000, 0xFFC00, 0x3FF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    ],
)
def test_bmp_of_32_bits_has_the_right_colours_or_is_rejected(masks: tuple[int, ...], header_bytes: int) -> None:
    compression = 6 if len(masks) == 4 and header_bytes == 40 else 3

    outcome = decode(bmp(masks, header_bytes=header_bytes, compression=compression), MAX_PIXELS)

    if masks[:3] == (0xFF0000, 0xFF00, 0xFF) and compression == 3:
        np.testing.assert_array_equal(outcome, np.asarray(pictures.picture()))
    else:
        assert isinstance(outcome, Rejected)
        assert outcome.reason in {Reason.UNSUPPORTED_FORMAT, Reason.UNDECODABLE}


def test_bmp_with_the_first_header_is_decoded() -> None:
    """BITMAPCOREHEADER has sizes of 16 bits."""
    bottom_up = np.asarray(pictures.picture())[::-1, :, ::-1]
    header = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    data = b"BM" + struct.pack("<IHHI", 26 + bottom_up.size, 0, 0, 26) + header + bottom_up.tobytes()

    np.testing.assert_array_equal(decode(data, MAX_PIXELS), np.asarray(pictures.picture()))


def test_bmp_of_32_bits_without_masks_is_decoded() -> None:
    data = pictures.save(pictures.picture("RGBA"), "BMP")
    assert struct.unpack_from("<HI", data, 28) == (32, 0)  # bits, compression

    np.testing.assert_array_equal(decode(data, MAX_PIXELS), np.asarray(pictures.picture()))


@pytest.mark.parametrize("masks", [(0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)])
def test_bmp_of_16_bits_has_the_right_colours(masks: tuple[int, ...]) -> None:
    outcome = decode(bmp(masks, bits=16, header_bytes=40), MAX_PIXELS)

    np.testing.assert_allclose(outcome, np.asarray(pictures.picture()), atol=16)  # levels of 5 bits


@pytest.mark.parametrize("masks", [(0x1F, 0x7E0, 0xF800), (0xF00, 0xF0, 0xF)])
def test_bmp_of_16_bits_with_other_masks_is_rejected(masks: tuple[int, ...]) -> None:
    outcome = decode(bmp(masks, bits=16, header_bytes=40), MAX_PIXELS)

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.UNDECODABLE


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not in the folder beside FRUITS_REAL_IMAGES")
@pytest.mark.parametrize(
    ("case", "colours"),
    [
        ("gif-uncovered/first-frame-one-transparent-pixel.gif", {(0, 0): pictures.WHITE, (59, 39): pictures.WHITE}),
        ("gif-uncovered/frame-smaller-than-screen.gif", {(0, 0): pictures.WHITE, (59, 39): pictures.WHITE}),
        ("webp-alpha-flag/vp8l-opacity-flag-not-set.webp", {(5, 5): pictures.RED, (55, 35): pictures.YELLOW}),
        ("tiff-preview-first/thumbnail-page-first.tif", {(5, 5): pictures.RED, (595, 395): pictures.YELLOW}),
        ("tiff-preview-first/dng-like.dng", {(5, 5): pictures.RED, (595, 395): pictures.YELLOW}),
    ],
)
def test_reported_case_has_the_right_colours(case: str, colours: dict[tuple[int, int], tuple[int, int, int]]) -> None:
    pixels = decode((CASES / case).read_bytes(), MAX_PIXELS)

    assert isinstance(pixels, np.ndarray)
    np.testing.assert_allclose([pixels[y, x] for x, y in colours], list(colours.values()), atol=3)
