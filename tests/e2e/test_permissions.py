"""Airflow's role in the template allows each recorded AWS request of a complete run."""

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

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")  # moto does not create bucket policies

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
"""Permission per S3 operation (S3 User Guide, "Required permissions for Amazon S3 API operations")."""
WITHOUT_RESOURCE = {"ListClusters"}
APPLICATION_CONDITION = {"elasticmapreduce:ResourceTag/application": "fruits-image-features"}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with amazons_policy(), mock_aws():
        yield create("fruits", {})


def _requests(stack: Stack, service: str, operation: str, parameters: dict[str, Any]) -> list[Request]:
    """Return the IAM requests of one recorded call. All buckets of the tests map to the deployment's bucket."""
    if service == "s3":
        bucket = f"arn:aws:s3:::{stack.bucket}"
        return [Request(S3_ACTIONS[operation], f"{bucket}/{key}") for key in _keys(parameters)] or [
            Request(S3_ACTIONS[operation], bucket)
        ]
    if service == "sts":
        return []  # GetCallerIdentity needs no permission
    assert service == "emr", f"{service}:{operation} is new. Add it to Airflow's role and to this test."
    action = f"elasticmapreduce:{operation}"
    if operation == "RunJobFlow":
        tags = {f"elasticmapreduce:RequestTag/{tag['Key']}": tag["Value"] for tag in parameters["Tags"]}
        return [Request(action, "*", tags), Request("elasticmapreduce:AddTags", _cluster(stack, "j-1"), tags)]
    if operation in WITHOUT_RESOURCE:
        return [Request(action, "*")]
    clusters = parameters.get("JobFlowIds") or [parameters.get("ClusterId") or parameters["JobFlowId"]]
    return [Request(action, _cluster(stack, cluster), APPLICATION_CONDITION) for cluster in clusters]


def _cluster(stack: Stack, cluster: str) -> str:
    return f"arn:aws:elasticmapreduce:{REGION}:{stack.account}:cluster/{cluster}"


def test_airflows_role_allows_all_requests_of_a_run(stack: Stack, published: Published) -> None:
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
    assert {(request.action, request.resource) for request in requests if not allows(policies, request)} == set()


def test_run_writes_only_features_and_artifacts_and_deletes_only_features(published: Published) -> None:
    calls = [json.loads(line) for line in published.calls.read_text().splitlines()]
    accesses = [(S3_ACTIONS.get(operation), key) for _, operation, parameters in calls for key in _keys(parameters)]

    assert {key.partition("/")[0] for action, key in accesses if action == "s3:PutObject"} == {"features", "artifacts"}
    assert {key.partition("/")[0] for action, key in accesses if action == "s3:DeleteObject"} <= {"features"}


def _keys(parameters: dict[str, Any]) -> list[str]:
    """Return the keys in a call's parameters. `DeleteObjects` has several."""
    return (
        [parameters["Key"]]
        if "Key" in parameters
        else [entry["Key"] for entry in parameters.get("Delete", {}).get("Objects", [])]
    )
