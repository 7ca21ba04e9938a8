"""The AWS identity that deploys: its credentials and permissions. Responses have the shapes of the API's models."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
import cfnlint.decode.cfn_yaml
import pytest
from botocore.exceptions import (
    ClientError,
    LoginRefreshRequired,
    NoCredentialsError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from include.deploy.preflight import caller as module
from include.deploy.preflight.caller import (
    NEEDED_ACTIONS,
    Caller,
    PreflightError,
    identify,
    missing_permissions,
    require_region,
)
from include.deploy.preflight.problems import Problem
from tests.support.service_reference import condition_keys, sample_arns
from tests.support.stacks import REGION, TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from botocore.stub import Stubber

ACCOUNT = "123456789012"
ADA = Caller(ACCOUNT, "arn:aws:sts::123456789012:assumed-role/Admin/ada")
ROLE = "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/eu-west-1/Admin"
"""Role of a session of single sign-on, whose ARN lacks the path."""


# --- credentials and region -------------------------------------------------------------------------------------------


def _refuse(monkeypatch: pytest.MonkeyPatch, error: Exception, *, elsewhere: bool = False) -> None:
    def caller(region: str) -> Caller:
        if elsewhere and region == module.HOME_REGION:
            return ADA
        raise error

    monkeypatch.setattr(module, "_caller", caller)


def _answer(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "No."}}, "GetCallerIdentity")


@pytest.mark.parametrize(
    ("error", "elsewhere", "sentence", "command"),
    [
        (_answer("ExpiredToken"), False, "The AWS credentials have expired (ExpiredToken).", "aws sso login"),
        (
            _answer("InvalidClientTokenId"),
            False,
            "AWS does not know these credentials (InvalidClientTokenId).",
            "aws configure list",
        ),
        (
            _answer("InvalidClientTokenId"),
            True,
            "The account has not enabled region eu-south-1 (InvalidClientTokenId).",
            "aws account enable-region --region-name eu-south-1",
        ),
        (
            UnauthorizedSSOTokenError(),
            False,
            "The sign-in has expired: The SSO session associated with this profile has expired",
            "aws sso login",
        ),
        (
            TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"),
            False,
            "The sign-in has expired: Error when retrieving token from sso: Token has expired and refresh failed",
            "aws sso login",
        ),
        (LoginRefreshRequired(), False, "The sign-in has expired: Your session has expired", "aws login"),
        (NoCredentialsError(), False, "No AWS credentials were found", "export AWS_PROFILE=…"),
        (_answer("Odd"), False, "AWS refuses GetCallerIdentity", "aws sts get-caller-identity"),
    ],
)
def test_refused_identity_is_one_sentence_and_a_command(
    error: Exception, sentence: str, command: str, monkeypatch: pytest.MonkeyPatch, *, elsewhere: bool
) -> None:
    _refuse(monkeypatch, error, elsewhere=elsewhere)

    with pytest.raises(PreflightError) as raised:
        identify("eu-south-1")

    assert raised.value.problem.sentence.startswith(sentence)
    assert raised.value.problem.command == command


@pytest.mark.parametrize("function", [identify, require_region])
def test_profile_that_does_not_exist_is_named(
    function: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    with pytest.raises(PreflightError, match=r"profile .*nobody.* could not be found"):
        function(REGION)


def test_profile_of_aws_login_is_exported_by_aws_cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[profile ada]\nlogin_session = arn:aws:iam::123456789012:user/ada\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "ada")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr("botocore.credentials.EC", None)  # as without awscrt

    with pytest.raises(PreflightError, match="botocore cannot read the sign-in") as raised:
        identify(REGION)

    assert raised.value.problem.command == 'eval "$(aws configure export-credentials --format env)"'


# --- permissions ------------------------------------------------------------------------------------------------------


def _simulate(iam: Stubber, *denied: str) -> None:
    """Prepare responses of two pages. IAM may return fewer results than allowed (API Reference, `MaxItems`)."""
    role = {"Path": "/", "RoleName": "Admin", "RoleId": "A" * 16, "Arn": ROLE, "CreateDate": datetime.now(UTC)}
    iam.add_response("get_role", {"Role": role}, {"RoleName": "Admin"})
    request = {"PolicySourceArn": ROLE, "ActionNames": list(NEEDED_ACTIONS)}
    results = [
        {"EvalActionName": one, "EvalDecision": "implicitDeny" if one in denied else "allowed"}
        for one in NEEDED_ACTIONS
    ]
    first = {"EvaluationResults": results[:1], "IsTruncated": True, "Marker": "2"}
    iam.add_response("simulate_principal_policy", first, request)
    iam.add_response("simulate_principal_policy", {"EvaluationResults": results[1:]}, {**request, "Marker": "2"})


def test_missing_permissions_are_one_problem_that_does_not_stop(client: Callable[[str], Stubber]) -> None:
    iam = client("iam")
    _simulate(iam, "iam:CreateRole", "kms:CreateKey")

    assert list(missing_permissions(iam.client, ADA)) == [
        Problem(
            "IAM's simulator denies iam:CreateRole and kms:CreateKey on some or all resources.",
            f"aws iam simulate-principal-policy --policy-source-arn {ROLE} --action-names iam:CreateRole kms:CreateKey",
            stops=False,
        )
    ]


def test_caller_who_may_do_everything_has_no_problem(client: Callable[[str], Stubber]) -> None:
    iam = client("iam")
    _simulate(iam)

    assert list(missing_permissions(iam.client, ADA)) == []
    iam.assert_no_pending_responses()


def test_root_user_is_not_simulated(client: Callable[[str], Stubber]) -> None:
    root = Caller("123456789012", "arn:aws:iam::123456789012:root")

    assert list(missing_permissions(client("iam").client, root)) == []


def test_caller_who_may_not_read_the_role_has_no_problem(client: Callable[[str], Stubber]) -> None:
    iam = client("iam")
    iam.add_client_error("get_role", "AccessDenied")

    assert list(missing_permissions(iam.client, ADA)) == []


def test_caller_without_permission_to_simulate_has_no_problem(client: Callable[[str], Stubber]) -> None:
    iam = client("iam")
    iam.add_client_error("simulate_principal_policy", "AccessDenied")
    ada = Caller("123456789012", "arn:aws:iam::123456789012:user/ada")

    assert list(missing_permissions(iam.client, ada)) == []


READING = ("Describe", "Get", "List", "View")
OF_OTHER_PROPERTIES = re.compile(
    "budgets:TagResource|iam:UntagRole|kms:DisableKey|s3tables:.*|sns:(PutDataProtectionPolicy|Subscribe)|"
    "s3:(CreateBucketMetadataTableConfiguration|DeleteObject|TagResource|UpdateBucketMetadata.*|Put("
    "Accelerate|Analytics|BucketAbac|BucketCORS|BucketLogging|BucketNotification|BucketObjectLock|BucketReplication|"
    "BucketWebsite|IntelligentTiering|Inventory|Metrics|ObjectAcl|ObjectLock|Replication).*)"
)
"""Actions for properties that the template's resources do not have, or only with a parameter."""


def test_actions_that_are_simulated_are_those_that_create_the_templates_resources() -> None:
    template = cfnlint.decode.cfn_yaml.load(str(TEMPLATE))
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    handlers = [PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema.get("handlers", {}) for kind in kinds]
    creating = {
        action
        for one in handlers
        for action in one.get("create", {}).get("permissions", [])
        if not action.partition(":")[2].startswith(READING) and not OF_OTHER_PROPERTIES.fullmatch(action)
    }
    of_deploy = {"cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet", "s3:PutObject"}

    assert set(NEEDED_ACTIONS) - of_deploy == creating
    assert all(condition_keys(action, sample_arns(action)[0]) for action in NEEDED_ACTIONS)
