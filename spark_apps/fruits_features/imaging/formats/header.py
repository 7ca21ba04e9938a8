"""Header of an image file, whatever its format."""

from dataclasses import dataclass
from enum import Enum


class MalformedHeaderError(ValueError):
    """The file starts like an image, but its structure is invalid."""


class UnsupportedFormatError(ValueError):
    """The file is an image of a known kind that is not read. The message names the kind and the way out."""


class Alpha(Enum):
    """Kind of transparency of a file."""

    NONE = "none"
    STRAIGHT = "straight"
    """Colours are stored without their opacity. Also used if only decoding shows whether pixels are transparent."""
    PREMULTIPLIED = "premultiplied"
    """Colours are stored multiplied by their opacity."""


@dataclass(frozen=True)
class Header:
    """Header of an image file.

    Args:
        format: `jpeg`, `png`, `webp`, `bmp`, `tiff`, `gif`, `avif` or `heic`.
        width: Width in pixels, before the EXIF orientation is applied.
        height: Height in pixels, before the EXIF orientation is applied.
        complete: Whether the file contains the complete image.
        alpha: Kind of transparency.
        tile_pixels: Number of pixels of a tile, which may be larger than the image; 0 without tiles.
        scans: Number of scans of a JPEG. Counting stops after the limit; then `complete` is false.
        orientation: EXIF orientation, 1 to 8: how the decoded rows and columns are turned upright.
        icc_profile: ICC profile of the values in the file; empty without one.
    """

    format: str
    width: int
    height: int
    complete: bool
    alpha: Alpha = Alpha.NONE
    tile_pixels: int = 0
    scans: int = 0
    orientation: int = 1
    icc_profile: bytes = b""
