"""A task that failed after its last retry is published to the deployment's topic."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from fruits_airflow.notifications import FailureAlert
from include.settings import settings
from tests.support.airflow.topic import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.dev.local_aws.local import LocalAws

URL = "http://airflow/dags/fruits_features/runs/manual__1/tasks/featurize_and_reduce?try_number=1"
CONTEXT: Any = {
    "dag": DAG("fruits_features", schedule=None),
    "run_id": "manual__1",
    "ti": SimpleNamespace(task_id="featurize_and_reduce", try_number=1, log_url=URL),
    "exception": ValueError("Step s-1 of cluster j-1 is FAILED (Unknown Error: trouble)."),
}


@pytest.fixture
def topic(local_aws: LocalAws, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Topic]:
    """The deployment's topic."""
    assert aws_environment
    with closing(Topic(local_aws, "failures")) as topic:
        monkeypatch.setenv("FRUITS_ALERT_TOPIC_ARN", topic.arn)
        settings.cache_clear()
        yield topic
        settings.cache_clear()


def test_alert_contains_error_dag_run_task_and_log(topic: Topic) -> None:
    FailureAlert()(CONTEXT)

    (message,) = topic.received()
    assert message["Subject"] == "Airflow: fruits_features.featurize_and_reduce failed"
    assert message["Message"].splitlines() == [
        "Step s-1 of cluster j-1 is FAILED (Unknown Error: trouble).",
        "",
        "DAG:  fruits_features",
        "Run:  manual__1",
        "Task: featurize_and_reduce, try 1",
        f"Log:  {URL}",
    ]


def test_alert_of_a_task_without_an_exception_refers_to_the_log(topic: Topic) -> None:
    FailureAlert()({key: value for key, value in CONTEXT.items() if key != "exception"})

    (message,) = topic.received()
    assert message["Message"].startswith("Airflow reports no reason. See the log.")


def test_no_alert_without_a_topic(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRUITS_ALERT_TOPIC_ARN")
    settings.cache_clear()

    FailureAlert()(CONTEXT)

    assert topic.received() == []
