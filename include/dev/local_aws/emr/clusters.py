"""Clusters and steps as the API of the local EMR returns them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from moto.core.utils import utcnow
from moto.emr.models import Cluster, Step
from moto.iam.models import iam_backends

from include.dev.local_aws.emr.states import TERMINATED, USER_REQUEST, Ending

if TYPE_CHECKING:
    from include.dev.local_aws.emr.faults import Injected
    from include.dev.local_aws.emr.fleets import LocalFleet


class LocalStep(Step):
    """A step that runs: PENDING, RUNNING, then COMPLETED, FAILED or CANCELLED."""

    cancel_option: str | None = None
    message: str | None = None
    failure_details: dict[str, str] | None = None

    @property
    def status(self) -> dict[str, Any]:
        """Status of the step as DescribeStep returns it."""
        state = "CANCEL_PENDING" if self.cancel_option and self.state == "RUNNING" else self.state
        status = super().status | {"State": state, "StateChangeReason": {"Message": self.message}}
        return status | ({"FailureDetails": self.failure_details} if self.failure_details else {})

    def begin(self) -> None:
        """Change the state from PENDING to RUNNING."""
        self.state = "RUNNING"
        self.start_date_time = utcnow()

    def finish(self, state: str, message: str | None = None) -> None:
        """Enter a final state."""
        # The state is set last: a reader that sees it also sees message and end.
        self.message = message
        self.end_date_time = utcnow()  # type: ignore[assignment] # moto never ends a step
        self.state = state

    def fail(self, message: str, log_uri: str | None) -> None:
        """Change the state from RUNNING to FAILED, with the message that the service found in the log."""
        self.failure_details = {"Reason": "Unknown Error.", "Message": message}
        if log_uri:
            self.failure_details["LogFile"] = f"{log_uri}stderr.gz"
        self.finish("FAILED")


class LocalCluster(Cluster):
    """A cluster. Its `ClusterLifecycle` changes its state; the API only records requests, under a lock.

    Attributes:
        accepted: Event that is set when RunJobFlow is answered, with instances and tags.
        ending: Reason of the requested end, or `None`.
        fleets: Instance fleets; empty for a cluster with instance groups.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - moto's own signature
        self.changed = threading.Condition()
        self.accepted = threading.Event()
        self.ending: Ending | None = None
        self.fleets: list[LocalFleet] = []
        self.reason: dict[str, str] = {}
        self.injected: Injected | None = None
        self._changes = 0
        self._seen = 0
        super().__init__(*args, **kwargs)
        for step in self.steps:
            step.start_date_time = None  # moto starts the first one immediately

    @property
    def status(self) -> dict[str, Any]:
        """Status of the cluster as DescribeCluster and ListClusters return it."""
        details = self.ending.details if self.ending and self.state in TERMINATED else None
        return super().status | {"StateChangeReason": self.reason, "ErrorDetails": [details] if details else []}

    @property
    def instance_collection_type(self) -> str:
        """Kind of the cluster's node collections as DescribeCluster returns it."""
        return "INSTANCE_FLEET" if self.fleets else "INSTANCE_GROUP"

    @property
    def master_instance_id(self) -> str:
        """EC2 id of the master node, which names its log folder."""
        masters = [node.ec2_instance_id for node in self.ec2_instances if node.instance_group.role == "MASTER"]
        masters += [node.ec2_id for fleet in self.fleets if fleet.role == "MASTER" for node in fleet.nodes]
        return masters[0] if masters else f"i-{self.id[2:].lower()}"

    @property
    def master_instance_type(self) -> str:
        """Instance type of the master node, or "unknown"."""
        types = [group.instance_type for group in self.instance_groups if group.role == "MASTER"]
        types += [node.type for fleet in self.fleets if fleet.role == "MASTER" for node in fleet.nodes]
        return types[0] if types else "unknown"

    @property
    def worker_types(self) -> list[str]:
        """The type of each core and task node."""
        groups = [group for group in self.instance_groups if group.role != "MASTER"]
        types = [group.instance_type for group in groups for _ in range(int(group.num_instances))]
        return types + [node.type for fleet in self.fleets if fleet.role != "MASTER" for node in fleet.nodes]

    def start_cluster(self) -> None:
        """Enter STARTING. moto's method goes further; here the lifecycle decides."""
        self.enter("STARTING", message="")
        self.start_datetime = utcnow()

    def run_bootstrap_actions(self) -> None:
        """Do nothing. moto's method makes the cluster WAITING immediately."""

    def add_steps(self, steps: list[dict[str, Any]]) -> list[Step]:
        """Append steps as PENDING. moto's method starts the first one and revives a terminated cluster."""
        with self.changed:
            added: list[Step] = [LocalStep(state="PENDING", **step) for step in steps]
            self.steps += added
            self._notify()
        return added

    def terminate(self, ending: Ending = USER_REQUEST) -> None:
        """Request the end of the cluster. The first request decides the reason."""
        with self.changed:
            self.ending = self.ending or ending
            self._notify()

    def enter(self, state: str, *, message: str, code: str | None = None) -> None:
        """Change the state and its reason."""
        with self.changed:
            self.reason = {"Message": message} | ({"Code": code} if code else {})
            self.state = state

    def be_ready(self) -> None:
        """Record the time from which steps can run."""
        self.ready_datetime = utcnow()

    def end(self, state: str, ending: Ending) -> None:
        """Enter a final state."""
        self.ending = ending
        self.end_datetime = utcnow()
        for group in self.instance_groups:
            group.state, group.end_date_time = "TERMINATED", self.end_datetime
        self.enter(state, code=ending.code, message=ending.message)

    def next_pending_step(self) -> LocalStep | None:
        """Return the first pending step."""
        with self.changed:
            return next((step for step in self.local_steps() if step.state == "PENDING"), None)

    def cancel_pending_steps(self, message: str) -> None:
        """Cancel all pending steps."""
        with self.changed:
            for step in self.local_steps():
                if step.state == "PENDING":
                    step.finish("CANCELLED", message)

    def cancel_step(self, step_id: str, option: str) -> dict[str, str]:
        """Request the cancellation of a step, and return the answer of CancelSteps."""
        with self.changed:
            step = next((step for step in self.local_steps() if step.id == step_id), None)
            if step is None:
                return {"StepId": step_id, "Status": "FAILED", "Reason": f"Step id '{step_id}' is not valid."}
            if step.state == "PENDING":
                step.finish("CANCELLED", "Cancelled by user")
            elif step.state == "RUNNING":
                step.cancel_option = option
            else:
                return {"StepId": step_id, "Status": "FAILED", "Reason": f"Step is in {step.state} state."}
            self._notify()
        return {"StepId": step_id, "Status": "SUBMITTED"}

    def local_steps(self) -> list[LocalStep]:
        """Return the steps with their precise type."""
        return [step for step in self.steps if isinstance(step, LocalStep)]

    def wait_for_change(self, timeout_s: float | None = None) -> None:
        """Wait for a request that the lifecycle has not seen yet. Only the lifecycle calls it."""
        with self.changed:
            self.changed.wait_for(lambda: self._changes != self._seen, timeout_s)
            self._seen = self._changes

    def unusable_role(self) -> Ending | None:
        """Return the ending of a cluster whose service role does not exist, or `None`.

        EMR checks the role some time after RunJobFlow.
        """
        roles = {role.name for role in iam_backends[self.emr_backend.account_id]["aws"].roles.values()}
        if self.service_role is None or self.service_role.rpartition("/")[2] in roles:
            return None
        return Ending("VALIDATION_ERROR", f"EMR service role {self.service_role} is invalid", with_errors=True)

    def _notify(self) -> None:
        self._changes += 1
        self.changed.notify_all()
