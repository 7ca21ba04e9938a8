"""Sensors for EMR clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.sensors.emr import EmrJobFlowSensor
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from fruits_airflow.emr.diagnosis import ENDED_STATES, diagnose
from fruits_airflow.emr.triggers import ClusterStartTrigger
from fruits_airflow.hooks.aws import s3, waiter_config
from fruits_airflow.links import ClusterLink, LogsLink

if TYPE_CHECKING:
    from airflow.sdk import Context

MAX_START_S = 30 * 60
"""Longest wait for a cluster to become ready, in seconds."""
READY_STATES = ("RUNNING", "WAITING")


class ClusterReadySensor(EmrJobFlowSensor):
    """Wait until a cluster accepts steps. Fail with EMR's reason when it ends instead.

    The provider's deferrable sensor waits for the end of a cluster, and its `job_flow_waiting` waiter also succeeds for
    a cluster that has ended. This sensor therefore checks the cluster's state again after each wait.
    """

    operator_extra_links = (ClusterLink(), LogsLink())  # type: ignore[assignment] # other links than the provider's

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(target_states=READY_STATES, failed_states=ENDED_STATES, deferrable=True, **kwargs)

    def get_emr_response(self, context: Context) -> dict[str, Any]:
        """Return EMR's description of the cluster, and store the links to the cluster and its logs."""
        response: dict[str, Any] = super().get_emr_response(context)
        ClusterLink.to(self.job_flow_id, context, self.hook)
        LogsLink.of(response["Cluster"].get("LogUri"), self.job_flow_id, context, self.hook)
        return response

    def poke(self, context: Context) -> bool:
        """Check the cluster's state once.

        Raises:
            AirflowFailException: The cluster has ended. A retry would find the same cluster.
        """
        try:
            ready: bool = super().poke(context)
        except AirflowException as error:
            reason = diagnose(self.hook.conn, s3(aws_conn_id=self.aws_conn_id), self.job_flow_id).of_cluster()
            raise AirflowFailException(f"The cluster ended before it was ready. {reason}") from error
        return ready

    def execute(self, context: Context) -> None:
        """Check once, then wait in the triggerer."""
        if self.poke(context):
            return
        self.defer(
            trigger=ClusterStartTrigger(
                job_flow_id=self.job_flow_id, aws_conn_id=self.aws_conn_id, **waiter_config(MAX_START_S)
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Check again after the wait.

        Raises:
            AirflowException: The cluster is not ready after `MAX_START_S`.
        """
        if not self.poke(context):
            raise AirflowException(
                f"Cluster {self.job_flow_id} is not ready after {MAX_START_S // 60} minutes: "
                f"{(event or {}).get('message')}. Open the cluster in the EMR console, then clear this task."
            )
