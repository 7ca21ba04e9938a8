"""Makes OpenCV crash on images that contain a mark. Python imports this module at start from its path."""

import os
import signal

import cv2

MARK = b"kills its decoder"

_imdecode = cv2.imdecode


def _imdecode_or_crash(encoded, flags):  # noqa: ANN001, ANN202 - OpenCV's signature
    if MARK in encoded.tobytes():
        os.kill(os.getpid(), signal.SIGSEGV)
    return _imdecode(encoded, flags)


if __name__ == "sitecustomize":  # not in tests that import the mark
    cv2.imdecode = _imdecode_or_crash
