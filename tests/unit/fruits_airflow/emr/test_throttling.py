"""All clients repeat requests that AWS throttles."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.amazon.aws.hooks.emr import EmrHook
from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor

from fruits_airflow.hooks import aws
from fruits_airflow.notifications import FailureAlert
from include.dev.local_aws.emr.faults import FAULT_TAG
from include.dev.local_aws.s3.fault_proxy import Fault, S3FaultProxy, first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.dev.local_aws.local import LocalAws

REFUSALS = 6
"""More than botocore's default of four repetitions."""
CONTENT = b"content" * 1000
"""Longer than the error document, because Arrow reports an error when a response is longer than the requested range."""
DAGS = Path(__file__).parents[4] / "dags"

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


@pytest.fixture
def throttled() -> str:
    """A cluster whose first requests EMR throttles."""
    tags = [{"Key": FAULT_TAG, "Value": f"throttled:{REFUSALS}"}]
    instances = {"KeepJobFlowAliveWhenNoSteps": False}
    hook = EmrHook(config=aws.RETRY_CONFIG, emr_conn_id=None)
    cluster: str = hook.conn.run_job_flow(Name=f"throttled {id(hook)}", Instances=instances, Tags=tags)["JobFlowId"]
    return cluster


def test_emr_hook_repeats_throttled_requests(throttled: str) -> None:
    response = EmrHook(config=aws.RETRY_CONFIG).conn.describe_cluster(ClusterId=throttled)

    assert response["Cluster"]["Id"] == throttled


def test_client_of_a_trigger_repeats_throttled_requests(throttled: str) -> None:
    async def describe() -> str:
        async with await EmrHook(config=aws.RETRY_CONFIG).get_async_conn() as emr:
            return (await emr.describe_cluster(ClusterId=throttled))["Cluster"]["Id"]

    assert asyncio.run(describe()) == throttled


@contextmanager
def _refusing(aws: LocalAws, monkeypatch: pytest.MonkeyPatch, refusals: int) -> Iterator[None]:
    """Run an S3 that throttles the first requests for an object, and assert that they were sent."""
    aws.s3().put_object(Bucket="fruits", Key="throttled", Body=CONTENT)
    server = urlsplit(aws.environment["AWS_ENDPOINT_URL_S3"])
    with S3FaultProxy((str(server.hostname), int(server.port or 0)), faults=first(refusals, Fault.SLOW_DOWN)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield
        assert proxy.failed[Fault.SLOW_DOWN] == refusals


def test_s3_hook_repeats_throttled_requests(local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    with _refusing(local_aws, monkeypatch, REFUSALS):
        assert aws.s3().read_key("throttled", "fruits") == CONTENT.decode()


def test_file_system_of_validation_and_report_repeats_throttled_requests(
    local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = 3  # Arrow's default limit; its pauses cannot be patched
    with _refusing(local_aws, monkeypatch, refusals):
        assert aws.filesystem(aws.s3()).open_input_file("fruits/throttled").read() == CONTENT


def test_alert_has_the_retry_config() -> None:
    assert FailureAlert().hook.config.retries == aws.RETRY_CONFIG["retries"]


def test_every_aws_task_has_the_retry_config() -> None:
    tasks = [task for dag in DagBag(str(DAGS)).dags.values() for task in dag.tasks]
    aws_tasks = [task for task in tasks if isinstance(task, (AwsBaseOperator, AwsBaseSensor))]

    assert len(aws_tasks) >= 4
    assert {task.task_id for task in aws_tasks if task.botocore_config != aws.RETRY_CONFIG} == set()
