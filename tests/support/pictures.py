"""One small picture in each format and variant of image files, and the colours that a reader should return.

Pillow writes variants that OpenCV cannot write: CMYK, palettes, transparent colours, several frames, EXIF. Variants
that neither writes are built from bytes here.
"""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw, ImageOps

pillow_heif.register_heif_opener()  # and writer

HEIGHT, WIDTH = 40, 60
RED, GREEN, BLUE, YELLOW, WHITE = (250, 0, 0), (0, 200, 0), (0, 0, 250), (240, 200, 40), (255, 255, 255)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
HALF_BLUE = (127, 127, 252)
"""Half-transparent blue on white."""
SEEN = {
    "colour": (RED, GREEN, BLUE, YELLOW),
    "grey": ((75,) * 3, (117,) * 3, (28,) * 3, (194,) * 3),
    "black and white": ((0,) * 3, (0,) * 3, (0,) * 3, WHITE),
    "cut out": (RED, WHITE, BLUE, YELLOW),
    "half seen": (RED, WHITE, HALF_BLUE, YELLOW),
    "half seen, grey": ((75,) * 3, WHITE, (141,) * 3, (194,) * 3),
}
"""The colours of the picture's quarters: top left, top right, bottom left, bottom right."""


@dataclass(frozen=True)
class Stored:
    """The picture as a file.

    Args:
        data: Content of the file.
        seen: Key of the expected colours in `SEEN`.
        tolerance: Largest difference of a colour in levels, for lossy formats.
    """

    data: bytes
    seen: str = "colour"
    tolerance: int = 2

    @property
    def quarters(self) -> tuple[tuple[int, ...], ...]:
        """Expected colours of the quarters."""
        return SEEN[self.seen]


def picture(mode: str = "RGB") -> Image.Image:
    """Return an image of four quarters in different colours."""
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for number, colour in enumerate(SEEN["colour"]):
        left, top = WIDTH // 2 * (number % 2), HEIGHT // 2 * (number // 2)
        ImageDraw.Draw(image).rectangle((left, top, left + WIDTH // 2 - 1, top + HEIGHT // 2 - 1), colour)
    return image.convert(mode)


def half_seen(mode: str = "RGBA") -> Image.Image:
    """Return the picture with one transparent quarter and one half-transparent quarter."""
    image, opacity = picture("RGBA"), Image.new("L", (WIDTH, HEIGHT), 255)
    ImageDraw.Draw(opacity).rectangle((WIDTH // 2, 0, WIDTH, HEIGHT // 2 - 1), 0)
    ImageDraw.Draw(opacity).rectangle((0, HEIGHT // 2, WIDTH // 2 - 1, HEIGHT), 128)
    image.putalpha(opacity)
    return image.convert(mode)


def few_colours() -> Image.Image:
    """Return the picture with a palette of eight colours."""
    return picture().quantize(8)


def black_and_white() -> Image.Image:
    """Return the picture with one bit per pixel. Its brightest quarter is white."""
    return picture("L").point(lambda value: 255 * (value > 128)).convert("1")


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as a file in one of Pillow's formats."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(kind: str, orientation: int, image: Image.Image | None = None, **options: object) -> bytes:
    """Return the picture as a file with an EXIF orientation. Readers that apply it return the upright picture."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # Image.Transpose
    image = image or picture()
    image = image if undo is None else image.transpose(Image.Transpose(undo))
    if kind == "TIFF":
        return save(image, kind, tiffinfo={0x0112: orientation})
    return save(image, kind, exif=exif, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}), **options)


def deep(image: Image.Image) -> NDArray[np.uint16]:
    """Return an image's values in 16 bits."""
    return np.asarray(image).astype(np.uint16) * 257


def png(colour_type: int, values: NDArray[np.uint16]) -> bytes:
    """Return a PNG of 16 bits."""
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def tiff(pixels: bytes, tags: dict[int, int | list[int]]) -> bytes:
    """Return a TIFF of one strip or tile with any tags. A list is stored as SHORT, a number as LONG."""
    directory = 8 + len(pixels)
    values_start = directory + 2 + 12 * len(tags) + 4
    entries = values_behind = b""
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, list) else [value]
        kind, letter = (3, "H") if isinstance(value, list) else (4, "I")
        stored = struct.pack(f"<{len(values)}{letter}", *values)
        if len(stored) > 4:
            stored, values_behind = struct.pack("<I", values_start + len(values_behind)), values_behind + stored
        entries += struct.pack("<HHI", tag, kind, len(values)) + stored.ljust(4, b"\x00")
    header = b"II*\x00" + struct.pack("<I", directory)
    return header + pixels + struct.pack("<H", len(tags)) + entries + bytes(4) + values_behind


def tiff_of_16_bits(extra_samples: int) -> bytes:
    """Return a TIFF in RGBA of 16 bits. `extra_samples` is 1 for premultiplied colours and 2 for others."""
    values = deep(half_seen()).astype(np.uint32)
    if extra_samples == 1:
        values[..., :3] = values[..., :3] * values[..., 3:] // 65535
    pixels = values.astype("<u2").tobytes()
    tags = {256: WIDTH, 257: HEIGHT, 258: [16] * 4, 259: [1], 262: [2], 273: 8, 277: [4], 278: HEIGHT, 279: len(pixels)}
    return tiff(pixels, tags | {338: [extra_samples]})


def bmp_with_opacity() -> bytes:
    """Return a BMP with a BITMAPV5HEADER and masks for red, green, blue and opacity."""
    red, green, blue, opacity = half_seen().transpose(Image.Transpose.FLIP_TOP_BOTTOM).split()
    pixels = Image.merge("RGBA", (blue, green, red, opacity)).tobytes()
    header = struct.pack("<IiiHHIIiiII", 124, WIDTH, HEIGHT, 1, 32, 3, len(pixels), 2835, 2835, 0, 0)
    header = (header + struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)).ljust(124, b"\x00")
    return b"BM" + struct.pack("<IHHI", 138 + len(pixels), 0, 0, 138) + header + pixels


def jpeg_of_ycck() -> bytes:
    """Return a JPEG as Photoshop writes it: CMY as luma and chroma, all inverted, with Adobe's marker."""
    cyan, magenta, yellow, black = picture("CMYK").split()
    luma, blue, red = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    inverted = [ImageOps.invert(band) for band in (luma, blue, red)]  # Pillow inverts once more
    data = save(Image.merge("CMYK", (*inverted, black)), "JPEG", quality=95, subsampling=0)
    transform = data.index(b"Adobe") + 11
    return data[:transform] + b"\x02" + data[transform + 1 :]


def tiff_with_preview() -> bytes:
    """Return a TIFF of two pages, the first of which is marked as a preview of the second."""
    preview, pages = Image.new("RGB", (6, 4)), {"save_all": True, "append_images": [picture()]}
    data = save(preview, "TIFF", tiffinfo={254: 1}, **pages)
    first = struct.pack("<HHII", 254, 4, 1, 1)
    second = data.rindex(first)
    return data if second == data.index(first) else data[: second + 8] + bytes(4) + data[second + 12 :]


def stored() -> dict[str, Stored]:
    """Return the picture in each variant by name. The first word of the name is the format."""
    colours, grey, another = picture(), picture("L"), Image.new("RGB", (WIDTH, HEIGHT))
    palette, best = few_colours(), {"quality": 95, "subsampling": 0}
    right = palette.getpixel((WIDTH - 9, 9))
    more = {"save_all": True, "append_images": [another], "duration": 100}
    return {
        "jpeg": Stored(save(colours, "JPEG", **best)),
        "jpeg, progressive": Stored(save(colours, "JPEG", progressive=True, **best)),
        "jpeg, restart markers": Stored(save(colours, "JPEG", restart_marker_blocks=2, **best)),
        "jpeg, bytes after its end": Stored(save(colours, "JPEG", **best) + b"appended by a camera"),
        "jpeg, grey": Stored(save(grey, "JPEG", quality=95), "grey"),
        "jpeg, CMYK": Stored(save(picture("CMYK"), "JPEG", quality=95)),
        "jpeg, YCCK": Stored(jpeg_of_ycck(), tolerance=4),
        "png": Stored(save(colours, "PNG")),
        "png, grey": Stored(save(grey, "PNG"), "grey"),
        "png, grey of 16 bits": Stored(save(Image.fromarray(deep(grey)), "PNG"), "grey"),
        "png, 16 bits": Stored(png(2, deep(colours))),
        "png, 1 bit": Stored(save(black_and_white(), "PNG"), "black and white"),
        "png, palette": Stored(save(palette, "PNG")),
        "png, palette with a transparent colour": Stored(save(palette, "PNG", transparency=right), "cut out"),
        "png, a transparent colour": Stored(save(colours, "PNG", transparency=GREEN), "cut out"),
        "png, opacity": Stored(save(half_seen(), "PNG"), "half seen"),
        "png, opacity of 16 bits": Stored(png(6, deep(half_seen())), "half seen"),
        "png, grey and opacity": Stored(save(half_seen("LA"), "PNG"), "half seen, grey"),
        "png, grey and opacity of 16 bits": Stored(png(4, deep(half_seen("LA"))), "half seen, grey"),
        "png, animated": Stored(save(colours, "PNG", **more)),
        "webp, lossy": Stored(save(colours, "WEBP", quality=95), tolerance=4),
        "webp, lossless": Stored(save(colours, "WEBP", lossless=True)),
        "webp, lossy with opacity": Stored(save(half_seen(), "WEBP", quality=95), "half seen", tolerance=4),
        "webp, lossless with opacity": Stored(save(half_seen(), "WEBP", lossless=True), "half seen"),
        "webp, animated": Stored(save(colours, "WEBP", lossless=True, **more)),
        "webp, animated with opacity": Stored(save(half_seen(), "WEBP", lossless=True, **more), "half seen"),
        "bmp": Stored(save(colours, "BMP")),
        "bmp, grey": Stored(save(grey, "BMP"), "grey"),
        "bmp, 1 bit": Stored(save(black_and_white(), "BMP"), "black and white"),
        "bmp, palette": Stored(save(palette, "BMP")),
        "bmp, opacity": Stored(bmp_with_opacity(), "half seen"),
        "tiff": Stored(save(colours, "TIFF")),
        "tiff, LZW": Stored(save(colours, "TIFF", compression="tiff_lzw")),
        "tiff, Deflate": Stored(save(colours, "TIFF", compression="tiff_deflate")),
        "tiff, JPEG": Stored(save(colours, "TIFF", compression="jpeg", quality=95)),
        "tiff, 16 bits": Stored(tiff_of_16_bits(0)),
        "tiff, grey": Stored(save(grey, "TIFF"), "grey"),
        "tiff, grey of 16 bits": Stored(save(Image.fromarray(deep(grey)), "TIFF"), "grey"),
        "tiff, fax": Stored(save(black_and_white(), "TIFF", compression="group4"), "black and white"),
        "tiff, palette": Stored(save(palette, "TIFF")),
        "tiff, CMYK": Stored(save(picture("CMYK"), "TIFF")),
        "tiff, opacity": Stored(save(half_seen(), "TIFF"), "half seen"),
        "tiff, opacity of 16 bits": Stored(tiff_of_16_bits(2), "half seen"),
        "tiff, opacity of 16 bits, multiplied": Stored(tiff_of_16_bits(1), "half seen"),
        "tiff, several pages": Stored(save(colours, "TIFF", save_all=True, append_images=[another])),
        "gif": Stored(save(palette, "GIF")),
        "gif, interlaced": Stored(save(palette, "GIF", interlace=1)),
        "gif, a transparent colour": Stored(save(palette, "GIF", transparency=right), "cut out"),
        "gif, animated": Stored(save(palette, "GIF", **more)),
        "jpeg, profile and orientation": Stored(turned("JPEG", 3, icc_profile=SRGB)),
        "png, profile and orientation": Stored(turned("PNG", 3, icc_profile=SRGB)),
        "webp, profile and orientation": Stored(turned("WEBP", 3, icc_profile=SRGB, lossless=True)),
        "tiff, preview first": Stored(tiff_with_preview()),
        "avif": Stored(save(colours, "AVIF", quality=95, subsampling="4:4:4"), tolerance=4),
        "avif, opacity and profile": Stored(save(half_seen(), "AVIF", quality=95, icc_profile=SRGB), "half seen", 8),
        "heic": Stored(save(colours, "HEIF", quality=95, chroma=444), tolerance=4),
        "heic, opacity and profile": Stored(save(half_seen(), "HEIF", quality=95, icc_profile=SRGB), "half seen", 8),
    }
