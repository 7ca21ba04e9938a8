"""AV1 (AV1 Bitstream & Decoding Process Specification): size of the coded pictures.

libavif decodes a picture of any size, and then scales it to the size that the boxes state. So a small file could take
gigabytes, and the coded size counts for the limit too.
"""

import struct

from fruits_features.imaging.formats.header import MalformedHeaderError
from fruits_features.imaging.limits import MAX_AV1_UNITS

_SEQUENCE_HEADER = 1
_SIZE_FLAG, _EXTENSION_FLAG = 0x02, 0x04
_LEVEL_WITH_TIER = 7
_HEADER_BYTES = 512  # more than a sequence header with 32 operating points has


class _Bits:
    """Reader of a big-endian stream of bits."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        """Return the next bits as a number.

        Raises:
            struct.error: The data ends.
        """
        self._left -= count
        if self._left < 0:
            raise struct.error("a sequence header of AV1 ends too early")
        return self._value >> self._left & ((1 << count) - 1)


def coded_pixels(stream: bytes) -> int:
    """Return the number of pixels of the largest picture that the sequence headers of a stream allow.

    Raises:
        MalformedHeaderError: The stream has too many units.
        struct.error: The stream ends too early.
    """
    largest = position = 0
    for _ in range(MAX_AV1_UNITS):
        if position >= len(stream):
            return largest
        header = stream[position]
        position += 2 if header & _EXTENSION_FLAG else 1
        size = len(stream) - position
        if header & _SIZE_FLAG:
            size, position = _leb128(stream, position)
        if header >> 3 & 0xF == _SEQUENCE_HEADER:
            largest = max(largest, _pixels(_Bits(stream[position : position + min(size, _HEADER_BYTES)])))
        position += size
    raise MalformedHeaderError(f"a picture of the AVIF has more than {MAX_AV1_UNITS} units")


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """Return a number of variable length, and the position after it."""
    value = 0
    for number in range(8):
        byte = data[position + number]  # IndexError at the end, as of other headers
        value |= (byte & 0x7F) << 7 * number
        if not byte & 0x80:
            return value, position + number + 1
    raise struct.error("a size in AV1 has more than 8 bytes")


def _pixels(bits: _Bits) -> int:
    """Return the largest picture of a sequence header (section 5.5.1 of the specification)."""
    bits.read(4)  # profile, still picture
    if bits.read(1):  # the reduced header of still pictures
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return (bits.read(width_bits) + 1) * (bits.read(height_bits) + 1)


def _skip_operating_points(bits: _Bits) -> None:
    decoder_model, delay_bits = False, 0
    if bits.read(1):  # timing
        bits.read(64)
        if bits.read(1):  # equal intervals, a number with as many leading zeros as bits
            zeros = 0
            while not bits.read(1):
                zeros += 1
            bits.read(zeros)
        decoder_model = bool(bits.read(1))
        if decoder_model:
            delay_bits = bits.read(5) + 1
            bits.read(42)
    has_initial_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > _LEVEL_WITH_TIER:
            bits.read(1)
        if decoder_model and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_initial_delay and bits.read(1):
            bits.read(4)
