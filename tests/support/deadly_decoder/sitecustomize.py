"""Makes OpenCV crash or loop on images that contain a mark. Python imports this module at start from its path."""

import os
import signal
import time

import cv2

MARK = b"kills its decoder"
ENDLESS_MARK = b"never lets its decoder return"

_imdecode = cv2.imdecode


def _imdecode_or_fail(encoded, flags):  # noqa: ANN001, ANN202 - OpenCV's signature
    if MARK in encoded.tobytes():
        os.kill(os.getpid(), signal.SIGSEGV)
    if ENDLESS_MARK in encoded.tobytes():
        time.sleep(3600)
    return _imdecode(encoded, flags)


def _shorten_deadline(seconds: str) -> None:
    from fruits_features.imaging import limits

    limits.DEADLINE_S = float(seconds)


if __name__ == "sitecustomize":  # not in tests that import the mark
    cv2.imdecode = _imdecode_or_fail
    if "FRUITS_TEST_DEADLINE_S" in os.environ:
        _shorten_deadline(os.environ["FRUITS_TEST_DEADLINE_S"])
