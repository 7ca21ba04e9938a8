"""### Fruit photographs to features

Turns the images below `s3://<bucket>/<image_prefix>` into validated, published features. The DAG takes an inventory and
creates a transient EMR cluster of matching size. One Spark step extracts the features of new images and reduces all
features with PCA. When little is new, the same application runs on the Airflow worker instead, without a cluster. The
result is then validated and published.

**Result** `s3://<bucket>/features/latest.json` names the published run. Its Parquet is in `features/runs/<run>/`.

**Rerun** Safe at any time. A failed run publishes nothing and leaves no cluster. A run that would repeat the published
one is skipped. Any other run extracts the features of new images only (`docs/guides/reruns.md`).

**Parameters** See the trigger form. The deployment's settings are the variables `FRUITS_*` (`include/settings.py`).
"""

from __future__ import annotations

from airflow.sdk import DAG, TriggerRule, chain

from fruits_airflow import run_context
from fruits_airflow.emr import operators
from fruits_airflow.emr.sensors import ClusterReadySensor
from fruits_airflow.params import DAILY_ON_EMR, REQUEST_TIMEOUT
from fruits_airflow.s3.sensors import ImagesSensor
from fruits_airflow.task_ids import (
    CLUSTER_READY,
    CREATE_CLUSTER,
    FEATURIZE_AND_REDUCE,
    FEATURIZE_ON_WORKER,
    TERMINATE_CLUSTER,
    VALIDATE_ON_CLUSTER,
    WAIT_FOR_IMAGES,
)
from fruits_airflow.tasks.announce import announce
from fruits_airflow.tasks.featurize_on_worker import FeaturizeOnWorkerOperator, skip_without_need
from fruits_airflow.tasks.find_changes import find_changes
from fruits_airflow.tasks.plan_cluster import plan_cluster
from fruits_airflow.tasks.publish import publish
from fruits_airflow.tasks.remove_old_runs import remove_old_runs
from fruits_airflow.tasks.take_inventory import take_inventory
from fruits_airflow.tasks.upload_application import upload_application
from fruits_airflow.tasks.validate_parquet import validate_parquet

with DAG(
    dag_id="fruits_features",
    description="Extracts, validates and publishes features of fruit photographs on a transient EMR cluster",
    doc_md=__doc__,
    schedule="@daily",
    tags=["fruits", "emr", "spark"],
    **DAILY_ON_EMR,
) as dag:
    wait_for_images = ImagesSensor(task_id=WAIT_FOR_IMAGES, execution_timeout=REQUEST_TIMEOUT)
    featurize_on_worker = FeaturizeOnWorkerOperator(
        task_id=FEATURIZE_ON_WORKER,
        execution_timeout=REQUEST_TIMEOUT,
        doc_md="Runs the application on this worker if little is new. Skipped if `plan_cluster` has planned a cluster, "
        "or if the worker cannot run the application. The next tasks then create a cluster.",
    )
    create_cluster = operators.CreateClusterOperator(
        task_id=CREATE_CLUSTER,
        pre_execute=skip_without_need,
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        job_flow_overrides=run_context.job_flow,
        retries=4,
        execution_timeout=REQUEST_TIMEOUT,
        doc_md="Creates the cluster and returns its id without waiting. A retry adopts the cluster of an earlier try. "
        "Skipped if the application has run on a worker.",
    )
    cluster_ready = ClusterReadySensor(
        task_id=CLUSTER_READY,
        job_flow_id=create_cluster.output,
        doc_md="Waits until the cluster accepts steps. Fails with EMR's reason when the cluster ends instead.",
    )
    featurize_and_reduce = operators.FeaturizeOperator(
        task_id=FEATURIZE_AND_REDUCE,
        job_flow_id=create_cluster.output,
        steps=run_context.steps,
        doc_md="Runs the Spark application as one EMR step. When it fails, the log contains the end of its output. "
        "There is no retry, because it would process the same images. After a lost worker, a retry adopts the step.",
    )
    validate_on_cluster = operators.ValidateOnClusterOperator(
        task_id=VALIDATE_ON_CLUSTER,
        job_flow_id=create_cluster.output,
        steps=run_context.validation_steps,
        doc_md="Reads all rows for the validation and the report in a second step. Skipped in runs of at most "
        "`FRUITS_VALIDATE_ON_CLUSTER_ABOVE` images. When it fails, the features stay in the cache.",
    )
    terminate_cluster = operators.TerminateClusterOperator(
        task_id=TERMINATE_CLUSTER,
        job_flow_id=create_cluster.output,
        retries=5,
        execution_timeout=REQUEST_TIMEOUT,
        doc_md="Ends the cluster in any case, waits until it is terminated, and logs its cost.",
    ).as_teardown(setups=create_cluster, on_failure_fail_dagrun=True)

    planned = plan_cluster()
    validated = validate_parquet.override(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)()
    chain(
        wait_for_images,
        take_inventory(),
        upload_application(),
        find_changes(),
        planned,
        featurize_on_worker,
        create_cluster,
        cluster_ready,
        featurize_and_reduce,
        validate_on_cluster,
        terminate_cluster,
    )
    chain(planned, create_cluster)
    chain(
        [featurize_on_worker, featurize_and_reduce, validate_on_cluster, terminate_cluster],
        validated,
        publish(),
        [announce(), remove_old_runs()],
    )
