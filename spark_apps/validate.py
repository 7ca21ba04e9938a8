"""Entry point for spark-submit: starts the validation from the archives in `--py-files`."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in launch.py, before NumPy is imported

from include.validation_step import main

if __name__ == "__main__":
    sys.exit(main())
