"""States of a cluster in EMR's order, and reasons of its end (botocore's service model, `ClusterState`)."""

from dataclasses import dataclass
from typing import Any, Final, Literal

ACTIVE: Final[tuple[Literal["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"], ...]] = (
    "STARTING",
    "BOOTSTRAPPING",
    "RUNNING",
    "WAITING",
    "TERMINATING",
)
TERMINATED: Final = ("TERMINATED", "TERMINATED_WITH_ERRORS")
ACCEPTS_STEPS: Final = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")


@dataclass(frozen=True)
class Ending:
    """Reason of a cluster's end: code and message of EMR, and whether the final state is one with errors."""

    code: str
    message: str
    with_errors: bool = False
    details: dict[str, Any] | None = None
    """The `ErrorDetail` that the service returns for some endings."""


USER_REQUEST = Ending("USER_REQUEST", "Terminated by user request")
STEP_FAILURE = Ending("STEP_FAILURE", "Shut down as step failed", with_errors=True)
ALL_STEPS_COMPLETED = Ending("ALL_STEPS_COMPLETED", "Steps completed")
STEPS_COMPLETED_WITH_ERRORS = Ending("STEP_FAILURE", "Steps completed with errors")
NODE_TERMINATED = Ending("INSTANCE_FAILURE", "The master node was terminated", with_errors=True)
