"""Sensors: waiting for images and for a cluster, each with an end and with a sentence when it ends badly."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.sensors.emr import EmrJobFlowSensor
from airflow.providers.amazon.aws.triggers.emr import EmrCreateJobFlowTrigger
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSensorTimeout
from botocore.exceptions import ClientError

from fruits_airflow import templates, waiting
from fruits_airflow.aws import patience, s3
from fruits_airflow.diagnosis import ENDED_STATES, doctor
from fruits_airflow.links import ClusterLink, LogsLink
from fruits_airflow.triggers import ImagesTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

LONGEST_START_S = 30 * 60
READY_STATES = ("RUNNING", "WAITING")


class ImagesSensor(BaseOperator):
    """Waits until a bucket holds images below a prefix: at least one, and, as wanted, all of them.

    Args:
        bucket: the bucket's name (templated); the run's by default.
        prefix: the prefix, empty or ending in "/" (templated); the run's by default.
        wait_minutes: how long to wait (templated); this and what follows are the run's parameters by default.
        quiet_minutes: for how long no object must have come (templated); 0 for not at all.
        marker: key below the prefix of an object that tells that all images are there (templated); empty for none.
        kwargs: as for `BaseOperator`.
    """

    deferrable = True
    poke_interval = 5
    aws_conn_id = S3Hook.default_conn_name
    template_fields: Sequence[str] = ("bucket", "prefix", "wait_minutes", "quiet_minutes", "marker")

    def __init__(
        self,
        *,
        bucket: Any = templates.bucket,
        prefix: Any = templates.image_prefix,
        wait_minutes: Any = "{{ params.wait_minutes }}",
        quiet_minutes: Any = "{{ params.quiet_minutes }}",
        marker: Any = "{{ params.marker or '' }}",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault(
            "doc_md", "Waits in the triggerer, at most `wait_minutes`, for images, `quiet_minutes` and the `marker`."
        )
        super().__init__(**kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self.wait_minutes = wait_minutes
        self.quiet_minutes = quiet_minutes
        self.marker = marker

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow's signature
        """Look once, then wait in the triggerer.

        Raises:
            AirflowFailException: there is no such bucket, or no access to it.
        """
        wanted = self._wanted()
        try:
            lack = waiting.look(wanted, self.aws_conn_id)
        except ClientError as error:
            sentence = waiting.refusal(error, wanted)
            if sentence is None:
                raise
            raise AirflowFailException(sentence) from error
        if lack:
            self._defer(wanted, lack)

    def _wanted(self) -> waiting.Wanted:
        return waiting.Wanted(self.bucket, self.prefix, float(self.quiet_minutes), self.marker or None)

    def _defer(self, wanted: waiting.Wanted, lack: waiting.Lack) -> None:
        wait = timedelta(minutes=float(self.wait_minutes))
        self.log.info("%s yet: waiting up to %s.", lack.seen, wait)
        self.defer(
            trigger=ImagesTrigger(
                **asdict(wanted),
                deadline=(datetime.now(UTC) + wait).timestamp(),
                poke_interval=self.poke_interval,
                aws_conn_id=self.aws_conn_id,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:  # noqa: ARG002
        """Continue after the wait.

        Raises:
            AirflowFailException: S3 refused to tell.
            AirflowSensorTimeout: what is wanted did not come in time.
        """
        if event["status"] == "refused":
            raise AirflowFailException(event["message"])
        if event["status"] == "timeout":
            raise AirflowSensorTimeout(
                f"{event['seen']} within {self.wait_minutes} minutes: {event['way_out']}, "
                "or wait longer with `wait_minutes`."
            )


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
            why = doctor(self.hook.conn, s3(aws_conn_id=self.aws_conn_id), self.job_flow_id).of_cluster()
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
