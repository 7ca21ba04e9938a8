"""Checks of an AWS account before anything is created or costs money.

`check` covers permissions, network, quotas, instance types and the leftovers of an earlier deployment. It only reads.
Each problem has one sentence and the command that fixes it. The facts about AWS name their sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    LoginError,
    MissingDependencyException,
    NoCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from include.deploy.capacity import capacity
from include.deploy.network import network
from include.deploy.problems import Deployment, Problem, code, joined
from include.emr.prices import price_table
from include.emr.sizing import SIZES
from include.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_emr import EMRClient
    from mypy_boto3_emr.type_defs import ListSupportedInstanceTypesInputTypeDef
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_service_quotas import ServiceQuotasClient

    from include.settings import Settings

ON_DEMAND_QUOTA: Final = "L-1216C47A"
"""Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances, in vCPUs (EC2 User Guide, "On-Demand Instance
quotas")."""
SPOT_QUOTA: Final = "L-34B43A08"
"""All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests, in vCPUs (EC2 User Guide, "Spot Instance
quotas")."""
LINKED_ROLES: Final = {
    "AWSServiceRoleForEMRCleanup": "elasticmapreduce.amazonaws.com",
    "AWSServiceRoleForEC2Spot": "spot.amazonaws.com",
}
"""Service-linked roles, one per account, by name, with their service (EMR Management Guide, "Using service-linked roles
for cleanup"; EC2 User Guide, "Service-linked role for Spot Instance requests")."""
KEY_DESCRIPTION: Final = "Disks of clusters, and the bucket if its encryption is SSE-KMS"
"""Description of the stack's key, which identifies a leftover key."""
HOME_REGION: Final = "us-east-1"
"""A region that no account can switch off. It distinguishes a wrong region from wrong credentials."""

EXPORT: Final = 'eval "$(aws configure export-credentials --format env)"'
"""Command that sets the variables of AWS's CLI for one session (AWS CLI Command Reference, `export-credentials`). The
profile that `aws login` writes needs `botocore[crt]`, which is not installed (`botocore.credentials.LoginProvider`)."""

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN = {"InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidAccessKeyId"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
_INVALID = {"InvalidRequestException", "ValidationException"}
"""EMR's errors for an invalid request: the only one in the model of ListSupportedInstanceTypes, and RunJobFlow's."""

CALLED_ACTIONS: Final = (
    "cloudformation:CreateChangeSet",
    "cloudformation:DeleteChangeSet",
    "cloudformation:DeleteStack",
    "cloudformation:DescribeChangeSet",
    "cloudformation:DescribeEvents",
    "cloudformation:DescribeStackEvents",
    "cloudformation:DescribeStacks",
    "cloudformation:ExecuteChangeSet",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcEndpoints",
    "ec2:DescribeVpcs",
    "elasticmapreduce:ListSupportedInstanceTypes",
    "iam:GetRole",
    "iam:SimulatePrincipalPolicy",
    "kms:DescribeKey",
    "kms:ListKeys",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:PutObject",
    "servicequotas:GetAWSDefaultServiceQuota",
    "servicequotas:GetServiceQuota",
)
"""Actions that `make deploy` itself calls. CloudFormation calls others with the caller's permissions."""
NEEDED_ACTIONS: Final = (
    "cloudformation:CreateChangeSet",
    "cloudformation:ExecuteChangeSet",
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:CreateSecurityGroup",
    "elasticmapreduce:CreateSecurityConfiguration",
    "iam:AttachRolePolicy",
    "iam:CreateInstanceProfile",
    "iam:CreateRole",
    "iam:PassRole",
    "iam:PutRolePolicy",
    "kms:CreateKey",
    "s3:CreateBucket",
    "s3:PutBucketPolicy",
    "s3:PutObject",
    "sns:CreateTopic",
)
"""Actions of a deployment that create resources. CloudFormation's registry lists those of each resource type
(`handlers.create.permissions`)."""


@dataclass(frozen=True)
class Caller:
    """The AWS identity that deploys.

    Args:
        account: Account ID.
        arn: ARN of the user or of the assumed role.
    """

    account: str
    arn: str


class PreflightError(Exception):
    """The account cannot be checked; `problem` has the reason."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


def identify(region: str) -> Caller:
    """Return the AWS identity that deploys.

    Raises:
        PreflightError: Credentials are missing, expired or unknown, or the region is wrong.
    """
    try:
        if region not in boto3.session.Session().get_available_regions("emr"):
            raise PreflightError(Problem(f"EMR has no region {region}.", "aws account list-regions"))
        return _caller(region)
    except (NoCredentialsError, ProfileNotFound) as error:
        raise PreflightError(Problem(f"No AWS credentials were found: {error}.", "export AWS_PROFILE=…")) from error
    except (SSOError, TokenRetrievalError, CredentialRetrievalError) as error:
        raise PreflightError(Problem(f"The sign-in has expired: {_one_line(error)}", "aws sso login")) from error
    except LoginError as error:
        raise PreflightError(Problem(f"The sign-in has expired: {_one_line(error)}", "aws login")) from error
    except MissingDependencyException as error:
        raise PreflightError(Problem(f"botocore cannot read the sign-in: {_one_line(error)}", EXPORT)) from error
    except ClientError as error:
        raise PreflightError(_refusal(error, region)) from error


def _caller(region: str) -> Caller:
    response = boto3.client("sts", region_name=region).get_caller_identity()
    return Caller(response["Account"], response["Arn"])


def _refusal(error: ClientError, region: str) -> Problem:
    reason = code(error)
    if reason in _EXPIRED:
        return Problem(f"The AWS credentials have expired ({reason}).", "aws sso login")
    if reason in _UNKNOWN and region != HOME_REGION and _works_elsewhere():
        return Problem(
            f"The account has not enabled region {region} ({reason}).",
            f"aws account enable-region --region-name {region}",
        )
    if reason in _UNKNOWN:
        return Problem(f"AWS does not know these credentials ({reason}).", "aws configure list")
    return Problem(f"AWS refuses {error.operation_name}: {_one_line(error)}", "aws sts get-caller-identity")


def _works_elsewhere() -> bool:
    try:
        _caller(HOME_REGION)
    except (ClientError, BotoCoreError):
        return False
    return True


def check(deployment: Deployment, caller: Caller) -> list[Problem]:
    """Return all problems, those of permissions first. Only reads.

    Args:
        deployment: Deployment to check.
        caller: AWS identity that deploys, from `identify`.

    Raises:
        pydantic.ValidationError: A variable `FRUITS_…` is invalid.
        include.emr.prices.PricesError: The table of prices is missing or invalid.
        include.emr.sizing.ClusterError: The table of prices has no instance type for a fleet.
    """
    region = deployment.region
    ec2 = boto3.client("ec2", region_name=region)
    iam = boto3.client("iam", region_name=region)
    checks: list[Callable[[], Iterable[Problem]]] = [
        lambda: missing_permissions(iam, caller),
        lambda: leftover_bucket(boto3.client("s3", region_name=region), deployment),
        lambda: leftover_keys(boto3.client("kms", region_name=region), deployment),
        lambda: network(ec2, deployment),
        lambda: capacity(ec2, deployment, settings()),
        lambda: small_quotas(boto3.client("service-quotas", region_name=region), deployment),
        lambda: missing_types(boto3.client("emr", region_name=region), settings(), region),
        lambda: missing_linked_roles(iam, deployment),
    ]
    problems = [problem for run in checks for problem in _unless_denied(run)]
    return list(dict.fromkeys(problems))


def _unless_denied(run: Callable[[], Iterable[Problem]]) -> Iterator[Problem]:
    """Yield the problems of a check, or one problem if the caller lacks the check's permissions."""
    try:
        yield from run()
    except ClientError as error:
        if code(error) not in _DENIED:
            raise
        yield Problem(
            f"You may not call {error.operation_name}, so this check was skipped.",
            "export AWS_PROFILE=…",
            stops=False,
        )


def missing_permissions(iam: IAMClient, caller: Caller) -> Iterator[Problem]:
    """Simulate the actions that create resources.

    IAM's simulator checks them for any resource. It also denies actions that are allowed on certain resources only, so
    the problem does not stop a deployment. Root users and callers without permission to simulate are not checked.
    """
    try:
        source = _policy_source(iam, caller.arn)
        if source is None:
            return
        response = iam.simulate_principal_policy(PolicySourceArn=source, ActionNames=list(NEEDED_ACTIONS))
    except ClientError as error:
        if code(error) in {*_DENIED, "NoSuchEntity", "InvalidInput"}:
            return
        raise
    results = response["EvaluationResults"]
    denied = [result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed"]
    if denied:
        yield Problem(
            f"IAM's simulator denies {joined(denied)} on some or all resources.",
            f"aws iam simulate-principal-policy --policy-source-arn {source} --action-names {' '.join(denied)}",
            stops=False,
        )


def _policy_source(iam: IAMClient, arn: str) -> str | None:
    """Return the ARN of the caller's user or role; None for the account's root user.

    A session's ARN lacks the path of its role. Roles of single sign-on have one: `aws-reserved/sso.amazonaws.com/…`
    (serverless issue 13652).
    """
    _, _, session = arn.partition(":assumed-role/")
    if session:
        return iam.get_role(RoleName=session.partition("/")[0])["Role"]["Arn"]
    return arn if ":iam:" in arn and ":user/" in arn else None


def leftover_bucket(s3: S3Client, deployment: Deployment) -> Iterator[Problem]:
    """Check that no bucket has the new bucket's name, for example after a failed deployment."""
    name = deployment.bucket
    if deployment.exists:
        return
    another = 'make deploy DEPLOY="--parameter BucketName=…"'
    try:
        s3.head_bucket(Bucket=name)
    except ClientError as error:
        if code(error) in {"404", "NoSuchBucket"}:
            return
        if code(error) == "403":
            yield Problem(f"Bucket {name} belongs to another account, or you may not access it.", another)
            return
        if code(error) == "301":
            yield Problem(f"Bucket {name} exists in another region.", another)
            return
        raise
    # `aws s3 rb --force` keeps the versions of objects, and so the bucket (AWS CLI Command Reference, "rb").
    yield Problem(
        f"Bucket {name} exists already; name another one, or empty and delete it (docs/guides/aws.md, Remove).",
        another,
    )


def leftover_keys(kms: KMSClient, deployment: Deployment) -> Iterator[Problem]:
    """Search for keys of an earlier stack. Each costs $1 per month (KMS pricing)."""
    if deployment.exists:
        return
    for page in kms.get_paginator("list_keys").paginate():
        for key in page["Keys"]:
            metadata = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            if metadata.get("Description") == KEY_DESCRIPTION and metadata.get("KeyState") == "Enabled":
                yield Problem(
                    f"Key {key['KeyId']} of an earlier stack costs $1 per month; data it encrypted is lost without it.",
                    f"aws kms schedule-key-deletion --region {deployment.region} --key-id {key['KeyId']}",
                    stops=False,
                )


def small_quotas(quotas: ServiceQuotasClient, deployment: Deployment) -> Iterator[Problem]:
    """Compare the account's vCPU quotas with a cluster of the chosen size. New accounts have 5 of each."""
    nodes = SIZES[deployment.size]
    needed = {
        ON_DEMAND_QUOTA: ("on-demand", nodes.primary_vcpus + nodes.core_vcpus),
        SPOT_QUOTA: ("spot", nodes.task_vcpus),
    }
    for quota, (market, vcpus) in needed.items():
        value = _quota(quotas, quota) if vcpus else None
        if value is not None and value < vcpus:
            yield Problem(
                f"The quota of {market} vCPUs is {value:.0f}; a {deployment.size} cluster needs {vcpus}.",
                f"aws service-quotas request-service-quota-increase --region {deployment.region} --service-code ec2 "
                f"--quota-code {quota} --desired-value {vcpus}",
            )


def _quota(quotas: ServiceQuotasClient, quota: str) -> float | None:
    """Return the account's value of a quota, or else AWS's default."""
    for request in (quotas.get_service_quota, quotas.get_aws_default_service_quota):
        try:
            return request(ServiceCode="ec2", QuotaCode=quota)["Quota"]["Value"]
        except ClientError as error:
            if code(error) != "NoSuchResourceException":
                raise
    return None


def missing_types(emr: EMRClient, chosen: Settings, region: str) -> Iterator[Problem]:
    """Compare the instance types of the table of prices with those that EMR offers in the region for the release.

    RunJobFlow refuses a request with any other type: "Instance type 'r5b.xlarge' is not supported" (boto3 issue 3418).

    Args:
        emr: Client in the region of the clusters.
        chosen: Settings with release, architecture and table of prices.
        region: Region of the clusters.
    """
    release = chosen.emr_release
    offered = _offered_types(emr, release)
    if not offered:
        yield Problem(
            f"EMR lists no instance types for {release} in {region}; if the command does not print this release, set "
            "FRUITS_EMR_RELEASE to one that it prints.",
            f"aws emr list-release-labels --region {region}",
            stops=False,  # EMR's model of the operation knows labels like emr-7.1.0 only
        )
        return
    types = [kind.name for kind in price_table(chosen.prices).types if kind.architecture == chosen.emr_architecture]
    if missing := [name for name in types if name not in offered]:
        yield Problem(
            f"EMR does not offer {joined(missing)} in {region} for {release}; remove them from a copy of "
            "include/emr/prices.toml.",
            "export FRUITS_PRICES=…",
        )


def _offered_types(emr: EMRClient, release: str) -> set[str]:
    """Return the names of EMR's instance types, none if EMR refuses the release.

    botocore has no paginator for this operation.
    """
    request: ListSupportedInstanceTypesInputTypeDef = {"ReleaseLabel": release}
    names: set[str] = set()
    while True:
        try:
            page = emr.list_supported_instance_types(**request)
        except ClientError as error:
            if code(error) in _INVALID:
                return set()
            raise
        names |= {kind["Type"] for kind in page["SupportedInstanceTypes"]}
        if not page.get("Marker"):
            return names
        request["Marker"] = page["Marker"]


def missing_linked_roles(iam: IAMClient, deployment: Deployment) -> Iterator[Problem]:
    """Search for the service-linked roles that neither EMR nor Airflow has permission to create."""
    for name, service in LINKED_ROLES.items():
        if service.startswith("spot") and not SIZES[deployment.size].task:
            continue
        try:
            iam.get_role(RoleName=name)
        except ClientError as error:
            if code(error) != "NoSuchEntity":
                raise
            yield Problem(
                f"The account has no role {name}.", f"aws iam create-service-linked-role --aws-service-name {service}"
            )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
