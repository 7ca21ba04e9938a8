"""### Fruit photographs to features

Turns the images below `s3://<bucket>/<image_prefix>` into validated, published features: inventory, a transient EMR
cluster sized by it, one Spark step that describes every image and reduces the features with PCA, validation,
publication.

**Result** `s3://<bucket>/features/latest.json` names the published run; its Parquet lies below `features/runs/<run>/`.

**Rerun** Safe at any time: a failed run publishes nothing and leaves no cluster; a run that would only repeat the
published one is skipped; any other describes what is new, and publishes beside the runs before it (`docs/guides/reruns.md`).

**Parameters** are described in the trigger form. Settings of the deployment are variables `FRUITS_*`
(`include/settings.py`).
"""

from __future__ import annotations

from airflow.sdk import DAG, chain

from fruits_airflow import run_context
from fruits_airflow.emr.operators import CreateClusterOperator, RunStepOperator, TerminateClusterOperator
from fruits_airflow.emr.sensors import ClusterReadySensor
from fruits_airflow.params import DAILY_ON_EMR
from fruits_airflow.s3.sensors import ImagesSensor
from fruits_airflow.tasks.announce import announce
from fruits_airflow.tasks.find_changes import find_changes
from fruits_airflow.tasks.plan_cluster import plan_cluster
from fruits_airflow.tasks.publish import publish
from fruits_airflow.tasks.remove_old_runs import remove_old_runs
from fruits_airflow.tasks.take_inventory import take_inventory
from fruits_airflow.tasks.upload_application import upload_application
from fruits_airflow.tasks.validate_parquet import validate_parquet

with DAG(
    dag_id="fruits_features",
    description="Fruit photographs in S3 to validated, published features, on a transient EMR cluster",
    doc_md=__doc__,
    schedule="@daily",
    tags=["fruits", "emr", "spark"],
    **DAILY_ON_EMR,
) as dag:
    wait_for_images = ImagesSensor(task_id="wait_for_images")
    create_cluster = CreateClusterOperator(
        task_id="create_cluster",
        job_flow_overrides=run_context.job_flow,
        retries=4,
        doc_md="Asks EMR for a cluster and returns its id at once. A retry adopts the cluster of an earlier try.",
    )
    cluster_ready = ClusterReadySensor(
        task_id="cluster_ready",
        job_flow_id=create_cluster.output,
        doc_md="Waits until the cluster takes steps; fails with EMR's reason when it ends instead.",
    )
    featurize_and_reduce = RunStepOperator(
        task_id="featurize_and_reduce",
        job_flow_id=create_cluster.output,
        steps=run_context.steps,
        doc_md="Runs the Spark application as one EMR step. When it fails, the end of its output is in this log, and "
        "there is no other try: that would meet the same images. A retry after a lost worker takes up the step again.",
    )
    terminate_cluster = TerminateClusterOperator(
        task_id="terminate_cluster",
        job_flow_id=create_cluster.output,
        retries=5,
        doc_md="Ends the cluster, whatever happened, and waits until it is gone: the bill ends here.",
    ).as_teardown(setups=create_cluster, on_failure_fail_dagrun=True)

    validated = validate_parquet()
    chain(
        wait_for_images,
        take_inventory(),
        upload_application(),
        find_changes(),
        plan_cluster(),
        create_cluster,
        cluster_ready,
        featurize_and_reduce,
        terminate_cluster,
    )
    chain([featurize_and_reduce, terminate_cluster], validated, publish(), [announce(), remove_old_runs()])
