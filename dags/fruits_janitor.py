"""### The janitor

Ends clusters that nobody waits for any more, every hour: those of this deployment whose DAG run is over or unknown. A
run ends its own cluster; this is for the day when it could not.

**Safe** Only clusters whose tags name this application and this deployment are touched. A cluster that is protected
from termination is left alone, with a warning. What was found and done is in the log and in XCom.

It is not paused when it first appears.
"""

from __future__ import annotations

from airflow.sdk import DAG

from fruits_airflow.params import START, TASKS
from fruits_airflow.tasks.end_forgotten_clusters import end_forgotten_clusters

with DAG(
    dag_id="fruits_janitor",
    description="Ends clusters whose run is over or unknown",
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
