"""The AWS identity that deploys: its credentials and its permissions. Only reads."""

from __future__ import annotations

from contextlib import contextmanager
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

from include.deploy.preflight.problems import DENIED, EXPIRED, Problem, code, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_iam import IAMClient

HOME_REGION: Final = "us-east-1"
"""A region that no account can switch off. It distinguishes a wrong region from wrong credentials."""

EXPORT: Final = 'eval "$(aws configure export-credentials --format env)"'
"""Command that sets the variables of AWS's CLI for one session (AWS CLI Command Reference, `export-credentials`). The
profile that `aws login` writes needs `botocore[crt]`, which is not installed (`botocore.credentials.LoginProvider`)."""

_UNKNOWN = {"InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidAccessKeyId"}

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
    "budgets:ModifyBudget",
    "cloudformation:CreateChangeSet",
    "cloudformation:ExecuteChangeSet",
    "ec2:AuthorizeSecurityGroupEgress",
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:CreateSecurityGroup",
    "ec2:CreateTags",
    "ec2:RevokeSecurityGroupEgress",
    "elasticmapreduce:CreateSecurityConfiguration",
    "iam:AddRoleToInstanceProfile",
    "iam:AttachRolePolicy",
    "iam:CreateInstanceProfile",
    "iam:CreateRole",
    "iam:PassRole",
    "iam:PutRolePolicy",
    "iam:TagRole",
    "kms:CreateKey",
    "kms:EnableKeyRotation",
    "kms:PutKeyPolicy",
    "kms:TagResource",
    "s3:CreateBucket",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketTagging",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutObject",
    "sns:CreateTopic",
    "sns:SetTopicAttributes",
    "sns:TagResource",
)
"""Actions of a deployment that create the template's resources, with the stack's tags. CloudFormation's registry lists
those of each resource type (`handlers.create.permissions`)."""


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


def require_region(region: str) -> None:
    """Raise an error if EMR has no such region. Sends no request.

    botocore's list without a partition has the regions of `aws`. The checks of endpoints and buckets have its names, so
    China, GovCloud and the European Sovereign Cloud are refused.

    Raises:
        PreflightError: The region is wrong, or the profile is missing.
    """
    with _explained_errors(region):
        regions = boto3.session.Session().get_available_regions("emr")
    if region not in regions:
        sentence = f"EMR has no region {region} in AWS's standard partition."
        raise PreflightError(Problem(sentence, "aws account list-regions"))


def identify(region: str) -> Caller:
    """Return the AWS identity that deploys.

    Raises:
        PreflightError: Credentials are missing, expired or unknown, or the account has not enabled the region.
    """
    with _explained_errors(region):
        return _caller(region)


@contextmanager
def _explained_errors(region: str) -> Iterator[None]:
    """Replace errors of profiles and credentials.

    Raises:
        PreflightError: One of these errors was raised.
    """
    try:
        yield
    except BotoCoreError as error:
        if problem := sign_in_problem(error):
            raise PreflightError(problem) from error
        raise
    except ClientError as error:
        raise PreflightError(_refusal(error, region)) from error


def sign_in_problem(error: BotoCoreError) -> Problem | None:
    """Return the problem of an error that botocore raises if it has no credentials to send; None for other errors."""
    match error:
        case NoCredentialsError() | ProfileNotFound():
            return Problem(f"No AWS credentials were found: {error}.", "export AWS_PROFILE=…")
        case SSOError() | TokenRetrievalError() | CredentialRetrievalError():
            return Problem(f"The sign-in has expired: {_one_line(error)}", "aws sso login")
        case LoginError():
            return Problem(f"The sign-in has expired: {_one_line(error)}", "aws login")
        case MissingDependencyException():
            return Problem(f"botocore cannot read the sign-in: {_one_line(error)}", EXPORT)
    return None


def _caller(region: str) -> Caller:
    response = boto3.client("sts", region_name=region).get_caller_identity()
    return Caller(response["Account"], response["Arn"])


def _refusal(error: ClientError, region: str) -> Problem:
    reason = code(error)
    if reason in EXPIRED:
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


def missing_permissions(iam: IAMClient, caller: Caller) -> Iterator[Problem]:
    """Simulate the actions that create resources.

    IAM's simulator checks them for any resource. It also denies actions that are allowed on certain resources only, so
    the problem does not stop a deployment. Root users and callers without permission to simulate are not checked.
    """
    try:
        source = _policy_source(iam, caller.arn)
        if source is None:
            return
        simulation = iam.get_paginator("simulate_principal_policy")
        pages = list(simulation.paginate(PolicySourceArn=source, ActionNames=list(NEEDED_ACTIONS)))
    except ClientError as error:
        if code(error) in {*DENIED, "NoSuchEntity", "InvalidInput"}:
            return
        raise
    results = [result for page in pages for result in page["EvaluationResults"]]
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
