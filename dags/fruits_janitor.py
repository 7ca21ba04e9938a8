"""### Janitor for orphan clusters

Ends clusters of this deployment whose DAG run has ended or is unknown, every hour. Normally a run ends its own cluster.

**Safety** Only clusters with the tags of this application and this deployment are ended. A cluster with termination
protection is kept, with a warning in the log.

**Result** One record per cluster, in the log and in the XCom of `end_forgotten_clusters`.

The DAG is active when Airflow first loads it.
"""

from __future__ import annotations

from airflow.sdk import DAG

from fruits_airflow.params import START, TASKS
from fruits_airflow.tasks.end_forgotten_clusters import end_forgotten_clusters

with DAG(
    dag_id="fruits_janitor",
    description="Ends orphan clusters, whose run has ended or is unknown",
    doc_md=__doc__,
    schedule="@hourly",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    tags=["fruits", "emr"],
    default_args=TASKS,
) as dag:
    end_forgotten_clusters()
