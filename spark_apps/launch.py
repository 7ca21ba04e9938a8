"""Entry point for spark-submit: starts the application from the archive in `--py-files`."""

import os
import sys

# NumPy's linear algebra uses one thread, as in Spark's workers: the matrices are small, and several threads are slower
# on busy cores (docs/measurements/constants.md). The variable must be set before NumPy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from fruits_features.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
