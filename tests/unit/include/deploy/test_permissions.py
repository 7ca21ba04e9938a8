"""The roles allow what the pipeline does, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.amazon.aws.hooks import emr as provider
from botocore import xform_name

from tests.support.iam import Request, allows
from tests.support.service_reference import (
    ImpossibleRequestError,
    actions,
    dependent_actions,
    require_possible,
    sample_arns,
)
from tests.support.stacks import REGION, TEMPLATE, Stack, managed_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")  # moto has no bucket policies

ROOT = Path(__file__).parents[4]
OURS = {"elasticmapreduce:ResourceTag/application": "fruits-image-features"}
CREATING = {"elasticmapreduce:RequestTag/application": "fruits-image-features"}
TO_EMR = {"iam:PassedToService": "elasticmapreduce.amazonaws.com"}
TO_EC2 = {"iam:PassedToService": "ec2.amazonaws.com"}

FOLDERS = ("features", "features/datasets/citrus", "features/datasets/runs", "features/datasets/published")
"""Folders of data sets. Their names may be those of folders, which patterns must not confuse."""

Case = tuple[str, str, dict[str, str]]
"""Action, resource and condition keys of a request."""

DENIED_TO_ALL: list[Case] = [
    ("s3:GetObject", "{foreign}/images/a.jpg", {}),
    ("s3:ListBucket", "{foreign}", {}),
    ("s3:DeleteObject", "{bucket}/images/Training/Lime/1.jpg", {}),
    ("s3:DeleteObjectVersion", "{bucket}/features/latest.json", {}),
    ("s3:PutObject", "{bucket}/images/Training/Lime/1.jpg", {}),
    ("s3:PutObject", "{bucket}/certificates/nodes.zip", {}),
    ("s3:PutObject", "{bucket}/models/net.onnx", {}),
    ("s3:PutBucketPolicy", "{bucket}", {}),
    ("s3:DeleteBucket", "{bucket}", {}),
    ("s3:PutLifecycleConfiguration", "{bucket}", {}),
    ("elasticmapreduce:TerminateJobFlows", "{cluster}", {}),
    ("elasticmapreduce:TerminateJobFlows", "{cluster}", {"elasticmapreduce:ResourceTag/application": "payroll"}),
    ("elasticmapreduce:AddJobFlowSteps", "{cluster}", {}),
    ("elasticmapreduce:AddTags", "{cluster}", {"elasticmapreduce:RequestTag/application": "payroll"}),
    ("elasticmapreduce:AddTags", "{cluster}", CREATING),
    ("elasticmapreduce:RunJobFlow", "*", {}),
    ("elasticmapreduce:RemoveTags", "{cluster}", OURS),
    ("elasticmapreduce:SetTerminationProtection", "{cluster}", OURS),
    ("iam:PassRole", "{AirflowRole}", TO_EMR),
    ("iam:PassRole", "{InstanceRole}", {}),
    ("iam:PassRole", "{InstanceRole}", {"iam:PassedToService": "lambda.amazonaws.com"}),
    ("iam:PassRole", "arn:aws:iam::{account}:role/Administrator", TO_EC2),
    ("iam:CreateRole", "arn:aws:iam::{account}:role/Administrator", {}),
    ("iam:PutRolePolicy", "{AirflowRole}", {}),
    ("iam:AttachRolePolicy", "{InstanceRole}", {}),
    ("sts:AssumeRole", "{AirflowRole}", {}),
    ("kms:ScheduleKeyDeletion", "{key}", {}),
    ("kms:Decrypt", "arn:aws:kms:eu-west-1:{account}:key/another", {}),
    ("kms:CreateGrant", "{key}", {}),
    ("sns:Publish", "arn:aws:sns:eu-west-1:{account}:another", {}),
    ("ec2:RunInstances", "{subnet}", {}),
    ("ec2:RunInstances", "{subnet}", {"ec2:Vpc": "arn:aws:ec2:eu-west-1:{account}:vpc/another"}),
    ("ec2:CreateVpcEndpoint", "arn:aws:ec2:eu-west-1:{account}:vpc/another", {}),
    ("ec2:CreateVpcEndpoint", "{endpoint}", {}),
    ("ec2:DeleteVpcEndpoints", "{endpoint}", {}),
    ("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:eu-west-1:{account}:secret:payroll", {}),
]

ALLOWED: dict[str, list[Case]] = {
    "AirflowRole": [  # tests/e2e/test_permissions.py checks the requests of complete runs
        ("s3:ListBucket", "{bucket}", {}),
        ("s3:GetObject", "{bucket}/images/Training/Lime/1.jpg", {}),
        ("s3:GetObject", "{bucket}/logs/emr/j-1/steps/s-1/stderr.gz", {}),
        ("s3:GetObject", "{bucket}/models/net.onnx", {}),
        ("s3:PutObject", "{bucket}/features/latest.json", {}),
        ("s3:PutObject", "{bucket}/features/datasets/citrus/latest.json", {}),
        ("s3:DeleteObject", "{bucket}/features/datasets/citrus/runs/r/run.json", {}),
        ("s3:PutObject", "{bucket}/features/published/2026-01-01T000000Z-r.json", {}),
        ("s3:PutObject", "{bucket}/features/runs/r/claim.json", {}),
        ("s3:PutObject", "{bucket}/features/runs/r/inventory/part-00000.parquet", {}),
        ("s3:PutObject", "{bucket}/features/runs/r/report/index.html", {}),
        ("s3:PutObject", "{bucket}/features/runs/r/run.json", {}),
        ("s3:DeleteObject", "{bucket}/features/runs/2026-01-01/features/part-0.parquet", {}),
        ("s3:PutObject", "{bucket}/artifacts/launch-1.py", {}),
        ("kms:GenerateDataKey", "{key}", {}),
        ("elasticmapreduce:RunJobFlow", "*", CREATING),
        ("elasticmapreduce:PutAutoTerminationPolicy", "{cluster}", {}),
        ("elasticmapreduce:PutManagedScalingPolicy", "{cluster}", {}),
        ("elasticmapreduce:ListClusters", "*", {}),
        ("elasticmapreduce:CancelSteps", "{cluster}", OURS),
        ("elasticmapreduce:TerminateJobFlows", "{cluster}", OURS),
        ("iam:PassRole", "{EmrServiceRole}", TO_EMR),
        ("iam:PassRole", "{InstanceRole}", TO_EC2),
        ("sns:Publish", "{alerts}", {}),
    ],
    "InstanceRole": [  # decision 0005: below a run's prefix its nodes get, put, list and delete
        ("s3:ListBucket", "{bucket}", {}),
        ("s3:GetObject", "{bucket}/images/Training/Lime/1.jpg", {}),
        ("s3:GetObject", "{bucket}/artifacts/wheels/0123/numpy.whl", {}),
        ("s3:GetObject", "{bucket}/certificates/nodes.zip", {}),
        ("s3:GetObject", "{bucket}/models/net.onnx", {}),
        ("s3:GetObject", "{bucket}/features/runs/r/inventory/part-00000.parquet", {}),
        ("s3:GetObject", "{bucket}/features/runs/r/projection/projection.npz", {}),
        *(
            (action, f"{{bucket}}/{folder}/{key}", {})
            for action in ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")
            for folder in FOLDERS
            for key in (
                "described/manifest-1.json",
                "runs/r/features/part-0.parquet",
                "runs/r/quarantine/part-0.parquet",
                "runs/r/projection/projection.npz",
                "runs/r/projection/spark_model/stages/0_PCA/data/part-0.parquet",
                "runs/r/recogniser/app.onnx",
                "runs/r/recogniser/model_card.md",
                "runs/r/recogniser/recogniser.npz",
                "runs/r/staging/part-0.parquet",
                "runs/r/outcome.json",
                "runs/r/progress.json",
            )
        ),
        ("s3:PutObject", "{bucket}/logs/emr/j-1/steps/s-1/stderr.gz", {}),
        ("kms:Decrypt", "{key}", {}),
    ],
    "EmrServiceRole": [
        ("iam:PassRole", "{InstanceRole}", TO_EC2),
        ("kms:CreateGrant", "{key}", {"kms:GrantIsForAWSResource": "true"}),
        ("ec2:RunInstances", "{subnet}", {"ec2:Vpc": "{vpc}"}),
        ("ec2:CreateVpcEndpoint", "{vpc}", {}),
        ("ec2:CreateVpcEndpoint", "{subnet}", {}),
        ("ec2:ModifyVpcEndpoint", "{subnet}", {"ec2:Vpc": "{vpc}"}),
    ],
}
ALLOWED_TO_AIRFLOW_ONLY: list[Case] = [
    *(
        (action, f"{{bucket}}/{folder}/{key}", {})
        for action in ("s3:PutObject", "s3:DeleteObject")
        for folder in FOLDERS
        for key in (
            "latest.json",
            "published/2026-01-01T000000Z-r.json",
            "backfills/daily-0.json",
            "runs/r/claim.json",
            "runs/r/run.json",
            "runs/r/inventory/part-00000.parquet",
            "runs/r/inventory/features/part-00000.parquet",  # "*" of the allowed runs/*/features/* matches r/inventory
            "runs/r/report/index.html",
            "runs/r/report/projection/figures.json",
        )
    ),
    ("s3:PutObject", "{bucket}/artifacts/launch-1.py", {}),
    ("elasticmapreduce:RunJobFlow", "*", CREATING),
    ("elasticmapreduce:TerminateJobFlows", "{cluster}", OURS),
    ("iam:PassRole", "{EmrServiceRole}", TO_EMR),
]


@pytest.fixture(scope="module")
def names(stack: Stack) -> dict[str, str]:
    """The names of this stack's resources, for the requests above."""
    import boto3

    roles = ("AirflowRole", "InstanceRole", "EmrServiceRole")
    (group,) = boto3.client("ec2", region_name=REGION).describe_security_groups(
        GroupIds=[stack.resources["PrimaryGroup"]]
    )["SecurityGroups"]
    return {
        "account": stack.account,
        "vpc": f"arn:aws:ec2:{REGION}:{stack.account}:vpc/{group['VpcId']}",
        "subnet": f"arn:aws:ec2:{REGION}:{stack.account}:subnet/subnet-1",
        "endpoint": f"arn:aws:ec2:{REGION}:{stack.account}:vpc-endpoint/vpce-1",
        "service_group": f"arn:aws:ec2:{REGION}:{stack.account}:security-group/{stack.resources['ServiceAccessGroup']}",
        "bucket": f"arn:aws:s3:::{stack.bucket}",
        "foreign": "arn:aws:s3:::payroll",
        "key": f"arn:aws:kms:{REGION}:{stack.account}:key/{stack.resources['Key']}",
        "cluster": f"arn:aws:elasticmapreduce:{REGION}:{stack.account}:cluster/j-1",
        "alerts": stack.outputs["SettingAlertTopicArn"],
        **{role: f"arn:aws:iam::{stack.account}:role/{stack.resources[role]}" for role in roles},
    }


def _request(case: Case, names: Mapping[str, str]) -> Request:
    action, resource, context = case
    filled = {key: value.format(**names) for key, value in context.items()}
    return Request(action, resource.format(**names), filled)


@pytest.mark.parametrize("role", ALLOWED)
def test_role_allows_its_work(stack: Stack, names: dict[str, str], role: str) -> None:
    policies = stack.policies(role)

    assert [case for case in ALLOWED[role] if not allows(policies, _request(case, names))] == []


@pytest.mark.parametrize("role", ALLOWED)
def test_role_allows_nothing_else(stack: Stack, names: dict[str, str], role: str) -> None:
    policies = stack.policies(role)

    assert [case for case in DENIED_TO_ALL if allows(policies, _request(case, names))] == []


def test_airflows_role_allows_what_the_application_does_without_a_cluster(stack: Stack, names: dict[str, str]) -> None:
    of_nodes = ("{bucket}/certificates/nodes.zip", "{bucket}/logs/emr/j-1/steps/s-1/stderr.gz")
    cases = [case for case in ALLOWED["InstanceRole"] if case[1] not in of_nodes]

    assert len(cases) > 20
    assert [case for case in cases if not allows(stack.policies("AirflowRole"), _request(case, names))] == []


@pytest.mark.parametrize("role", ["InstanceRole", "EmrServiceRole"])
def test_clusters_roles_deny_airflows_work(stack: Stack, names: dict[str, str], role: str) -> None:
    policies = stack.policies(role)

    assert [case for case in ALLOWED_TO_AIRFLOW_ONLY if allows(policies, _request(case, names))] == []


@pytest.mark.parametrize("sid", ["WriteRunAndCache", "KeepPointersAndRecords"])
def test_clusters_have_the_same_rights_in_each_data_set(stack: Stack, sid: str) -> None:
    (statement,) = [one for one in _statements(stack, "InstanceRole") if one["Sid"] == sid]
    keys = {one.partition("/features/")[2] for one in statement["Resource"]}
    named = {key for key in keys if key.startswith("datasets/*/")}

    assert {key.removeprefix("datasets/*/") for key in named} == keys - named


FOR_EMR = "for-use-with-amazon-emr-managed-policies"
ENDPOINT_TAGS = {f"aws:RequestTag/{FOR_EMR}": "true", "aws:RequestTag/Name": "emr-service-vpce"}
"""Tags that EMR sets on its endpoint, from the managed policy."""


def test_managed_policy_is_the_version_that_knows_the_endpoint() -> None:
    assert managed_policy()["DefaultVersionId"] == "v6"
    sids = {statement["Sid"] for statement in managed_policy()["Document"]["Statement"]}
    assert "CreateEmrServiceVPCEndpoint" in sids


def _of_emr(stack: Stack) -> list[dict[str, Any]]:
    """Return all policies of EMR's service role."""
    return [*stack.policies("EmrServiceRole"), managed_policy()["Document"]]


def test_emr_may_create_its_endpoint_in_an_untagged_network_of_this_vpc(stack: Stack, names: dict[str, str]) -> None:
    group_tag = {f"aws:ResourceTag/{FOR_EMR}": "true"}
    cases: list[Case] = [
        ("ec2:CreateVpcEndpoint", "{vpc}", {}),
        ("ec2:CreateVpcEndpoint", "{subnet}", {}),
        ("ec2:CreateVpcEndpoint", "{service_group}", group_tag),
        ("ec2:CreateVpcEndpoint", "{endpoint}", ENDPOINT_TAGS),
        ("ec2:CreateTags", "{endpoint}", {**ENDPOINT_TAGS, "ec2:CreateAction": "CreateVpcEndpoint"}),
        ("ec2:ModifyVpcEndpoint", "{endpoint}", group_tag),
        ("ec2:ModifyVpcEndpoint", "{subnet}", {"ec2:Vpc": "{vpc}"}),
        ("ec2:ModifyVpcEndpoint", "{service_group}", group_tag),
    ]

    assert [case for case in cases if not allows(_of_emr(stack), _request(case, names))] == []


@pytest.mark.parametrize(
    ("resource", "context"),
    [
        ("{endpoint}", {}),
        ("{endpoint}", {**ENDPOINT_TAGS, "aws:RequestTag/Name": "mine"}),
        ("{service_group}", {}),
        ("arn:aws:ec2:eu-west-1:{account}:vpc/another", {}),
    ],
)
def test_emr_may_create_no_other_endpoint(
    stack: Stack, names: dict[str, str], resource: str, context: dict[str, str]
) -> None:
    assert not allows(_of_emr(stack), _request(("ec2:CreateVpcEndpoint", resource, context), names))


def _statements(stack: Stack, role: str) -> list[dict[str, Any]]:
    return [statement for policy in stack.policies(role) for statement in policy["Statement"]]


def _may_apply(statement: Mapping[str, Any], action: str) -> bool:
    """Return whether IAM can see a request with this action that meets a statement's resources and condition keys."""
    keys = {key for wanted in statement.get("Condition", {}).values() for key in wanted}
    for pattern in _listed(statement["Resource"]):
        for resource in sample_arns(action) if pattern == "*" else [pattern.replace("*", "x")]:
            try:
                require_possible(action, resource, keys)
            except ImpossibleRequestError:
                continue
            return True
    return False


@pytest.mark.parametrize("role", ALLOWED)
def test_every_action_of_a_policy_fits_its_resources_and_conditions(stack: Stack, role: str) -> None:
    pairs = [
        (statement, action)
        for statement in _statements(stack, role)
        for pattern in _listed(statement["Action"])
        for action in actions(pattern) or [pattern]
    ]

    assert len(pairs) > 10
    assert [(one["Sid"], action) for one, action in pairs if not _may_apply(one, action)] == []


def test_statement_with_a_key_that_its_action_lacks_does_not_fit() -> None:
    condition = {"StringEquals": {"elasticmapreduce:RequestTag/application": "fruits"}}
    statement = {"Resource": "arn:aws:elasticmapreduce:eu-west-1:123456789012:cluster/*", "Condition": condition}

    assert _may_apply(statement, "elasticmapreduce:AddTags")
    assert not _may_apply(statement, "elasticmapreduce:PutManagedScalingPolicy")


def test_airflows_role_allows_only_the_requests_to_emr_that_its_code_contains(stack: Stack) -> None:
    """RunJobFlow itself uses two further actions, as the template says."""
    of_run_job_flow = {"PutAutoTerminationPolicy", "PutManagedScalingPolicy"}
    files = [*(ROOT / "plugins").rglob("*.py"), Path(provider.__file__)]
    code = "".join(file.read_text() for file in files)
    allowed = {one for statement in _statements(stack, "AirflowRole") for one in _listed(statement["Action"])}
    of_emr = {one.partition(":")[2] for one in allowed if one.startswith("elasticmapreduce:")}

    assert {"RunJobFlow", "ListClusters"} < of_emr
    assert [one for one in of_emr - of_run_job_flow if xform_name(one) not in code] == []


@pytest.mark.parametrize("role", ALLOWED)
def test_role_has_what_its_actions_depend_on(stack: Stack, role: str) -> None:
    patterns = [one for statement in _statements(stack, role) for one in _listed(statement["Action"])]
    allowed = {action for pattern in patterns for action in actions(pattern)}
    needed = {one for action in allowed for one in dependent_actions(action)}

    assert needed - allowed == set()


@pytest.mark.parametrize("role", ALLOWED)
def test_no_policy_of_ours_allows_all_actions_of_a_service(stack: Stack, role: str) -> None:
    patterns = [pattern for one in _statements(stack, role) for pattern in _listed(one["Action"])]

    assert patterns
    assert [one for one in patterns if one.endswith((":*", "*:*")) or one == "*"] == []


def test_roles_are_assumed_by_their_service_alone(stack: Stack) -> None:
    principals = {role: stack.trust(role)["Statement"][0]["Principal"] for role in ALLOWED}

    assert principals == {
        "AirflowRole": {"AWS": f"arn:aws:iam::{stack.account}:root"},
        "InstanceRole": {"Service": "ec2.amazonaws.com"},
        "EmrServiceRole": {"Service": "elasticmapreduce.amazonaws.com"},
    }


@pytest.mark.parametrize(
    ("context", "refused"),
    [
        ({"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}, False),
        ({"aws:SecureTransport": "true", "s3:TlsVersion": "1.1"}, True),
        ({"aws:SecureTransport": "false"}, True),
    ],
)
def test_bucket_denies_requests_without_modern_tls(context: dict[str, str], *, refused: bool) -> None:
    import cfnlint.decode.cfn_yaml

    template = cfnlint.decode.cfn_yaml.load(str(TEMPLATE))
    statements = template["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    policy = {"Statement": [{**one, "Resource": "arn:aws:s3:::fruits/*"} for one in statements]}
    everything = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}

    may = allows([policy, everything], Request("s3:GetObject", "arn:aws:s3:::fruits/images/a.jpg", context))

    assert may is not refused


def test_evaluator_lets_a_deny_win_and_rejects_unknown_operators() -> None:
    allow = {"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    deny = {"Statement": {"Effect": "Deny", "Action": "s3:Delete*", "Resource": "*"}}
    odd = {"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"DateLessThan": {}}}}

    assert allows([allow, deny], Request("s3:GetObject", "arn:aws:s3:::b/k"))
    assert not allows([allow, deny], Request("s3:DeleteObject", "arn:aws:s3:::b/k"))
    with pytest.raises(NotImplementedError, match="DateLessThan"):
        allows([odd], Request("s3:GetObject", "arn:aws:s3:::b/k"))


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (
            Request("elasticmapreduce:PutManagedScalingPolicy", "arn:aws:elasticmapreduce:r:1:cluster/j-1", CREATING),
            "has no condition key elasticmapreduce:RequestTag/application",
        ),
        (Request("elasticmapreduce:RunJobFlows", "*"), "is not an action"),
        (Request("s3:GetObject", "arn:aws:s3:::bucket"), "does not act on"),
        (Request("iam:CreateRole", "*"), "does not act on"),
    ],
)
def test_evaluator_rejects_an_impossible_request(request_: Request, complaint: str) -> None:
    with pytest.raises(ImpossibleRequestError, match=complaint):
        allows([{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}], request_)


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - in a policy, each is one value or a list
    return value if isinstance(value, list) else [value]
