"""Measure the time from bytes to features on one core by image size: `python -m benchmarks.image_sizes`.

The images are distinct drawn photographs. The times are CPU times of the default families, with the fastest round of
each image. The ratio to a complete decoding by OpenCV depends less on the machine than the time.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from benchmarks.photographs import GRAIN, photograph
from fruits_features.contract.arguments import DEFAULT_MAX_IMAGE_PIXELS
from fruits_features.contract.families import DEFAULT_FAMILIES
from fruits_features.contract.rejections import Rejected
from fruits_features.extraction.extract import ImageExtractor

SIZES = {(4608, 3456): 25.0, (2304, 1728): 9.0, (1152, 864): 4.0, (100, 100): None}
"""Widths and heights in pixels, with the target in ms if there is one."""
ROUNDS = 7


def best_ms(images: Sequence[bytes], work: Callable[[bytes], object], rounds: int = ROUNDS) -> float:
    """Return the mean CPU time per image in ms, with the fastest round of each image."""
    best = np.full(len(images), np.inf)
    for _ in range(rounds):
        for i, data in enumerate(images):
            start = time.process_time()
            work(data)
            best[i] = min(best[i], time.process_time() - start)
    return float(best.mean() * 1000)


def decode_completely(data: bytes) -> object:
    """Decode a photograph at its full size."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def main() -> None:
    """Print one line per size."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.image_sizes", description="Measure the time from bytes to features by size of photograph."
    )
    parser.add_argument("--images", type=int, default=10, help="photographs per size (default: %(default)s)")
    parser.add_argument("--grain", type=float, default=GRAIN, help="noise of the photographs (default: %(default)s)")
    options = parser.parse_args()
    extractor = ImageExtractor(DEFAULT_FAMILIES, DEFAULT_MAX_IMAGE_PIXELS)
    print("| pixels | bits per pixel | ms | target | of a complete decoding |\n|---|--:|--:|--:|--:|")
    for (width, height), target in SIZES.items():
        images = [photograph(width, height, seed, options.grain) for seed in range(options.images)]
        bits = 8 * sum(map(len, images)) / len(images) / (width * height)
        if any(isinstance(extractor.extract(data), Rejected) for data in images):
            raise SystemExit("A photograph was rejected.")
        ms, decoding_ms = best_ms(images, extractor.extract), best_ms(images, decode_completely)
        print(f"| {width} x {height} | {bits:.2f} | {ms:.2f} | {target or ''} | {ms / decoding_ms:.2f} |", flush=True)


if __name__ == "__main__":
    main()
