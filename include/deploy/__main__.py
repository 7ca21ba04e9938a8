"""`python -m include.deploy`."""

import sys

from include.deploy.cli import main

sys.exit(main())
