"""Why an image was not described: the closed list behind the quarantine."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Stage(StrEnum):
    """How far an image came."""

    FETCH = "fetch"
    DECODE = "decode"
    DESCRIBE = "describe"


class Reason(StrEnum):
    """What was wrong with it, and what that means; both are part of the data's contract.

    >>> Reason.EMPTY, Reason.EMPTY.meaning
    (<Reason.EMPTY: 'empty'>, 'The object has no bytes.')
    """

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Make a member that is its value and knows its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    NO_CATEGORY = "no_category", "The object lies outside any category folder."
    EMPTY = "empty", "The object has no bytes."
    TOO_MANY_BYTES = "too_many_bytes", "Larger than `max_image_bytes`, 64 MiB unless set; not fetched."
    UNUSABLE_KEY = "unusable_key", "The key cannot be asked for (an empty, `.` or `..` segment)."
    GONE = "gone", "In the inventory, but no longer in the bucket."
    CHANGED = "changed", "Another object now lies under the key than the one inventoried."
    FORBIDDEN = "forbidden", "The bucket refuses this one object."
    UNAVAILABLE = (
        "unavailable",
        "The bucket kept failing on this object alone, through every retry, while it gave the others.",
    )
    NOT_AN_IMAGE = "not_an_image", "Neither JPEG, PNG, WebP, BMP, TIFF nor GIF by its first bytes."
    TRUNCATED = "truncated", "The file ends before the image does."
    TOO_MANY_PIXELS = "too_many_pixels", "More than `max_image_pixels`, 50,000,000 unless set; not decoded."
    UNDECODABLE = "undecodable", "It begins like an image, but OpenCV cannot decode it."
    DECODER_CRASH = "decoder_crash", "Reading it ended the process that did, again and again."
    NOT_DESCRIBABLE = "not_describable", "Decoded, but OpenCV could not compute its features."


@dataclass(frozen=True)
class Rejected:
    """One image's way into the quarantine.

    Args:
        stage: how far it came.
        reason: what was wrong, from the closed list.
        detail: one sentence with the figures at hand.
    """

    stage: Stage
    reason: Reason
    detail: str
