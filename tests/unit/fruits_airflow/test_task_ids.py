"""Names that code refers to are names of tasks."""

from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

from fruits_airflow import task_ids
from include.emr.costs import CLUSTER_TASKS

DAGS = Path(__file__).parents[3] / "dags"


def test_task_ids_and_the_cost_tasks_exist_in_the_dag() -> None:
    tasks = set(DagBag(str(DAGS)).dags["fruits_features"].task_ids)
    names = {value for name, value in vars(task_ids).items() if name.isupper() and not name.endswith("_KEY")}

    assert names
    assert names | set(CLUSTER_TASKS) <= tasks
