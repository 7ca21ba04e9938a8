"""Chooses the scale at which a JPEG is decoded: its size, or 1/2, 1/4 or 1/8 of it.

libjpeg-turbo computes the pixels of a smaller scale from the coefficients of each block, with the same result as
averaging the decoded pixels, except for rounding. Reading the coefficients remains, and takes most of the time
(docs/measurements/speed.md).
"""

from dataclasses import dataclass

import cv2

from fruits_features.imaging.formats.header import Header

FLAGS = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 1: 0}
"""OpenCV's flags by divisor of the size, the largest divisor first. They are added to `IMREAD_COLOR_RGB`.

`IMREAD_REDUCED_COLOR_*` are the same flags with that of BGR, which excludes RGB.
"""


@dataclass(frozen=True)
class Detail:
    """Smallest size of a decoded image that is sufficient. An image that is smaller itself is decoded completely.

    Args:
        longer: Length of the longer side in pixels.
        shorter: Length of the shorter side in pixels.
    """

    longer: int
    shorter: int = 0

    def divisor(self, header: Header) -> int:
        """Return the largest divisor of an image's size that leaves this detail; 1 if it is not a JPEG.

        >>> photograph = Header("jpeg", 4608, 3456, complete=True)
        >>> Detail(200).divisor(photograph), Detail(200, shorter=448).divisor(photograph)
        (8, 4)
        """
        longer, shorter = max(header.height, header.width), min(header.height, header.width)
        if header.format != "jpeg" or longer < 2 * self.longer:
            return 1
        return next((by for by in FLAGS if longer >= by * self.longer and shorter >= by * self.shorter), 1)


def reduced(height: int, width: int, divisor: int) -> tuple[int, int]:
    """Return height and width divided by a divisor. libjpeg-turbo rounds up.

    >>> reduced(801, 1200, 8)
    (101, 150)
    """
    return -(-height // divisor), -(-width // divisor)
