"""Reads format, size, transparency, orientation and completeness of an image file before it is decoded.

OpenCV offers none of this before decoding:

- It allocates memory before a caller can reject 100 megapixels. Its own limit is one environment variable per process.
- It drops transparency by default.
- OpenCV 4 decodes a truncated JPEG to a half-grey image without an error.
- Its reader of orientations fails on valid files (`formats.ifd`).
"""

import struct
from collections.abc import Callable

from fruits_features.imaging.formats import bmp, gif, heif, jpeg, png, tiff, webp
from fruits_features.imaging.formats.header import Header, MalformedHeaderError

_READERS = (
    (b"\xff\xd8\xff", jpeg.read),
    (b"\x89PNG\r\n\x1a\n", png.read),
    (b"GIF87a", gif.read),
    (b"GIF89a", gif.read),
    (b"RIFF", webp.read),
    (b"II*\x00", tiff.read),
    (b"MM\x00*", tiff.read),
    (b"BM", bmp.read),
)


def read_header(data: bytes) -> Header | None:
    """Return the header of an image; `None` if the first bytes are not those of a supported format.

    Raises:
        MalformedHeaderError: The structure of the file is invalid.
        UnsupportedFormatError: The file is an image of a known kind that is not read.

    >>> header = read_header(b"GIF89a" + bytes([3, 0, 2, 0, 0, 0, 0]) + b";")
    >>> header.format, header.width, header.height
    ('gif', 3, 2)
    >>> read_header(b"hello")
    """
    read = _reader(data)
    if read is None:
        return None
    try:
        return read(data)
    except (struct.error, IndexError) as error:
        raise MalformedHeaderError(
            f"the header of these {len(data)} bytes points outside the file ({error})"
        ) from error


def _reader(data: bytes) -> Callable[[bytes], Header] | None:
    if heif.format_of(data):
        return heif.read
    reader = next((read for signature, read in _READERS if data.startswith(signature)), None)
    return None if reader is webp.read and data[8:12] != b"WEBP" else reader
