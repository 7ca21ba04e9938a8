"""### Images per category: an example of what comes after `fruits_features`

Runs whenever features are published, and reads just the run that was: the asset's event tells which. Not after
backfills, nor after runs that were skipped because nothing had changed.

**Result** The log, and the XCom of `count_images`.

**Rerun** Safe at any time: a published run does not change. Triggered by hand, it reads what is published now.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from fruits_airflow import run_context
from fruits_airflow.params import PARAMS, START
from fruits_airflow.tasks.announce import FEATURES

log = logging.getLogger(__name__)

with DAG(
    dag_id="fruits_example_downstream",
    description="An example: counts the images of each category whenever features are published",
    doc_md=__doc__,
    schedule=[FEATURES],
    start_date=START,
    catchup=False,
    tags=["fruits", "example"],
    params={"bucket": PARAMS["bucket"]},
    default_args={"owner": "fruits", "retries": 2},
) as dag:

    @task(doc_md="Counts the images of each category in the run that was published.")
    def count_images() -> dict[str, int]:
        """Read the published run as anybody would."""
        from fruits_features import dataset  # noqa: PLC0415 - polars is not needed to parse the DAG

        context = get_current_context()
        events = context["triggering_asset_events"].get(FEATURES)
        told: dict[str, Any] = events[-1].extra if events else {"bucket": run_context.bucket(context), "run": None}
        features = dataset.open(f"s3://{told['bucket']}", run=told["run"])
        counts: dict[str, int] = dict(features.group_by("category").len().sort("category").collect().iter_rows())
        log.info("Images of run %s: %s", told["run"] or "that is published", counts)
        return counts

    count_images()
