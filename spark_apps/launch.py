"""What spark-submit is given: starts the application from the archive in --py-files."""

import sys

from fruits_features.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
