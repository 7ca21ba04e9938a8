"""The sensor that waits for a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.sensors.emr import EmrJobFlowSensor
from airflow.providers.amazon.aws.triggers.emr import EmrCreateJobFlowTrigger
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from fruits_airflow.emr.diagnosis import ENDED_STATES, diagnose
from fruits_airflow.hooks.aws import patience, s3
from fruits_airflow.links import ClusterLink, LogsLink

if TYPE_CHECKING:
    from airflow.sdk import Context

LONGEST_START_S = 30 * 60
READY_STATES = ("RUNNING", "WAITING")


class ClusterReadySensor(EmrJobFlowSensor):
    """Waits until a cluster takes steps; fails with EMR's reason when it ends instead.

    The provider's deferrable sensor waits for the end of a cluster, and its `job_flow_waiting` waiter takes an ended
    one for a ready one. So the waiter only tells when to look again, and the look decides.
    """

    operator_extra_links = (ClusterLink(), LogsLink())  # type: ignore[assignment]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(target_states=READY_STATES, failed_states=ENDED_STATES, deferrable=True, **kwargs)

    def get_emr_response(self, context: Context) -> dict[str, Any]:
        """Describe the cluster, and link to it and to its logs."""
        response: dict[str, Any] = super().get_emr_response(context)
        LogsLink.of(response["Cluster"].get("LogUri"), self.job_flow_id, context, self.hook)
        return response

    def poke(self, context: Context) -> bool:
        """Look once.

        Raises:
            AirflowFailException: the cluster ended; another try would find it ended too.
        """
        try:
            ready: bool = super().poke(context)
        except AirflowException as error:
            why = diagnose(self.hook.conn, s3(aws_conn_id=self.aws_conn_id), self.job_flow_id).of_cluster()
            raise AirflowFailException(f"The cluster ended before it was ready. {why}") from error
        return ready

    def execute(self, context: Context) -> None:
        """Look once, then wait in the triggerer."""
        if self.poke(context):
            return
        self.defer(
            trigger=EmrCreateJobFlowTrigger(
                job_flow_id=self.job_flow_id,
                aws_conn_id=self.aws_conn_id,
                botocore_config=self.botocore_config,
                **patience(LONGEST_START_S),
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Look again.

        Raises:
            AirflowException: it is not ready after the longest wait.
        """
        if not self.poke(context):
            raise AirflowException(f"Cluster {self.job_flow_id} is not ready: {(event or {}).get('message')}")
