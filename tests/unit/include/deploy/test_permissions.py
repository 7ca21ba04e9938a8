"""The roles: they may do what the pipeline does, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.iam import Request, allows
from tests.support.stacks import REGION, TEMPLATE, Stack

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")  # moto makes no policies of buckets

OURS = {"elasticmapreduce:ResourceTag/application": "fruits-image-features"}
CREATING = {"elasticmapreduce:RequestTag/application": "fruits-image-features"}
TO_EMR = {"iam:PassedToService": "elasticmapreduce.amazonaws.com"}
TO_EC2 = {"iam:PassedToService": "ec2.amazonaws.com"}

Ask = tuple[str, str, dict[str, str]]

NOBODY_MAY: list[Ask] = [
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
    ("elasticmapreduce:RunJobFlow", "*", {}),
    ("elasticmapreduce:RemoveTags", "{cluster}", OURS),
    ("elasticmapreduce:SetTerminationProtection", "{cluster}", OURS),
    ("iam:PassRole", "{AirflowRole}", TO_EMR),
    ("iam:PassRole", "{InstanceRole}", {}),
    ("iam:PassRole", "{InstanceRole}", {"iam:PassedToService": "lambda.amazonaws.com"}),
    ("iam:PassRole", "arn:aws:iam::{account}:role/Administrator", TO_EC2),
    ("iam:CreateRole", "*", {}),
    ("iam:PutRolePolicy", "{AirflowRole}", {}),
    ("iam:AttachRolePolicy", "{InstanceRole}", {}),
    ("sts:AssumeRole", "{AirflowRole}", {}),
    ("kms:ScheduleKeyDeletion", "{key}", {}),
    ("kms:Decrypt", "arn:aws:kms:eu-west-1:{account}:key/another", {}),
    ("kms:CreateGrant", "{key}", {}),
    ("sns:Publish", "arn:aws:sns:eu-west-1:{account}:another", {}),
    ("ec2:RunInstances", "arn:aws:ec2:eu-west-1:{account}:subnet/subnet-1", {}),
    ("secretsmanager:GetSecretValue", "*", {}),
]

MAY: dict[str, list[Ask]] = {
    "AirflowRole": [  # what whole runs ask for besides is held against this role by tests/e2e/test_permissions.py
        ("s3:ListBucket", "{bucket}", {}),
        ("s3:GetObject", "{bucket}/images/Training/Lime/1.jpg", {}),
        ("s3:GetObject", "{bucket}/logs/emr/j-1/steps/s-1/stderr.gz", {}),
        ("s3:GetObject", "{bucket}/models/net.onnx", {}),
        ("s3:PutObject", "{bucket}/features/latest.json", {}),
        ("s3:DeleteObject", "{bucket}/features/runs/2026-01-01/features/part-0.parquet", {}),
        ("s3:PutObject", "{bucket}/artifacts/launch-1.py", {}),
        ("kms:GenerateDataKey", "{key}", {}),
        ("elasticmapreduce:RunJobFlow", "*", CREATING),
        ("elasticmapreduce:AddTags", "{cluster}", CREATING),
        ("elasticmapreduce:PutManagedScalingPolicy", "{cluster}", CREATING),
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
        ("s3:PutObject", "{bucket}/features/runs/r/features/part-0.parquet", {}),
        ("s3:DeleteObject", "{bucket}/features/runs/r/features/part-0.parquet", {}),
        ("s3:PutObject", "{bucket}/logs/emr/j-1/steps/s-1/stderr.gz", {}),
        ("kms:Decrypt", "{key}", {}),
    ],
    "EmrServiceRole": [
        ("iam:PassRole", "{InstanceRole}", TO_EC2),
        ("kms:CreateGrant", "{key}", {"kms:GrantIsForAWSResource": "true"}),
        (
            "ec2:RunInstances",
            "arn:aws:ec2:eu-west-1:{account}:subnet/subnet-1",
            {"ec2:Vpc": "arn:aws:ec2:eu-west-1:{account}:vpc/{vpc}"},
        ),
    ],
}
ONLY_AIRFLOW_MAY: list[Ask] = [
    ("s3:PutObject", "{bucket}/artifacts/launch-1.py", {}),
    ("elasticmapreduce:RunJobFlow", "*", CREATING),
    ("elasticmapreduce:TerminateJobFlows", "{cluster}", OURS),
    ("iam:PassRole", "{EmrServiceRole}", TO_EMR),
]


@pytest.fixture(scope="module")
def names(stack: Stack) -> dict[str, str]:
    """What the requests above name, as this stack has it."""
    import boto3

    roles = ("AirflowRole", "InstanceRole", "EmrServiceRole")
    (group,) = boto3.client("ec2", region_name=REGION).describe_security_groups(
        GroupIds=[stack.resources["PrimaryGroup"]]
    )["SecurityGroups"]
    return {
        "account": stack.account,
        "vpc": group["VpcId"],
        "bucket": f"arn:aws:s3:::{stack.bucket}",
        "foreign": "arn:aws:s3:::payroll",
        "key": f"arn:aws:kms:{REGION}:{stack.account}:key/{stack.resources['Key']}",
        "cluster": f"arn:aws:elasticmapreduce:{REGION}:{stack.account}:cluster/j-1",
        "alerts": stack.outputs["SettingAlertTopicArn"],
        **{role: f"arn:aws:iam::{stack.account}:role/{stack.resources[role]}" for role in roles},
    }


def _request(ask: Ask, names: Mapping[str, str]) -> Request:
    action, resource, context = ask
    filled = {key: value.format(**names) for key, value in context.items()}
    return Request(action, resource.format(**names), filled)


@pytest.mark.parametrize("role", MAY)
def test_role_may_do_its_work(stack: Stack, names: dict[str, str], role: str) -> None:
    policies = stack.policies(role)

    assert [ask for ask in MAY[role] if not allows(policies, _request(ask, names))] == []


@pytest.mark.parametrize("role", MAY)
def test_role_may_do_nothing_else(stack: Stack, names: dict[str, str], role: str) -> None:
    policies = stack.policies(role)

    assert [ask for ask in NOBODY_MAY if allows(policies, _request(ask, names))] == []


@pytest.mark.parametrize("role", ["InstanceRole", "EmrServiceRole"])
def test_cluster_may_not_do_what_airflow_may(stack: Stack, names: dict[str, str], role: str) -> None:
    policies = stack.policies(role)

    assert [ask for ask in ONLY_AIRFLOW_MAY if allows(policies, _request(ask, names))] == []


@pytest.mark.parametrize("role", MAY)
def test_no_policy_of_ours_allows_all_actions_of_a_service(stack: Stack, role: str) -> None:
    statements = [statement for policy in stack.policies(role) for statement in policy["Statement"]]
    actions = [action for one in statements for action in _listed(one["Action"])]

    assert actions
    assert [action for action in actions if action.endswith((":*", "*:*")) or action == "*"] == []


def test_roles_are_assumed_by_their_service_alone(stack: Stack) -> None:
    principals = {role: stack.trust(role)["Statement"][0]["Principal"] for role in MAY}

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
def test_bucket_refuses_whoever_comes_without_tls(context: dict[str, str], *, refused: bool) -> None:
    import cfnlint.decode.cfn_yaml

    template = cfnlint.decode.cfn_yaml.load(str(TEMPLATE))
    statements = template["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    policy = {"Statement": [{**one, "Resource": "arn:aws:s3:::fruits/*"} for one in statements]}
    everything = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}

    may = allows([policy, everything], Request("s3:GetObject", "arn:aws:s3:::fruits/images/a.jpg", context))

    assert may is not refused


def test_evaluator_lets_a_deny_win_and_refuses_what_it_does_not_know() -> None:
    allow = {"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    deny = {"Statement": {"Effect": "Deny", "Action": "s3:Delete*", "Resource": "*"}}
    odd = {"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"DateLessThan": {}}}}

    assert allows([allow, deny], Request("s3:GetObject", "arn:aws:s3:::b/k"))
    assert not allows([allow, deny], Request("s3:DeleteObject", "arn:aws:s3:::b/k"))
    with pytest.raises(NotImplementedError, match="DateLessThan"):
        allows([odd], Request("s3:GetObject", "arn:aws:s3:::b/k"))


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - IAM takes one or a list of each
    return value if isinstance(value, list) else [value]
