"""Task `end_forgotten_clusters`: end orphan clusters, whose DAG run has ended or is unknown to Airflow.

A run normally ends its cluster in the teardown. An orphan remains when the last try of the setup died after EMR had
accepted the cluster, when a user deleted the run, or when Airflow was down. EMR's idle timeout ends clusters while this
DAG does not run either.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from airflow.providers.amazon.aws.hooks.emr import EmrHook
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import ClientError

from fruits_airflow.emr.owned_clusters import owned
from fruits_airflow.hooks.aws import RETRY_CONFIG

if TYPE_CHECKING:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from mypy_boto3_emr import EMRClient

    from fruits_airflow.emr.owned_clusters import OwnedCluster
    from include.emr.tags import ClusterOwner

log = logging.getLogger(__name__)

UNFINISHED_STATES = ["queued", "running"]


@task(doc_md="Ends each cluster of this deployment whose run has ended or is unknown. Returns one record per cluster.")
def end_forgotten_clusters() -> list[dict[str, str]]:
    """Check each active cluster of this deployment, and end orphans.

    Returns:
        One record per cluster: id, name, DAG, run, state of the run, and action.

    Raises:
        AirflowException: A cluster without termination protection could not be ended.
    """
    from include.settings import settings

    task_instance = cast("RuntimeTaskInstance", get_current_context()["ti"])
    hook = EmrHook(emr_conn_id=None, config=RETRY_CONFIG)
    emr: EMRClient = hook.conn
    deployment = settings().deployment_name
    report = [_end_orphan(emr, cluster, _run_state(task_instance, cluster.owner)) for cluster in owned(emr, deployment)]
    log.info("Deployment %s has %d active clusters.", deployment, len(report))
    if failed := [record["cluster"] for record in report if record["done"] == "failed"]:
        raise AirflowException(
            f"Clusters could not be ended: {', '.join(failed)}. The log above contains EMR's error. Check the "
            "permission elasticmapreduce:TerminateJobFlows of Airflow's role, or end them in the EMR console."
        )
    return report


def _run_state(task_instance: RuntimeTaskInstance, owner: ClusterOwner) -> str:
    """Return the state of a cluster's run: `under way`, `over` or `unknown`."""
    known = task_instance.get_dr_count(owner.dag_id, run_ids=[owner.run_id])
    unfinished = task_instance.get_dr_count(owner.dag_id, run_ids=[owner.run_id], states=UNFINISHED_STATES)
    return "under way" if unfinished else "over" if known else "unknown"


def _end_orphan(emr: EMRClient, cluster: OwnedCluster, state: str) -> dict[str, str]:
    """End a cluster unless its run is unfinished, and return its record."""
    done = "kept" if state == "under way" else _end(emr, cluster, state)
    log.info("Cluster %s (%s): run state %s, action %s.", cluster.id, cluster.name, state, done)
    owner = cluster.owner
    ids = {"cluster": cluster.id, "name": cluster.name, "dag_id": owner.dag_id, "run_id": owner.run_id}
    return {**ids, "run": state, "done": done}


def _end(emr: EMRClient, cluster: OwnedCluster, state: str) -> str:
    try:
        emr.terminate_job_flows(JobFlowIds=[cluster.id])
    except ClientError as error:
        if "termination protected" in str(error):
            log.warning(
                "Cluster %s cannot be ended and still causes cost. Its run is %s, but it has termination protection. "
                "Remove the protection with `aws emr modify-cluster-attributes --cluster-id %s "
                "--no-termination-protected`. The next run of this DAG then ends the cluster.",
                cluster.id,
                state,
                cluster.id,
            )
            return "protected"
        log.exception("Cluster %s could not be ended.", cluster.id)
        return "failed"
    return "ended"
