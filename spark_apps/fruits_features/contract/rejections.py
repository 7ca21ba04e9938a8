"""Closed lists of stages and reasons of the quarantine."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

FORMATS = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC"
"""Names of the supported formats, for messages."""


class Stage(StrEnum):
    """Stage that rejected an image."""

    FETCH = "fetch"
    DECODE = "decode"
    DESCRIBE = "describe"


class Reason(StrEnum):
    """Reason of a rejection and its meaning. The values are stored in `quarantine/`.

    >>> Reason.EMPTY, Reason.EMPTY.meaning
    (<Reason.EMPTY: 'empty'>, 'The object has no bytes.')
    """

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Create a member from its stored value and its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    NO_CATEGORY = "no_category", "The object is not in a category folder."
    EMPTY = "empty", "The object has no bytes."
    TOO_MANY_BYTES = (
        "too_many_bytes",
        "The object is larger than `max_image_bytes` (default 64 MiB). It was not fetched.",
    )
    UNUSABLE_KEY = (
        "unusable_key",
        "The key has a control character, or an empty, `.` or `..` segment, so it cannot be requested.",
    )
    GONE = "gone", "The object is in the inventory but no longer in the bucket."
    CHANGED = "changed", "The object was replaced after the inventory was taken."
    FORBIDDEN = (
        "forbidden",
        "S3 refused this object: a permission or its encryption key is missing, or it is archived. See `detail`.",
    )
    UNAVAILABLE = (
        "unavailable",
        "S3 failed on this object after all retries, but returned other objects.",
    )
    NOT_AN_IMAGE = (
        "not_an_image",
        f"The first bytes are not those of a {FORMATS} file.",
    )
    UNSUPPORTED_FORMAT = (
        "unsupported_format",
        "The file is an image of a known kind that this installation does not read. `detail` names the way out.",
    )
    TRUNCATED = "truncated", "The file ends before the image is complete."
    TOO_MANY_PIXELS = (
        "too_many_pixels",
        "The image has more than `max_image_pixels` (default 52,000,000). It was not decoded.",
    )
    TOO_MANY_SCANS = "too_many_scans", "The JPEG has so many scans that decoding would be slow. It was not decoded."
    UNDECODABLE = "undecodable", "The file has the header of an image, but its decoder fails."
    DECODER_CRASH = "decoder_crash", "Decoding crashed the worker process, and crashed it again in fresh processes."
    DECODER_TIMEOUT = "decoder_timeout", "Decoding took longer than the deadline. Its process was ended."
    NOT_DESCRIBABLE = "not_describable", "The image was decoded, but its features could not be computed."


@dataclass(frozen=True)
class Rejected:
    """A rejected image.

    Args:
        stage: Stage that rejected the image.
        reason: Reason of the rejection.
        detail: One sentence with the measured values.
    """

    stage: Stage
    reason: Reason
    detail: str
