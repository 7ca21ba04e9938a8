"""What a whole run asks of AWS, as it was recorded, is what Airflow's role of the template allows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from tests.support.iam import Request, allows
from tests.support.stacks import REGION, Stack, amazons_policy, create

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.airflow.pipeline import Published

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")  # moto makes no policies of buckets

S3_ACTIONS = {
    "CompleteMultipartUpload": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "ListObjects": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
}
"""After "Required permissions for Amazon S3 API operations"; an operation that is missing here fails the test."""
WITHOUT_CLUSTER = {"ListClusters"}
OURS = {"elasticmapreduce:ResourceTag/application": "fruits-image-features"}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with amazons_policy(), mock_aws():
        yield create("fruits", {})


def _requests(stack: Stack, service: str, operation: str, named: dict[str, Any]) -> list[Request]:
    """What IAM has to allow for one recorded call; both buckets of the tests are one in a deployment."""
    if service == "s3":
        bucket = f"arn:aws:s3:::{stack.bucket}"
        return [Request(S3_ACTIONS[operation], f"{bucket}/{key}") for key in _keys(named)] or [
            Request(S3_ACTIONS[operation], bucket)
        ]
    if service == "sts":
        return []  # GetCallerIdentity is everybody's
    assert service == "emr", f"{service}:{operation} is new: give Airflow's role what it needs, and tell it here"
    action = f"elasticmapreduce:{operation}"
    if operation == "RunJobFlow":
        tags = {f"elasticmapreduce:RequestTag/{tag['Key']}": tag["Value"] for tag in named["Tags"]}
        return [Request(action, "*", tags), Request("elasticmapreduce:AddTags", _cluster(stack, "j-1"), tags)]
    if operation in WITHOUT_CLUSTER:
        return [Request(action, "*")]
    clusters = named.get("JobFlowIds") or [named.get("ClusterId") or named["JobFlowId"]]
    return [Request(action, _cluster(stack, one), OURS) for one in clusters]


def _cluster(stack: Stack, cluster: str) -> str:
    return f"arn:aws:elasticmapreduce:{REGION}:{stack.account}:cluster/{cluster}"


def test_role_of_airflow_allows_all_that_a_run_asks_for(stack: Stack, published: Published) -> None:
    calls = [json.loads(line) for line in published.calls.read_text().splitlines()]
    policies = stack.policies("AirflowRole")
    requests = [request for call in calls for request in _requests(stack, *call)]

    assert {call[1] for call in calls} >= {
        "RunJobFlow",
        "AddJobFlowSteps",
        "TerminateJobFlows",
        "PutObject",
        "GetObject",
    }
    assert {(one.action, one.resource) for one in requests if not allows(policies, one)} == set()


def test_run_writes_features_and_artifacts_only_and_removes_features_only(published: Published) -> None:
    calls = [json.loads(line) for line in published.calls.read_text().splitlines()]
    asked = [(S3_ACTIONS.get(operation), key) for _, operation, named in calls for key in _keys(named)]

    assert {key.partition("/")[0] for action, key in asked if action == "s3:PutObject"} == {"features", "artifacts"}
    assert {key.partition("/")[0] for action, key in asked if action == "s3:DeleteObject"} <= {"features"}


def _keys(named: dict[str, Any]) -> list[str]:
    """The objects that a call names: `DeleteObjects` names many."""
    return [named["Key"]] if "Key" in named else [one["Key"] for one in named.get("Delete", {}).get("Objects", [])]
