"""Measure time and memory of the fit of a recogniser (docs/measurements/speed.md).

    OPENBLAS_NUM_THREADS=1 PYTHONPATH=.:spark_apps python -m benchmarks.recognition.recogniser_cost --images 22400

The components are random. The sums are those of the tasks; all else is done by the driver.
"""

import argparse
import time

import numpy as np

from benchmarks import subprocess_measure
from fruits_features.recogniser import calibration
from fruits_features.recogniser.fit import ComponentSums, merge_all
from fruits_features.recogniser.sample import TrainingImages

FILES = 5


def main() -> None:
    """Parse the command line, measure, and print CPU seconds and memory."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.recognition.recogniser_cost", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--images", type=int, default=22_400, help="number of images (default: %(default)s)")
    parser.add_argument("--categories", type=int, default=131, help="number of categories (default: %(default)s)")
    parser.add_argument("--components", type=int, default=60, help="number of components (default: %(default)s)")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    code = np.sort(random.integers(0, options.categories, options.images)).astype(np.int32)
    means = random.normal(size=(options.categories, options.components))
    components = (means[code] + 1.5 * random.normal(size=(options.images, options.components))).astype(np.float32)
    names = tuple(f"{number:05}" for number in range(options.categories))
    before_mb, start_s = subprocess_measure.peak_mb(), time.process_time()
    images = TrainingImages.of(len(names), code)
    parts = zip(*(np.array_split(values, FILES) for values in (components, images.code, images.sample)), strict=True)
    sums = [ComponentSums.of(*part) for part in parts]
    summed_s = time.process_time()
    calibration.fit(merge_all(sums), names, "")
    print(f"tasks {summed_s - start_s:.2f} s, driver {time.process_time() - summed_s:.2f} s", end=", ")
    print(f"{subprocess_measure.peak_mb() - before_mb:.0f} MB")


if __name__ == "__main__":
    main()
