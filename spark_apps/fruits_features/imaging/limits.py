"""Limits that bound what one image may cost. Standard library only: a process needs them before it imports OpenCV."""

DEADLINE_S = 30.0
"""Longest time to decode an image and extract its features, in seconds.

An ordinary image of 50 megapixels takes up to some seconds (docs/measurements/constants.md). A decoder that takes
longer is in a loop, or the file was made to be slow.
"""

MAX_JPEG_SCANS = 100
"""Largest number of scans of a JPEG.

Each scan of a progressive JPEG makes the decoder pass over the complete image, even if the scan contains almost no
bytes (libjpeg-turbo, "Two Issues with the JPEG Standard"). The standard script of libjpeg writes 10 scans.
"""

MAX_JPEG_SEGMENTS = 100_000
"""Largest number of segments of a JPEG. Photographs have hundreds. So many take a tenth of a second to read."""

MAX_AV1_UNITS = 10_000
"""Largest number of units of one picture in an AVIF. libaom writes a few per picture, and one per group of tiles."""

MAX_GIF_BLOCKS = 1_000_000
"""Largest number of blocks of a GIF. A file of 64 MiB has 260,000 if its blocks are full."""

MAX_PROFILE_BYTES = 4 * 1024 * 1024
"""Largest ICC profile in bytes. Those of phones have 500 to 600 bytes, those with tables up to 1 MiB."""

MAX_CHUNKS = 100_000
"""Largest number of chunks of a WebP, or of boxes of a HEIC or AVIF."""

MAX_TIFF_DIRECTORIES = 20
"""Largest number of directories that are searched for the full image, if the first one is a preview."""

MAX_TIFF_ENTRIES = 4096
"""Largest number of entries of a TIFF's directory. libtiff rejects larger ones (`TIFFFetchDirectory`)."""

MAX_TIFF_VALUES = 1_000_000
"""Largest number of values in one entry of a TIFF's directory. A strip per row of the largest images is 65,535."""


def opencv_environment(max_pixels: int) -> dict[str, str]:
    """Return the environment variables that make OpenCV refuse larger images before it allocates memory for them.

    OpenCV reads them when it is imported. The limit is a second one: the header of a file has been checked before.

    >>> opencv_environment(52_000_000)
    {'OPENCV_IO_MAX_IMAGE_PIXELS': '52000000'}
    """
    return {"OPENCV_IO_MAX_IMAGE_PIXELS": str(max_pixels)}
