"""### Images per category

Example of a DAG that is scheduled on the asset `fruits_features`. It runs after each publication and reads the run that
the asset's event names, through the connection `aws_default`. It does not run after backfills or skipped runs.

**Result** The number of images per category, in the log and in the XCom of `count_images`.

**Rerun** Safe at any time, because a published run does not change. A manual run reads the latest published run.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.hooks import aws
from fruits_airflow.hooks.documents import read_latest
from fruits_airflow.params import PARAMS, REQUEST_TIMEOUT, START
from fruits_airflow.tasks.announce import FEATURES

log = logging.getLogger(__name__)

with DAG(
    dag_id="fruits_example_downstream",
    description="Example: counts the images of each category after each publication of features",
    doc_md=__doc__,
    schedule=[FEATURES],
    start_date=START,
    catchup=False,
    tags=["fruits", "example"],
    params={name: PARAMS[name] for name in ("bucket", "dataset")},
    default_args={"owner": "fruits", "retries": 2, "execution_timeout": REQUEST_TIMEOUT},
) as dag:

    @task(doc_md="Counts the images of each category in the published run.")
    def count_images() -> dict[str, int]:
        """Return the number of images per category."""
        from fruits_features import dataset  # noqa: PLC0415 - polars is not needed to parse the DAG

        context = get_current_context()
        events = context["triggering_asset_events"].get(FEATURES)
        layout, s3 = run_context.dataset(context), aws.s3()
        published: dict[str, Any] = events[-1].extra if events else read_latest(s3, layout)
        if not published:
            raise AirflowFailException(f"There is no published run in {layout}. Run the DAG fruits_features first.")
        features = dataset.scan(published["paths"]["features"], aws.filesystem(s3))
        counts: dict[str, int] = dict(features.group_by("category").len().sort("category").collect().iter_rows())
        log.info("Images of %s: %s", f"run {published['run']}" if events else "the latest run", counts)
        return counts

    count_images()
