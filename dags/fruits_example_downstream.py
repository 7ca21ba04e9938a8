"""### Images per category

Example of a DAG that is scheduled on the asset `fruits_features`. It runs after each publication and reads the run that
the asset's event names. It does not run after backfills or skipped runs.

**Result** The number of images per category, in the log and in the XCom of `count_images`.

**Rerun** Safe at any time, because a published run does not change. A manual run reads the latest published run.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from fruits_airflow import run_context
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
        place = run_context.dataset(context)
        requested = {"bucket": place.bucket, "dataset": place.name, "run": None}
        event: dict[str, Any] = events[-1].extra if events else requested
        features = dataset.open(f"s3://{event['bucket']}", run=event["run"], dataset=event["dataset"])
        counts: dict[str, int] = dict(features.group_by("category").len().sort("category").collect().iter_rows())
        log.info("Images of %s: %s", f"run {event['run']}" if event["run"] else "the latest run", counts)
        return counts

    count_images()
