"""Why a cluster or a step failed, as one sentence for Airflow's task and with the logs' ends in its log.

EMR's reason is in the sentence, with a way out where it is known (`advice`); what the machines wrote is in the log.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from fruits_airflow.emr.logs import ClusterLogs, await_found
from fruits_airflow.emr.remedies import advice_for

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
    """Looks at one cluster.

    Args:
        emr: an EMR client.
        s3: an S3 client.
        cluster_id: `j-…`.
        log_wait_s: how long to wait for the cluster's end, and then for logs, which EMR delivers minutes late.
    """

    emr: EMRClient
    s3: S3Client
    cluster_id: str
    log_wait_s: float

    def of_cluster(self) -> str:
        """Say why the cluster ended."""
        cluster = self._ended_cluster()
        reason = _cluster_reason(cluster["Status"])
        tails = {}
        if "BOOTSTRAP_FAILURE" in reason:
            tails = ClusterLogs.of(self.s3, cluster).of_bootstrap(reason, wait_s=self.log_wait_s)
            _show(tails, "bootstrap action")
        return _with_advice(f"Cluster {self.cluster_id} is {cluster['Status']['State']} ({reason})", tails)

    def of_step(self, step_id: str) -> str:
        """Say why a step is not completed, and why the cluster ended, if it did."""
        cluster = self._ended_cluster()
        status = self.emr.describe_step(ClusterId=self.cluster_id, StepId=step_id)["Step"]["Status"]
        tails = ClusterLogs.of(self.s3, cluster).of_step(step_id, wait_s=self.log_wait_s)
        _show(tails, "step")
        details: Mapping[str, Any] = status.get("FailureDetails") or status.get("StateChangeReason") or {}
        reason = ": ".join(str(details[key]).rstrip(". ") for key in ("Reason", "Message") if details.get(key))
        sentence = (
            f"Step {step_id} of cluster {self.cluster_id} is {status['State']} ({reason or 'EMR tells no reason'})"
        )
        if cluster["Status"]["State"] in ENDED_STATES:
            sentence += f"; the cluster is {cluster['Status']['State']} ({_cluster_reason(cluster['Status'])})"
        return _with_advice(sentence, tails)

    def _ended_cluster(self) -> ClusterTypeDef:
        """Look when the cluster has ended, if it is ending: EMR may tell of its errors only then."""

        def cluster() -> ClusterTypeDef:
            return self.emr.describe_cluster(ClusterId=self.cluster_id)["Cluster"]

        return await_found(cluster, self.log_wait_s, lambda found: found["Status"]["State"] != "TERMINATING")


def diagnose(emr: EMRClient, s3: S3Hook, cluster_id: str) -> ClusterDiagnosis:
    """A doctor who is as patient as the deployment's settings say."""
    from include.settings import settings

    return ClusterDiagnosis(emr, cast("S3Client", s3.conn), cluster_id, settings().log_wait_s)


def of_refusal(error: ClientError) -> str:
    """Say why EMR did not accept a cluster."""
    told = error.response["Error"]
    return _with_advice(f"EMR refused to create the cluster ({told['Code']}: {told['Message'].rstrip('. ')})", {})


def _cluster_reason(status: Mapping[str, Any]) -> str:
    """EMR's reason code and message, and its more exact codes where it gives them."""
    reason = status.get("StateChangeReason", {})
    codes = [reason.get("Code"), *(one.get("ErrorCode") for one in status.get("ErrorDetails", ()))]
    return f"{', '.join(filter(None, codes))}: {reason.get('Message', '').rstrip('. ')}"


def _show(tails: Mapping[str, str], what: str) -> None:
    for stream, tail in tails.items():
        log.error("Last lines of the %s's %s:\n%s", what, stream, tail)
    if not tails:
        log.error("EMR has not delivered the %s's logs yet; look below its LogUri in some minutes.", what)


def _with_advice(sentence: str, tails: Mapping[str, str]) -> str:
    """The reason's own words tell more than what stands in a log, so they are asked first."""
    advice = advice_for(sentence) or next(filter(None, map(advice_for, tails.values())), "")
    return f"{sentence}. {advice}".strip()
