"""The fault matrix: what is injected, and what a run makes of it. `docs/guides/reliability.md` shows this table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Case:
    """One fault and its outcome.

    Args:
        injected: what happens, for people.
        fault: the cluster's tag `local-aws:fault`.
        succeeds: the run ends well, in spite of it.
        says: what stands in the log; of a run that fails, in its task's sentence.
        clusters: states of the clusters that the run made.
        settings: of the deployment, instead of a tag or beside it.
        shown: the run's state in Airflow, where that tells another story.
    """

    injected: str
    fault: str = ""
    succeeds: bool = False
    says: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ("TERMINATED",)
    settings: Mapping[str, str] = field(default_factory=dict)
    shown: str = ""

    @property
    def state(self) -> str:
        """The run's state in Airflow."""
        return self.shown or ("success" if self.succeeds else "failed")

    @property
    def row(self) -> str:
        """The case as a line of the table."""
        run = ("succeeds" if self.succeeds else "fails") + (f", shown as `{self.shown}`" if self.shown else "")
        made = ", ".join(f"`{state}`" for state in self.clusters) or "none"
        says = "; ".join(f"`{words}`" for words in self.says)
        published = "new" if self.succeeds else "old; after a rerun new"
        return f"| {self.injected} | {run} | {says} | {made} | 0 | {published} |"


HEAD = (
    "| injected | run | says | clusters made | active at the end | `latest.json` |",
    "|---|---|---|---|---|---|",
)
WITH_ERRORS = ("TERMINATED_WITH_ERRORS",)

OF_AWS = (
    Case(
        "RunJobFlow refused: limit",
        fault="refused-for-limit",
        says=("EMR refused to create the cluster", "VcpuLimitExceeded", "The account's quota is used up"),
        clusters=(),
    ),
    Case(
        "RunJobFlow refused: role",
        fault="refused-for-role",
        says=("EMR refused to create the cluster", "iam:PassRole", "Check FRUITS_EMR_SERVICE_ROLE"),
        clusters=(),
    ),
    Case(
        "RunJobFlow refused: validation",
        fault="refused-as-invalid",
        says=("EMR refused to create the cluster", "release label is invalid", "FRUITS_EMR_RELEASE is not an EMR release"),
        clusters=(),
    ),
    Case(
        "RunJobFlow accepted, answer lost",
        fault="answer-lost",
        succeeds=True,
        says=("Connection was closed before we received a valid response", "Adopting cluster"),
    ),
    Case(
        "provisioning fails: no capacity",
        fault="no-capacity",
        says=("ended before it was ready", "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ", "EC2 has no capacity"),
        clusters=WITH_ERRORS,
    ),
    Case(
        "provisioning fails: service role",
        settings={"FRUITS_EMR_SERVICE_ROLE": "nobody"},
        says=("ended before it was ready", "VALIDATION_ERROR", "Check FRUITS_EMR_SERVICE_ROLE"),
        clusters=WITH_ERRORS,
    ),
    Case(
        "bootstrap fails",
        fault="bootstrap-failed",
        says=("BOOTSTRAP_FAILURE", "No matching distribution found for numpy", "The nodes could not be prepared"),
        clusters=WITH_ERRORS,
    ),
    Case(
        "cluster dies while RUNNING (spot)",
        fault="node-terminated",
        says=("is CANCELLED", "INSTANCE_FAILURE: The master node was terminated", "EC2 terminated an instance"),
        clusters=WITH_ERRORS,
    ),
    Case("step fails", fault="step-failed", says=("is FAILED (Unknown Error: the application gave up)",)),
    Case(
        "step hangs",
        fault="step-hangs",
        settings={"FRUITS_STEP_TIMEOUT_S": "5"},
        says=("The step was cancelled because it did not end within 0:00:05",),
    ),
    Case("driver killed", fault="driver-killed", says=("is FAILED", "Step failed with exitCode 137", "Memory ran out")),
    Case("executor killed", fault="executor-killed", succeeds=True, says=("Published run",)),
    Case("API throttled", fault="throttled:2", succeeds=True, says=("EMR throttles RunJobFlow", "Published run")),
    Case("S3 answers 503 during the step", fault="s3-endpoint", succeeds=True, says=("Published run",)),
    Case(
        "credentials expire during the step",
        fault="credentials-expired:3",
        succeeds=True,
        says=("ExpiredTokenException", "was interrupted", "Published run"),
    ),
)

OF_AIRFLOW = (
    Case("scheduler killed while a step runs, and started again", succeeds=True),
    Case("triggerer killed while a step runs, and started again", succeeds=True),
    Case("worker killed between RunJobFlow and XCom", succeeds=True, says=("Adopting cluster",)),
    Case(
        "each task killed in its first try, the step's also after its wait",
        succeeds=True,
        says=("Adopting cluster", "Waiting for step"),
    ),
    Case("task cleared while its step runs", succeeds=True, says=("Adopting cluster",)),
    Case("run marked failed by hand while its step runs", shown="success"),
)


def table(cases: Iterable[Case]) -> str:
    """The table as Markdown."""
    return "\n".join([*HEAD, *(case.row for case in cases)])
