"""Faults that a cluster's tag selects look as on EMR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from include.dev.local_aws.emr.faults import FAULT_TAG, Fault, Injected, of_step

if TYPE_CHECKING:
    from mypy_boto3_emr import EMRClient

    from include.dev.local_aws.local import LocalAws
    from tests.unit.include.dev.local_aws.conftest import Emr

ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")


def tags(fault: str) -> list[dict[str, str]]:
    return [{"Key": FAULT_TAG, "Value": fault}]


def once(aws: LocalAws) -> EMRClient:
    import boto3

    environment = aws.environment
    return boto3.client(
        "emr",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
    )


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ("refused-for-limit", "ValidationException", "VcpuLimitExceeded"),
        ("refused-for-role", "AccessDeniedException", "iam:PassRole"),
        ("refused-as-invalid", "ValidationException", "The supplied release label is invalid"),
        ("throttled:1", "ThrottlingException", "Rate exceeded"),
        ("no-such-fault", "ValidationException", "no-such-fault"),
    ],
)
def test_rejected_cluster_is_not_created(emr: Emr, local_aws: LocalAws, fault: str, code: str, message: str) -> None:
    emr.api = once(local_aws)

    with pytest.raises(ClientError) as error:
        emr.create(Name=f"refused {fault}", Tags=tags(fault))

    assert error.value.response["Error"]["Code"] == code
    assert message in error.value.response["Error"]["Message"]
    assert local_aws.active_clusters() == []


def test_lost_answer_leaves_the_cluster_up(emr: Emr, local_aws: LocalAws) -> None:
    emr.api = once(local_aws)

    with pytest.raises(ConnectionClosedError):
        emr.create(Tags=tags("answer-lost"))

    assert len(local_aws.active_clusters()) == 1


def test_throttled_client_is_answered_after_the_rejected_calls(emr: Emr, local_aws: LocalAws) -> None:
    cluster, api = emr.create(Name="throttled", Tags=tags("throttled:2")), once(local_aws)

    answers = [_code(lambda: api.describe_cluster(ClusterId=cluster)) for _ in range(3)]

    assert answers == ["ThrottlingException", "ThrottlingException", ""]


def test_cluster_without_capacity_ends_with_code_message_and_details(emr: Emr) -> None:
    status = emr.wait(emr.create(Tags=tags("no-capacity")), *ENDED)

    assert status["State"] == "TERMINATED_WITH_ERRORS"
    assert status["StateChangeReason"]["Code"] == "INTERNAL_ERROR"
    assert "m5.xlarge has insufficient capacity" in status["StateChangeReason"]["Message"]
    (details,) = status["ErrorDetails"]
    assert details["ErrorCode"] == "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ"
    assert {"instance-type": "m5.xlarge"} in details["ErrorData"]


def test_terminated_node_ends_the_cluster_and_cancels_its_step(emr: Emr) -> None:
    cluster = emr.create(Tags=tags("node-terminated"), Steps=[emr.step("true")])

    status = emr.wait(cluster, *ENDED)

    assert status["StateChangeReason"] == {"Code": "INSTANCE_FAILURE", "Message": "The master node was terminated"}
    assert emr.step_states(cluster) == ["CANCELLED"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [("step-failed", "the application gave up"), ("driver-killed", "Step failed with exitCode 137")],
)
def test_step_with_a_fault_fails_with_its_message(emr: Emr, fault: str, message: str) -> None:
    cluster = emr.create(Tags=tags(fault))
    (step,) = emr.add(cluster, emr.step("sleep", "600"))

    status = emr.wait_step(cluster, step, "FAILED")

    assert message in status["FailureDetails"]["Message"]


def test_hanging_step_can_be_cancelled(emr: Emr) -> None:
    cluster = emr.create(Tags=tags("step-hangs"))
    (step,) = emr.add(cluster, emr.step("true"))
    emr.wait_step(cluster, step, "RUNNING")

    emr.api.cancel_steps(ClusterId=cluster, StepIds=[step])

    emr.wait_step(cluster, step, "CANCELLED")


def test_step_uses_the_s3_endpoint_of_its_cluster(emr: Emr) -> None:
    cluster = emr.create(Tags=tags("s3-endpoint:http://127.0.0.1:9"))
    (step,) = emr.add(cluster, emr.step("sh", "-c", "echo $AWS_ENDPOINT_URL_S3"))
    emr.wait_step(cluster, step, "COMPLETED")

    assert emr.log(f"{cluster}/steps/{step}/stdout.gz") == "http://127.0.0.1:9\n"


def test_bootstrap_with_a_fault_fails_in_its_own_words(emr: Emr) -> None:
    emr.s3.put_object(Bucket=emr.bucket, Key="boot.sh", Body=b"true")
    action = {"Name": "boot", "ScriptBootstrapAction": {"Path": f"s3://{emr.bucket}/boot.sh"}}
    cluster = emr.create(BootstrapActions=[action], Tags=tags("bootstrap-failed"))

    assert emr.wait(cluster, *ENDED)["StateChangeReason"]["Code"] == "BOOTSTRAP_FAILURE"
    node = emr.api.list_instances(ClusterId=cluster)["Instances"][0]["Ec2InstanceId"]
    assert "No matching distribution" in emr.log(f"{cluster}/node/{node}/bootstrap-actions/1/stderr.gz")


def _code(call: Any) -> str:  # noqa: ANN401 - any call
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_node_is_terminated_in_the_step_that_the_fault_names() -> None:
    of_second = Injected(Fault.NODE_TERMINATED, "2")

    assert [of_step(of_second, number) for number in (1, 2)] == [None, of_second]
    assert of_step(Injected(Fault.NODE_TERMINATED), 1) == Injected(Fault.NODE_TERMINATED)
