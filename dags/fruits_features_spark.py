"""### Fruit photographs to features on an existing Spark cluster

Runs the flow of `fruits_features` without creating a cluster. `spark-submit` uses the connection `spark_default`.
Inventory, application, validation and publication are the same code.

**Result** `s3://<bucket>/features/latest.json` names the published run.

**Rerun** Safe at any time, like `fruits_features`.

**Requirements** The cluster reads and writes `s3://` URIs with its own credentials. Its Python environment contains the
packages of `spark_apps/requirements.txt`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, chain

from fruits_airflow import run_context
from fruits_airflow.params import DAILY, REQUEST_TIMEOUT
from fruits_airflow.s3.sensors import ImagesSensor
from fruits_airflow.spark import CONNECTION_ID, require_cluster
from fruits_airflow.task_ids import FEATURIZE_AND_REDUCE, WAIT_FOR_IMAGES
from fruits_airflow.tasks.announce import announce
from fruits_airflow.tasks.find_changes import find_changes
from fruits_airflow.tasks.publish import publish
from fruits_airflow.tasks.remove_old_runs import remove_old_runs
from fruits_airflow.tasks.take_inventory import take_inventory
from fruits_airflow.tasks.upload_application import upload_application
from fruits_airflow.tasks.validate_parquet import validate_parquet

with DAG(
    dag_id="fruits_features_spark",
    description="Extracts, validates and publishes features of fruit photographs on an existing Spark cluster",
    doc_md=__doc__,
    schedule="@daily",
    tags=["fruits", "spark"],
    **DAILY,
) as dag:
    wait_for_images = ImagesSensor(
        task_id=WAIT_FOR_IMAGES,
        execution_timeout=REQUEST_TIMEOUT,
        pre_execute=require_cluster,
    )
    artifacts = upload_application(for_emr=False)  # the requirements are installed on the cluster
    featurize_and_reduce = SparkSubmitOperator(
        task_id=FEATURIZE_AND_REDUCE,
        conn_id=CONNECTION_ID,
        pre_execute=require_cluster,
        name="fruits_features",
        application=artifacts["launcher"],  # type: ignore[index]
        py_files=artifacts["application"],  # type: ignore[index]
        application_args=run_context.application_args,  # type: ignore[arg-type] # a callable, which Airflow renders
        execution_timeout=timedelta(hours=6),
        retries=0,  # Spark retries its tasks; a retry of the application would process the same images at the same cost
        doc_md="Submits the Spark application with connection `spark_default`. The log contains its output.",
    )
    chain(
        wait_for_images,
        take_inventory(),
        artifacts,
        find_changes(for_emr=False),  # the cluster has its size
        featurize_and_reduce,
        validate_parquet(),
        publish(),
        [announce(), remove_old_runs()],
    )
