"""Each AWS request of a complete run is valid, and allowed for the role that sends it.

Requests by botocore and aiobotocore in Airflow are recorded with all their parameters. A proxy in front of S3 records
the requests of other clients: Arrow in Airflow, obstore on the nodes. EMR's own requests to EC2 cannot be recorded.
`tests/unit/include/deploy/test_permissions.py` compares EMR's role with EMR's documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moto import mock_aws

from tests.support.aws_requests import (
    NOT_CHECKED,
    Call,
    action,
    keys,
    of_http,
    of_run_job_flow,
    of_s3,
    recorded,
    violations,
)
from tests.support.iam import Request, allows
from tests.support.stacks import REGION, Stack, amazons_policy, create

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.support.airflow.pipeline import Published

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")  # moto does not create bucket policies

WITHOUT_RESOURCE = {"elasticmapreduce:ListClusters"}
APPLICATION_CONDITION = {"elasticmapreduce:ResourceTag/application": "fruits-image-features"}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with amazons_policy(), mock_aws():
        yield create("fruits", {})


def _requests(stack: Stack, call: Call) -> list[Request]:
    """Return the IAM requests of one recorded call. All buckets of the tests map to the deployment's bucket."""
    name = action(call)
    if name in NOT_CHECKED:
        return []
    if call.service == "s3":
        key = f"arn:aws:kms:{REGION}:{stack.account}:key/{stack.resources['Key']}"
        return of_s3(call, f"arn:aws:s3:::{stack.bucket}", key)
    assert call.service == "emr", f"{name} is new. Add it to Airflow's role and to this test."
    if call.operation == "RunJobFlow":
        roles = {"elasticmapreduce.amazonaws.com": "EmrServiceRole", "ec2.amazonaws.com": "InstanceRole"}
        arns = {to: f"arn:aws:iam::{stack.account}:role/{stack.resources[role]}" for to, role in roles.items()}
        return of_run_job_flow(call, _cluster(stack, "j-1"), arns)
    if name in WITHOUT_RESOURCE:
        return [Request(name, "*")]
    given = call.parameters
    clusters = given.get("JobFlowIds") or [given.get("ClusterId") or given["JobFlowId"]]
    return [Request(name, _cluster(stack, one), APPLICATION_CONDITION) for one in clusters]


def _cluster(stack: Stack, cluster: str) -> str:
    return f"arn:aws:elasticmapreduce:{REGION}:{stack.account}:cluster/{cluster}"


def _denied(stack: Stack, role: str, calls: Iterable[Call]) -> set[tuple[str, str]]:
    policies = stack.policies(role)
    requests = [request for call in calls for request in _requests(stack, call)]
    return {(one.action, one.resource) for one in requests if not allows(policies, one)}


def test_airflows_role_allows_all_requests_of_a_run(stack: Stack, published: Published) -> None:
    calls = recorded(published.calls)

    assert {call.operation for call in calls} >= {
        "RunJobFlow",
        "AddJobFlowSteps",
        "TerminateJobFlows",
        "PutObject",
        "GetObject",
    }
    assert _denied(stack, "AirflowRole", calls) == set()
    assert _denied(stack, "AirflowRole", of_http(published.s3_of_airflow)) == set()


@pytest.mark.parametrize("folder", ["features", "features/datasets/citrus"], ids=["default", "citrus"])
def test_role_of_the_nodes_allows_all_s3_requests_of_the_application(
    stack: Stack, published: Published, folder: str
) -> None:
    bucket = published.latest["paths"]["run"].split("/")[2]
    moved = [
        (method, target.replace(f"/{bucket}/features/", f"/{bucket}/{folder}/"))
        for method, target in published.s3_of_nodes
    ]
    calls = of_http(moved)

    assert any(key.startswith(f"{folder}/runs/") for call in calls for key in keys(call))
    assert {call.operation for call in calls} >= {"GetObject", "PutObject", "ListObjectsV2"}
    assert _denied(stack, "InstanceRole", calls) == set()


def test_airflows_role_allows_the_s3_requests_of_the_application_without_a_cluster(
    stack: Stack, published: Published
) -> None:
    calls = [call for call in of_http(published.s3_of_nodes) if not any(key.startswith("logs/") for key in keys(call))]

    assert _denied(stack, "AirflowRole", calls) == set()


def test_every_request_of_a_run_is_valid_by_the_models(published: Published) -> None:
    calls = recorded(published.calls)

    assert [one for call in calls for one in violations(call)] == []


def test_run_of_a_deployed_application_writes_and_deletes_only_features(published: Published) -> None:
    calls = [*recorded(published.calls), *of_http(published.s3_of_airflow), *of_http(published.s3_of_nodes)]
    accesses = [(action(call), key) for call in calls if call.service == "s3" for key in keys(call)]

    assert {key.partition("/")[0] for what, key in accesses if what == "s3:PutObject"} == {"features"}
    assert {key.partition("/")[0] for what, key in accesses if what == "s3:DeleteObject"} <= {"features"}
