"""Operators: the Amazon provider's, where they leave a cluster running or a failure unexplained.

Each class mends one thing and says which; the requests themselves are built in `include.emr`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.links.emr import EmrClusterLink
from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator,
    EmrCreateJobFlowOperator,
    EmrTerminateJobFlowOperator,
)
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import templates
from fruits_airflow.clusters import COST_XCOM, cluster_cost
from fruits_airflow.links import ReportLink, RunFolderLink, StepLogsLink
from fruits_airflow.step_logs import fetch_tails
from fruits_airflow.triggers import StepProgressTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.amazon.aws.hooks.emr import EmrHook
    from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger
    from mypy_boto3_emr import EMRClient
    from mypy_boto3_s3 import S3Client

ACTIVE_STATES = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]


class CreateClusterOperator(EmrCreateJobFlowOperator):
    """Creates a cluster and returns its id at once, and leaves none behind when it fails.

    The provider's operator cleans up only after a failed wait. Here any failure after EMR accepted the cluster ends
    it, and a retry adopts the cluster of an earlier try whose answer was lost on its way to Airflow's database: the
    cluster's name is unique to its DAG run. Retries are Airflow's alone, since botocore repeats a RunJobFlow whose
    answer it did not get without looking, and so makes one cluster more with each.
    """

    def __init__(self, **kwargs: Any) -> None:
        once = {"retries": {"total_max_attempts": 1}}
        super().__init__(emr_conn_id=None, wait_for_completion=False, botocore_config=once, **kwargs)
        self._job_flow_id: str | None = None

    def execute(self, context: Context) -> str | None:
        """Find or create the cluster."""
        name = cast("dict[str, Any]", self.job_flow_overrides)["Name"]
        adopted: str | None = self.hook.get_cluster_id_by_name(name, ACTIVE_STATES)
        if adopted:
            self.log.info("Adopting cluster %s, which an earlier try created as %r.", adopted, name)
            return adopted
        try:
            created: str | None = super().execute(context)
        except BaseException:
            if self._job_flow_id:
                self.log.warning("Ending cluster %s: its creation failed half-way.", self._job_flow_id)
                _emr(self).terminate_job_flows(JobFlowIds=[self._job_flow_id])
            raise
        return created


class RunStepOperator(EmrAddStepsOperator):
    """Runs one step, deferred, shows how far it is, and why it failed.

    The provider reports a failed step by its id alone. Here the log holds EMR's reason and the end of the step's
    output, fetched from the cluster's `LogUri`.

    Args:
        progress: URI of the `progress.json` that the step keeps up to date (templated); the run's by default.
        kwargs: as for `EmrAddStepsOperator`.
    """

    template_fields: Sequence[str] = (*EmrAddStepsOperator.template_fields, "progress")
    operator_extra_links = (EmrClusterLink(), StepLogsLink(), RunFolderLink(), ReportLink())  # type: ignore[assignment]

    def __init__(self, *, progress: Any = templates.progress, **kwargs: Any) -> None:
        super().__init__(deferrable=True, **kwargs)
        self.progress = progress

    def execute(self, context: Context) -> list[str]:
        """Add the step, and wait in the triggerer."""
        logs = _emr(self).describe_cluster(ClusterId=str(self.job_flow_id))["Cluster"].get("LogUri")
        if logs:
            StepLogsLink.to(f"{logs.rstrip('/')}/{self.job_flow_id}/steps", context, self)
        RunFolderLink.to(self.progress.rpartition("/")[0], context, self)
        return super().execute(context)

    def defer(self, *, trigger: BaseTrigger, **kwargs: Any) -> NoReturn:
        """Wait by the trigger that tells the progress."""
        _, arguments = trigger.serialize()
        super().defer(trigger=StepProgressTrigger(progress=self.progress, **arguments), **kwargs)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Continue when the step is over.

        Raises:
            AirflowFailException: it failed; a second try would meet the same images, so there is none.
        """
        if event and event.get("status") == "success":
            return super().execute_complete(context, event)
        step_id = (event or {}).get("value", [None])[0]
        raise AirflowFailException(self._failure(step_id, event))

    def _failure(self, step_id: str | None, event: dict[str, Any] | None) -> str:
        if step_id is None:
            return f"The wait for the step of cluster {self.job_flow_id} ended without a step: {event}"
        status = _emr(self).describe_step(ClusterId=str(self.job_flow_id), StepId=step_id)["Step"]["Status"]
        s3 = cast("S3Client", S3Hook(aws_conn_id=self.aws_conn_id).conn)
        tails = fetch_tails(_emr(self), s3, cluster_id=str(self.job_flow_id), step_id=step_id)
        for stream, tail in tails.items():
            self.log.error("Last lines of the step's %s:\n%s", stream, tail)
        if not tails:
            self.log.error("EMR has not delivered the step's logs yet; look below its LogUri in some minutes.")
        details = status.get("FailureDetails") or status.get("StateChangeReason") or {}
        reason = details.get("Message") or details.get("Reason") or (event or {}).get("message")
        return f"Step {step_id} of cluster {self.job_flow_id} is {status['State']}: {reason}"


class TerminateClusterOperator(EmrTerminateJobFlowOperator):
    """Ends a cluster, waits until it is gone, however it went, and says what it has cost.

    The provider's operator fails when the cluster ended with errors. For a teardown that cluster is down as it
    should be: what went wrong is told by the task that met it.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(deferrable=True, **kwargs)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Continue when the wait is over.

        Raises:
            AirflowException: the cluster is still up.
        """
        state = _emr(self).describe_cluster(ClusterId=self.job_flow_id)["Cluster"]["Status"]["State"]
        if state in {"TERMINATED", "TERMINATED_WITH_ERRORS"}:
            self.log.info("Cluster %s is %s.", self.job_flow_id, state)
            context["ti"].xcom_push(key=COST_XCOM, value=cluster_cost(_emr(self), str(self.job_flow_id)))
            return
        super().execute_complete(context, event)


def _emr(operator: AwsBaseOperator[EmrHook]) -> EMRClient:
    """The operator's client, with the type that the provider does not tell."""
    return cast("EMRClient", operator.hook.conn)
