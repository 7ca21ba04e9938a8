"""Ending clusters that nobody waits for any more: their DAG run is over, or Airflow knows it not.

A run ends its own cluster, whatever happens. What is left is what Airflow could not do: the last try of a setup died
after EMR had accepted the cluster, a run was deleted by hand, Airflow itself was away. EMR's idle timeout is the last
net, for when this is away too.
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

UNDER_WAY = ["queued", "running"]


@task(doc_md="Ends each of this deployment's clusters whose run is over or unknown; returns what it found and did.")
def end_forgotten_clusters() -> list[dict[str, str]]:
    """Look at every active cluster of this deployment.

    Returns:
        One record a cluster: id, name, DAG, run, the run's state, and what was done.

    Raises:
        AirflowException: a cluster could not be ended, and it is not for its termination protection.
    """
    from include.settings import settings

    task_instance = cast("RuntimeTaskInstance", get_current_context()["ti"])
    hook = EmrHook(emr_conn_id=None, config=RETRY_CONFIG)
    emr: EMRClient = hook.conn
    deployment = settings().deployment_name
    report = [_tidy(emr, cluster, _state(task_instance, cluster.owner)) for cluster in owned(emr, deployment)]
    log.info("Deployment %s has %d active clusters.", deployment, len(report))
    if failed := [record["cluster"] for record in report if record["done"] == "failed"]:
        raise AirflowException(f"These clusters could not be ended, see above: {', '.join(failed)}.")
    return report


def _state(task_instance: RuntimeTaskInstance, origin: ClusterOwner) -> str:
    """The state of a cluster's run: under way, over or unknown."""
    known = task_instance.get_dr_count(origin.dag_id, run_ids=[origin.run_id])
    under_way = task_instance.get_dr_count(origin.dag_id, run_ids=[origin.run_id], states=UNDER_WAY)
    return "under way" if under_way else "over" if known else "unknown"


def _tidy(emr: EMRClient, cluster: OwnedCluster, state: str) -> dict[str, str]:
    done = "kept" if state == "under way" else _end(emr, cluster, state)
    log.info("Cluster %s (%s): its run is %s, it is %s.", cluster.id, cluster.name, state, done)
    origin = cluster.owner
    ids = {"cluster": cluster.id, "name": cluster.name, "dag_id": origin.dag_id, "run_id": origin.run_id}
    return {**ids, "run": state, "done": done}


def _end(emr: EMRClient, cluster: OwnedCluster, state: str) -> str:
    try:
        emr.terminate_job_flows(JobFlowIds=[cluster.id])
    except ClientError as error:
        if "termination protected" in str(error):
            log.warning(
                "Cluster %s goes on costing money though its run is %s: it is protected from termination. Take that "
                "away (`aws emr modify-cluster-attributes --cluster-id %s --no-termination-protected`), and the next "
                "hour ends it.",
                cluster.id,
                state,
                cluster.id,
            )
            return "protected"
        log.exception("Cluster %s could not be ended.", cluster.id)
        return "failed"
    return "ended"
