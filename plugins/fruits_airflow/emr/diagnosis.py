"""Failure messages for clusters and steps.

A message contains EMR's reason and, for known failures, a remedy (`fruits_airflow.emr.remedies`). The last lines of the
cluster's own logs go to the task's log.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from fruits_airflow.emr.logs import ClusterLogs, poll_until
from fruits_airflow.emr.remedies import remedy_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.exceptions import ClientError
    from mypy_boto3_emr import EMRClient
    from mypy_boto3_emr.type_defs import ClusterTypeDef
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

ENDED_STATES = ("TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS")


@dataclass(frozen=True)
class ClusterDiagnosis:
    """Diagnosis of one cluster.

    Args:
        emr: EMR client.
        s3: S3 client.
        cluster_id: Id of the cluster (`j-…`).
        log_wait_s: Longest wait in seconds for the cluster's end, and again for its logs. EMR delivers logs minutes
            after they are written.
    """

    emr: EMRClient
    s3: S3Client
    cluster_id: str
    log_wait_s: float

    def of_cluster(self) -> str:
        """Return the reason why the cluster ended, and log the output of a failed bootstrap action."""
        cluster = self._ended_cluster()
        reason = _cluster_reason(cluster["Status"])
        tails = {}
        if "BOOTSTRAP_FAILURE" in reason:
            tails = ClusterLogs.of(self.s3, cluster).of_bootstrap(reason, wait_s=self.log_wait_s)
            _log_tails(tails, "bootstrap action")
        return _with_remedy(f"Cluster {self.cluster_id} is {cluster['Status']['State']} ({reason})", tails)

    def of_step(self, step_id: str) -> str:
        """Return the reason why a step and, if it ended, its cluster failed, and log the step's output."""
        cluster = self._ended_cluster()
        status = self.emr.describe_step(ClusterId=self.cluster_id, StepId=step_id)["Step"]["Status"]
        tails = ClusterLogs.of(self.s3, cluster).of_step(step_id, wait_s=self.log_wait_s)
        _log_tails(tails, "step")
        details: Mapping[str, Any] = status.get("FailureDetails") or status.get("StateChangeReason") or {}
        reason = ": ".join(str(details[key]).rstrip(". ") for key in ("Reason", "Message") if details.get(key))
        sentence = (
            f"Step {step_id} of cluster {self.cluster_id} is {status['State']} ({reason or 'EMR reports no reason'})"
        )
        if cluster["Status"]["State"] in ENDED_STATES:
            sentence += f"; the cluster is {cluster['Status']['State']} ({_cluster_reason(cluster['Status'])})"
        return _with_remedy(sentence, tails)

    def _ended_cluster(self) -> ClusterTypeDef:
        """Return the cluster's description once it is no longer ending, because EMR may report its errors only then."""

        def describe() -> ClusterTypeDef:
            return self.emr.describe_cluster(ClusterId=self.cluster_id)["Cluster"]

        return poll_until(
            lambda cluster: cluster["Status"]["State"] != "TERMINATING", fetch=describe, timeout_s=self.log_wait_s
        )


def diagnose(emr: EMRClient, s3: S3Hook, cluster_id: str) -> ClusterDiagnosis:
    """Return the diagnosis of a cluster with the deployment's waiting time (`FRUITS_LOG_WAIT_S`)."""
    from include.settings import settings

    return ClusterDiagnosis(emr, cast("S3Client", s3.conn), cluster_id, settings().log_wait_s)


def explain_refusal(error: ClientError) -> str:
    """Return the reason why EMR refused to create a cluster."""
    reason = error.response["Error"]
    return _with_remedy(f"EMR refused to create the cluster ({reason['Code']}: {reason['Message'].rstrip('. ')})", {})


def _cluster_reason(status: Mapping[str, Any]) -> str:
    """Return EMR's reason code, detailed error codes and message."""
    reason = status.get("StateChangeReason", {})
    codes = [reason.get("Code"), *(detail.get("ErrorCode") for detail in status.get("ErrorDetails", ()))]
    return f"{', '.join(filter(None, codes))}: {reason.get('Message', '').rstrip('. ')}"


def _log_tails(tails: Mapping[str, str], source: str) -> None:
    for stream, tail in tails.items():
        log.error("Last lines of the %s's %s:\n%s", source, stream, tail)
    if not tails:
        log.error(
            "EMR has not delivered the logs of the %s yet. Look below the cluster's LogUri in a few minutes.", source
        )


def _with_remedy(sentence: str, tails: Mapping[str, str]) -> str:
    """Append the remedy for EMR's reason or else for the logs. EMR's reason is more specific."""
    remedy = remedy_for(sentence) or next(filter(None, map(remedy_for, tails.values())), "")
    return f"{sentence}. {remedy}".strip()
