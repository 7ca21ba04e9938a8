"""Entry point of `python -m include.local_aws`."""

import sys

from include.local_aws.cli import main

sys.exit(main())
