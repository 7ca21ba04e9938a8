"""EMR's words for a cluster's states, in their order (botocore's service model, `ClusterState`)."""

from typing import Final, Literal

ACTIVE: Final[tuple[Literal["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"], ...]] = (
    "STARTING",
    "BOOTSTRAPPING",
    "RUNNING",
    "WAITING",
    "TERMINATING",
)
TERMINATED: Final = ("TERMINATED", "TERMINATED_WITH_ERRORS")
ACCEPTS_STEPS: Final = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
