"""Python runs this first where the folder is on its path: from then on, OpenCV dies of images that bear a mark."""

import os
import signal

import cv2

MARK = b"kills its decoder"

_imdecode = cv2.imdecode


def _imdecode_or_die(encoded, flags):  # noqa: ANN001, ANN202 - OpenCV's own
    if MARK in encoded.tobytes():
        os.kill(os.getpid(), signal.SIGSEGV)
    return _imdecode(encoded, flags)


if __name__ == "sitecustomize":  # and not a test that asks for the mark
    cv2.imdecode = _imdecode_or_die
