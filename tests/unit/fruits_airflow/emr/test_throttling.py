"""Requests that AWS refuses for their rate are repeated, by whoever makes them."""

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
"""More than botocore repeats by default (four times)."""
CONTENT = b"content" * 1000
"""Longer than a refusal: Arrow reads into as much memory as it asks for, and takes more for an error of its own."""
DAGS = Path(__file__).parents[4] / "dags"

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


@pytest.fixture
def throttled() -> str:
    """A cluster about which EMR does not answer at first."""
    tags = [{"Key": FAULT_TAG, "Value": f"throttled:{REFUSALS}"}]
    instances = {"KeepJobFlowAliveWhenNoSteps": False}
    hook = EmrHook(config=aws.RETRY_CONFIG, emr_conn_id=None)
    cluster: str = hook.conn.run_job_flow(Name=f"throttled {id(hook)}", Instances=instances, Tags=tags)["JobFlowId"]
    return cluster


def test_hook_of_emr_gets_its_answer(throttled: str) -> None:
    answer = EmrHook(config=aws.RETRY_CONFIG).conn.describe_cluster(ClusterId=throttled)

    assert answer["Cluster"]["Id"] == throttled


def test_client_of_a_trigger_gets_its_answer(throttled: str) -> None:
    async def describe() -> str:
        async with await EmrHook(config=aws.RETRY_CONFIG).get_async_conn() as emr:
            return (await emr.describe_cluster(ClusterId=throttled))["Cluster"]["Id"]

    assert asyncio.run(describe()) == throttled


@contextmanager
def _refusing(aws: LocalAws, monkeypatch: pytest.MonkeyPatch, refusals: int) -> Iterator[None]:
    """An S3 that refuses the first requests for an object; they have to have come."""
    aws.s3().put_object(Bucket="fruits", Key="throttled", Body=CONTENT)
    server = urlsplit(aws.environment["AWS_ENDPOINT_URL_S3"])
    with S3FaultProxy(
        (str(server.hostname), int(server.port or 0)), faults=first(refusals, Fault.SLOW_DOWN)
    ) as trouble:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", trouble.url)
        yield
        assert trouble.failed[Fault.SLOW_DOWN] == refusals


def test_hook_of_s3_gets_its_answer(local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    with _refusing(local_aws, monkeypatch, REFUSALS):
        assert aws.s3().read_key("throttled", "fruits") == CONTENT.decode()


def test_file_system_of_validation_and_report_gets_its_answer(
    local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = 3  # where Arrow gives up by itself; its pauses are real
    with _refusing(local_aws, monkeypatch, refusals):
        assert aws.filesystem(aws.s3()).open_input_file("fruits/throttled").read() == CONTENT


def test_alert_is_patient() -> None:
    assert FailureAlert().hook.config.retries == aws.RETRY_CONFIG["retries"]


def test_every_task_that_talks_to_aws_is_patient() -> None:
    tasks = [task for dag in DagBag(str(DAGS)).dags.values() for task in dag.tasks]
    talking = [task for task in tasks if isinstance(task, (AwsBaseOperator, AwsBaseSensor))]

    assert len(talking) >= 4
    assert {task.task_id for task in talking if task.botocore_config != aws.RETRY_CONFIG} == set()
