"""Entry point of `python -m include.dev.local_aws`."""

import sys

from include.dev.local_aws.cli import main

sys.exit(main())
