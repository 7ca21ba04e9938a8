"""A task that failed for good is told to the topic that the deployment names."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from airflow.sdk import DAG

from fruits_airflow.alerts import FailureAlert
from include.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL = "http://airflow/dags/fruits_features/runs/manual__1/tasks/featurize_and_reduce?try_number=1"
CONTEXT: Any = {
    "dag": DAG("fruits_features", schedule=None),
    "run_id": "manual__1",
    "ti": SimpleNamespace(task_id="featurize_and_reduce", try_number=1, log_url=URL),
    "exception": ValueError("Step s-1 of cluster j-1 is FAILED (Unknown Error: trouble)."),
}


@pytest.fixture
def topic(aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[Any]]]:
    """A topic that the deployment names; tells what came to it."""
    assert aws_environment
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    arn = sns.create_topic(Name="failures")["TopicArn"]
    queue = sqs.create_queue(QueueName="failures")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
    monkeypatch.setenv("FRUITS_ALERT_TOPIC_ARN", arn)
    settings.cache_clear()
    yield lambda: [json.loads(one["Body"]) for one in sqs.receive_message(QueueUrl=queue).get("Messages", [])]
    settings.cache_clear()
    sqs.delete_queue(QueueUrl=queue)


def test_alert_tells_sentence_dag_run_task_and_log(topic: Callable[[], list[Any]]) -> None:
    FailureAlert()(CONTEXT)

    (told,) = topic()
    assert told["Subject"] == "Airflow: fruits_features.featurize_and_reduce failed"
    assert told["Message"].splitlines() == [
        "Step s-1 of cluster j-1 is FAILED (Unknown Error: trouble).",
        "",
        "DAG:  fruits_features",
        "Run:  manual__1",
        "Task: featurize_and_reduce, try 1",
        f"Log:  {URL}",
    ]


def test_alert_of_a_task_whose_process_died_says_that_no_reason_is_known(topic: Callable[[], list[Any]]) -> None:
    FailureAlert()({key: value for key, value in CONTEXT.items() if key != "exception"})

    (told,) = topic()
    assert told["Message"].startswith("Airflow tells no reason; see the log.")


def test_no_alert_where_no_topic_is_named(topic: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRUITS_ALERT_TOPIC_ARN")
    settings.cache_clear()

    FailureAlert()(CONTEXT)

    assert topic() == []
