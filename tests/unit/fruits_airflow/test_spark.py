"""Without a Spark cluster, a run fails at once with one sentence that names the connection and the command."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.spark import require_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

DAGS = Path(__file__).parents[3] / "dags"
CONTEXT: Any = {}
FIX = (
    "start a local cluster with `make up SPARK=1`, or define the connection of an existing one, for example "
    "spark://host:7077."
)


def _refusal() -> str:
    with pytest.raises(AirflowFailException) as refused:
        require_cluster(CONTEXT)
    return str(refused.value)


@pytest.fixture
def port() -> Iterator[int]:
    """A port at which nothing answers, and which no other program gets during the test."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield closed.getsockname()[1]


def test_missing_connection_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SPARK_DEFAULT", raising=False)

    assert _refusal() == (f"There is no Spark cluster, because the connection `spark_default` is not defined: {FIX}")


@pytest.mark.parametrize(
    "form", ["spark://127.0.0.1:{port}?deploy-mode=client", '{{"conn_type": "spark", "host": "{url}"}}']
)
def test_master_that_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch, port: int, form: str) -> None:
    url = f"spark://127.0.0.1:{port}"
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", form.format(port=port, url=url))

    assert _refusal() == (
        f"The Spark master {url} of the connection `spark_default` does not answer (Connection refused): {FIX}"
    )


def test_master_that_answers_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as master:
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", f"spark://127.0.0.1:{master.getsockname()[1]}")
        require_cluster(CONTEXT)


@pytest.mark.parametrize(
    "uri",
    [
        "yarn://",
        "local://local",
        '{"conn_type": "spark", "host": "spark://a:7077,b:7077"}',
        "k8s://https%3A%2F%2Fhost:443",
    ],
)
def test_other_cluster_managers_are_left_to_spark(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", uri)

    require_cluster(CONTEXT)


def test_cluster_is_required_before_the_wait_and_before_the_submission() -> None:
    dag = DagBag(str(DAGS)).dags["fruits_features_spark"]

    hooks = {task.task_id: task._pre_execute_hook for task in dag.tasks}  # noqa: SLF001 - Airflow's name
    assert [task for task, hook in hooks.items() if hook] == ["wait_for_images", "featurize_and_reduce"]
