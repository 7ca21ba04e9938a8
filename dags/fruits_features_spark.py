"""### Fruit photographs to features, on a Spark cluster that is already there

The same flow as `fruits_features` for teams with a Spark cluster of their own: no cluster is created, `spark-submit`
runs against connection `spark_default`. Inventory, application, validation and publication are the same code.

**Result** `s3://<bucket>/features/latest.json` names the published run.

**Rerun** Safe at any time, as with `fruits_features`.

**The cluster** reaches `s3://` itself, and its Python has what `spark_apps/requirements.txt` lists.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, chain

from fruits_airflow import run_context
from fruits_airflow.params import DAILY
from fruits_airflow.s3.sensors import ImagesSensor
from fruits_airflow.tasks.announce import announce
from fruits_airflow.tasks.find_changes import find_changes
from fruits_airflow.tasks.publish import publish
from fruits_airflow.tasks.remove_old_runs import remove_old_runs
from fruits_airflow.tasks.take_inventory import take_inventory
from fruits_airflow.tasks.upload_application import upload_application
from fruits_airflow.tasks.validate_parquet import validate_parquet

with DAG(
    dag_id="fruits_features_spark",
    description="Fruit photographs in S3 to validated, published features, on a Spark cluster that is already there",
    doc_md=__doc__,
    schedule="@daily",
    tags=["fruits", "spark"],
    **DAILY,
) as dag:
    wait_for_images = ImagesSensor(task_id="wait_for_images")
    artifacts = upload_application(for_emr=False)  # the cluster that is there has its requirements
    featurize_and_reduce = SparkSubmitOperator(
        task_id="featurize_and_reduce",
        name="fruits_features",
        application=artifacts["launcher"],  # type: ignore[index]
        py_files=artifacts["application"],  # type: ignore[index]
        application_args=run_context.application_args,  # type: ignore[arg-type] # rendered by Airflow
        execution_timeout=timedelta(hours=6),
        retries=0,  # Spark retries its tasks itself; a failed application wants its cause read, not the same cost again
        doc_md="Submits the Spark application to connection `spark_default` and shows its output in this log.",
    )
    chain(
        wait_for_images,
        take_inventory(),
        artifacts,
        find_changes(),
        featurize_and_reduce,
        validate_parquet(),
        publish(),
        [announce(), remove_old_runs()],
    )
