"""Fault matrix: injected faults and the expected outcome of a run. `docs/guides/reliability.md` contains this table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Case:
    """One fault and the expected outcome.

    Args:
        injected: Description of the fault.
        fault: Value of the cluster's tag `local-aws:fault`; empty for none.
        succeeds: Whether the run succeeds in spite of the fault.
        messages: Expected parts of the log. For a failed run, of the task's failure message.
        clusters: Final states of the clusters that the run created.
        settings: Environment of the deployment, in addition to the tag.
        shown: State of the run in Airflow if it differs from the outcome.
    """

    injected: str
    fault: str = ""
    succeeds: bool = False
    messages: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ("TERMINATED",)
    settings: Mapping[str, str] = field(default_factory=dict)
    shown: str = ""

    @property
    def state(self) -> str:
        """State of the run in Airflow."""
        return self.shown or ("success" if self.succeeds else "failed")

    @property
    def row(self) -> str:
        """Row of the table."""
        run = ("succeeds" if self.succeeds else "fails") + (f", shown as `{self.shown}`" if self.shown else "")
        clusters = ", ".join(f"`{state}`" for state in self.clusters) or "none"
        messages = "; ".join(f"`{text}`" for text in self.messages)
        published = "new" if self.succeeds else "old; after a rerun new"
        return f"| {self.injected} | {run} | {messages} | {clusters} | 0 | {published} |"


HEADER = (
    "| fault | run | log contains | clusters created | active at the end | `latest.json` |",
    "|---|---|---|---|---|---|",
)
WITH_ERRORS = ("TERMINATED_WITH_ERRORS",)

AWS_FAULTS = (
    Case(
        "RunJobFlow refused: limit",
        fault="refused-for-limit",
        messages=("EMR refused to create the cluster", "VcpuLimitExceeded", "The account's quota is used up"),
        clusters=(),
    ),
    Case(
        "RunJobFlow refused: role",
        fault="refused-for-role",
        messages=("EMR refused to create the cluster", "iam:PassRole", "Check FRUITS_EMR_SERVICE_ROLE"),
        clusters=(),
    ),
    Case(
        "RunJobFlow refused: validation",
        fault="refused-as-invalid",
        messages=(
            "EMR refused to create the cluster",
            "release label is invalid",
            "FRUITS_EMR_RELEASE is not an EMR release",
        ),
        clusters=(),
    ),
    Case(
        "RunJobFlow accepted, answer lost",
        fault="answer-lost",
        succeeds=True,
        messages=("Connection was closed before we received a valid response", "Adopting cluster"),
    ),
    Case(
        "provisioning fails: no capacity",
        fault="no-capacity",
        messages=("ended before it was ready", "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ", "EC2 has no capacity"),
        clusters=WITH_ERRORS,
    ),
    Case(
        "provisioning fails: service role",
        settings={"FRUITS_EMR_SERVICE_ROLE": "nobody"},
        messages=("ended before it was ready", "VALIDATION_ERROR", "Check FRUITS_EMR_SERVICE_ROLE"),
        clusters=WITH_ERRORS,
    ),
    Case(
        "bootstrap fails",
        fault="bootstrap-failed",
        messages=("BOOTSTRAP_FAILURE", "No matching distribution found for numpy", "The nodes could not be prepared"),
        clusters=WITH_ERRORS,
    ),
    Case(
        "cluster dies while RUNNING (spot)",
        fault="node-terminated",
        messages=("is CANCELLED", "INSTANCE_FAILURE: The master node was terminated", "EC2 terminated an instance"),
        clusters=WITH_ERRORS,
    ),
    Case(
        "cluster dies during the second step",
        fault="node-terminated:2",
        settings={"FRUITS_VALIDATE_ON_CLUSTER_ABOVE": "1"},
        messages=("is CANCELLED", "INSTANCE_FAILURE: The master node was terminated", "EC2 terminated an instance"),
        clusters=WITH_ERRORS,
    ),
    Case("step fails", fault="step-failed", messages=("is FAILED (Unknown Error: the application gave up)",)),
    Case(
        "step hangs",
        fault="step-hangs",
        settings={"FRUITS_STEP_TIMEOUT_S": "5"},
        messages=("The step was cancelled because it did not end within 0:00:05",),
    ),
    Case(
        "driver killed",
        fault="driver-killed",
        messages=("is FAILED", "Step failed with exitCode 137", "Memory ran out"),
    ),
    Case("executor killed", fault="executor-killed", succeeds=True, messages=("Published run",)),
    Case("API throttled", fault="throttled:2", succeeds=True, messages=("EMR throttles RunJobFlow", "Published run")),
    Case("S3 answers 503 during the step", fault="s3-endpoint", succeeds=True, messages=("Published run",)),
    Case(
        "credentials expire during the step",
        fault="credentials-expired:3",
        succeeds=True,
        messages=("ExpiredTokenException", "was interrupted", "Published run"),
    ),
)

AIRFLOW_FAULTS = (
    Case("scheduler killed while a step runs, and started again", succeeds=True),
    Case("triggerer killed while a step runs, and started again", succeeds=True),
    Case("worker killed between RunJobFlow and XCom", succeeds=True, messages=("Adopting cluster",)),
    Case(
        "each task killed in its first try, the step's also after its wait",
        succeeds=True,
        messages=("Adopting cluster", "Waiting for step"),
    ),
    Case("task cleared while its step runs", succeeds=True, messages=("Adopting cluster",)),
    Case("run marked failed by hand while its step runs", shown="success"),
)

WORKER_FAULTS = (
    Case("none", succeeds=True, messages=("images are new: no cluster",), clusters=()),
    Case("feature cache is damaged", succeeds=True, messages=("cannot be counted", "are new: one node", "is damaged")),
    Case(
        "application takes more memory than the worker allows",
        settings={"FRUITS_NO_CLUSTER_MEMORY_MB": "128"},
        succeeds=True,
        messages=("images are new: no cluster", "MB of memory, and 128 MB are allowed", "A cluster is created"),
    ),
    Case(
        "worker has less free memory than the application may take",
        settings={"FRUITS_NO_CLUSTER_MEMORY_MB": "100000000"},
        succeeds=True,
        messages=("images are new: no cluster", "A cluster is created, because this worker has"),
    ),
    Case(
        "feature cache is deleted after the count",
        settings={"FRUITS_NO_CLUSTER_BELOW": "10"},
        succeeds=True,
        messages=("images are new: no cluster", "has lost images since they were counted", "A cluster is created"),
    ),
    Case(
        "application fails on the worker",
        messages=("The application failed with exit code 1", "images were quarantined"),
        clusters=(),
    ),
)


def table(cases: Iterable[Case]) -> str:
    """Return the table as Markdown."""
    return "\n".join([*HEADER, *(case.row for case in cases)])
