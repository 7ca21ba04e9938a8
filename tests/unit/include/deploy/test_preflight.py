"""Checks of credentials, permissions, quotas and leftovers. Responses have the shapes of the API's models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import cfnlint.decode.cfn_yaml
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    LoginRefreshRequired,
    NoCredentialsError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.stub import Stubber
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from include.deploy import preflight
from include.deploy.preflight import Caller, PreflightError
from include.deploy.problems import Deployment, Problem
from include.emr.prices import price_table
from include.settings import Settings
from tests.support.service_reference import condition_keys, sample_arns
from tests.support.stacks import REGION, TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ACCOUNT = "123456789012"
NEW = Deployment(ACCOUNT, REGION, "vpc-1", (), "small", "orchard", exists=False)
ADA = Caller(ACCOUNT, "arn:aws:sts::123456789012:assumed-role/Admin/ada")
ROLE = "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/eu-west-1/Admin"
"""Role of a session of single sign-on, whose ARN lacks the path."""
KEY = "0a1b2c3d-0000-0000-0000-000000000000"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Stubber]:
    """A function that creates a client with prepared responses. The client's requests are checked."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    def make(service: str) -> Stubber:
        stubber = Stubber(
            boto3.client(
                service,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",  # noqa: S106 - of nobody
                config=Config(retries={"total_max_attempts": 1}),
            )
        )
        stubber.activate()
        return stubber

    return make


# --- credentials and region -------------------------------------------------------------------------------------------


def _refuse(monkeypatch: pytest.MonkeyPatch, error: Exception, *, elsewhere: bool = False) -> None:
    def caller(region: str) -> Caller:
        if elsewhere and region == preflight.HOME_REGION:
            return ADA
        raise error

    monkeypatch.setattr(preflight, "_caller", caller)


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
        preflight.identify("eu-south-1")

    assert raised.value.problem.sentence.startswith(sentence)
    assert raised.value.problem.command == command


def test_profile_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    with pytest.raises(PreflightError, match=r"profile .*nobody.* could not be found"):
        preflight.identify(REGION)


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
        preflight.identify(REGION)

    assert raised.value.problem.command == 'eval "$(aws configure export-credentials --format env)"'


def test_unknown_region_is_rejected_before_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse(monkeypatch, AssertionError("a request was sent"))

    with pytest.raises(PreflightError, match=r"EMR has no region eu-west-9\."):
        preflight.identify("eu-west-9")


# --- permissions ------------------------------------------------------------------------------------------------------


def _simulated(*denied: str) -> dict[str, Any]:
    return {
        "EvaluationResults": [
            {"EvalActionName": one, "EvalDecision": "implicitDeny" if one in denied else "allowed"}
            for one in preflight.NEEDED_ACTIONS
        ]
    }


def _simulate(iam: Stubber, *denied: str) -> None:
    role = {"Path": "/", "RoleName": "Admin", "RoleId": "A" * 16, "Arn": ROLE, "CreateDate": datetime.now(UTC)}
    iam.add_response("get_role", {"Role": role}, {"RoleName": "Admin"})
    request = {"PolicySourceArn": ROLE, "ActionNames": list(preflight.NEEDED_ACTIONS)}
    iam.add_response("simulate_principal_policy", _simulated(*denied), request)


def test_missing_permissions_are_one_problem_that_does_not_stop(client: Callable[[str], Stubber]) -> None:
    iam = client("iam")
    _simulate(iam, "iam:CreateRole", "kms:CreateKey")

    assert list(preflight.missing_permissions(iam.client, ADA)) == [
        Problem(
            "IAM's simulator denies iam:CreateRole and kms:CreateKey on some or all resources.",
            f"aws iam simulate-principal-policy --policy-source-arn {ROLE} --action-names iam:CreateRole kms:CreateKey",
            stops=False,
        )
    ]


def test_caller_who_may_do_everything_has_no_problem(client: Callable[[str], Stubber]) -> None:
    iam = client("iam")
    _simulate(iam)

    assert list(preflight.missing_permissions(iam.client, ADA)) == []
    iam.assert_no_pending_responses()


def test_root_user_is_not_simulated(client: Callable[[str], Stubber]) -> None:
    root = Caller("123456789012", "arn:aws:iam::123456789012:root")

    assert list(preflight.missing_permissions(client("iam").client, root)) == []


def test_caller_who_may_not_read_the_role_has_no_problem(client: Callable[[str], Stubber]) -> None:
    iam = client("iam")
    iam.add_client_error("get_role", "AccessDenied")

    assert list(preflight.missing_permissions(iam.client, ADA)) == []


def test_caller_without_permission_to_simulate_has_no_problem(client: Callable[[str], Stubber]) -> None:
    iam = client("iam")
    iam.add_client_error("simulate_principal_policy", "AccessDenied")
    ada = Caller("123456789012", "arn:aws:iam::123456789012:user/ada")

    assert list(preflight.missing_permissions(iam.client, ada)) == []


def test_actions_that_are_simulated_are_those_that_create_the_templates_resources() -> None:
    template = cfnlint.decode.cfn_yaml.load(str(TEMPLATE))
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    handlers = [PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema.get("handlers", {}) for kind in kinds]
    creating = {action for one in handlers for action in one.get("create", {}).get("permissions", [])}
    of_deploy = {"cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet", "s3:PutObject"}

    assert set(preflight.NEEDED_ACTIONS) - of_deploy <= creating
    assert all(condition_keys(action, sample_arns(action)[0]) for action in preflight.NEEDED_ACTIONS)


def test_check_without_permissions_is_one_problem() -> None:
    def denied() -> list[Problem]:
        raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "No."}}, "DescribeVpcs")

    (problem,) = preflight._unless_denied(denied)  # noqa: SLF001

    assert problem.sentence == "You may not call DescribeVpcs, so this check was skipped."
    assert not problem.stops


# --- leftovers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "sentence", "command"),
    [
        (403, "Bucket orchard belongs to another account, or you may not access it.", "make deploy"),
        (301, "Bucket orchard exists in another region.", "make deploy"),
    ],
)
def test_bucket_name_that_is_taken_is_a_problem(
    client: Callable[[str], Stubber], status: int, sentence: str, command: str
) -> None:
    s3 = client("s3")
    s3.add_client_error("head_bucket", str(status), http_status_code=status)

    (problem,) = preflight.leftover_bucket(s3.client, NEW)

    assert problem.sentence == sentence
    assert problem.command.startswith(command)
    assert problem.stops


def test_bucket_of_an_earlier_or_another_stack_is_a_problem(client: Callable[[str], Stubber]) -> None:
    s3 = client("s3")
    s3.add_response("head_bucket", {}, {"Bucket": "orchard"})

    assert list(preflight.leftover_bucket(s3.client, NEW)) == [
        Problem(
            "Bucket orchard exists already; name another one, or empty and delete it (docs/guides/aws.md, Remove).",
            'make deploy DEPLOY="--parameter BucketName=…"',
        )
    ]


def test_missing_bucket_is_no_problem(client: Callable[[str], Stubber]) -> None:
    s3 = client("s3")
    s3.add_client_error("head_bucket", "404", http_status_code=404)

    assert list(preflight.leftover_bucket(s3.client, NEW)) == []


@pytest.mark.parametrize(
    ("description", "state", "found"),
    [
        (preflight.KEY_DESCRIPTION, "Enabled", True),
        (preflight.KEY_DESCRIPTION, "PendingDeletion", False),
        ("another", "Enabled", False),
    ],
)
def test_key_of_an_earlier_stack_is_found_and_does_not_stop(
    client: Callable[[str], Stubber], description: str, state: str, *, found: bool
) -> None:
    kms = client("kms")
    kms.add_response("list_keys", {"Keys": [{"KeyId": KEY}], "Truncated": False}, {})
    metadata = {"KeyId": KEY, "Description": description, "KeyState": state}
    kms.add_response("describe_key", {"KeyMetadata": metadata}, {"KeyId": KEY})

    problems = list(preflight.leftover_keys(kms.client, NEW))

    assert [problem.stops for problem in problems] == ([False] if found else [])
    if found:
        assert problems[0].command == f"aws kms schedule-key-deletion --region {REGION} --key-id {KEY}"


def test_description_of_a_leftover_key_is_that_of_the_template() -> None:
    template = cfnlint.decode.cfn_yaml.load(str(TEMPLATE))

    assert template["Resources"]["Key"]["Properties"]["Description"] == preflight.KEY_DESCRIPTION


# --- quotas, instance types and linked roles --------------------------------------------------------------------------


def _quota(value: float) -> dict[str, Any]:
    return {"Quota": {"ServiceCode": "ec2", "Value": value}}


def _asked(code: str) -> dict[str, str]:
    return {"ServiceCode": "ec2", "QuotaCode": code}


def test_quotas_of_a_new_account_are_too_small_for_medium(client: Callable[[str], Stubber]) -> None:
    quotas = client("service-quotas")
    quotas.add_response("get_service_quota", _quota(5), _asked("L-1216C47A"))
    quotas.add_response("get_service_quota", _quota(5), _asked("L-34B43A08"))

    raise_it = f"aws service-quotas request-service-quota-increase --region {REGION} --service-code ec2"
    assert list(
        preflight.small_quotas(quotas.client, Deployment(ACCOUNT, REGION, "vpc-1", (), "medium", "b", exists=False))
    ) == [
        Problem(
            "The quota of on-demand vCPUs is 5; a medium cluster needs 12.",
            f"{raise_it} --quota-code L-1216C47A --desired-value 12",
        ),
        Problem(
            "The quota of spot vCPUs is 5; a medium cluster needs 24.",
            f"{raise_it} --quota-code L-34B43A08 --desired-value 24",
        ),
    ]


def test_small_cluster_needs_no_spot_and_the_default_counts_where_the_account_has_no_value(
    client: Callable[[str], Stubber],
) -> None:
    quotas = client("service-quotas")
    quotas.add_client_error("get_service_quota", "NoSuchResourceException")
    quotas.add_response("get_aws_default_service_quota", _quota(12), _asked("L-1216C47A"))

    assert list(preflight.small_quotas(quotas.client, NEW)) == []
    quotas.assert_no_pending_responses()


TYPES = [kind.name for kind in price_table().types]


def _offer(emr: Stubber, *pages: list[str]) -> None:
    for number, names in enumerate(pages):
        asked = {"ReleaseLabel": "emr-spark-8.1.0"} | ({"Marker": str(number)} if number else {})
        more = {"Marker": str(number + 1)} if number + 1 < len(pages) else {}
        types = [{"Type": name} for name in names]
        emr.add_response("list_supported_instance_types", {"SupportedInstanceTypes": types, **more}, asked)


def test_instance_types_of_all_pages_are_offered(client: Callable[[str], Stubber]) -> None:
    emr = client("emr")
    _offer(emr, TYPES[::2], TYPES[1::2])

    assert list(preflight.missing_types(emr.client, Settings(), REGION)) == []
    emr.assert_no_pending_responses()


def test_instance_types_that_emr_does_not_offer_are_one_problem(client: Callable[[str], Stubber]) -> None:
    emr = client("emr")
    _offer(emr, [name for name in TYPES if name not in {"m7g.xlarge", "m7g.4xlarge", "m6a.xlarge"}])

    assert list(preflight.missing_types(emr.client, Settings(), REGION)) == [
        Problem(
            f"EMR does not offer m7g.xlarge and m7g.4xlarge in {REGION} for emr-spark-8.1.0; remove them from a copy "
            "of include/emr/prices.toml.",
            "export FRUITS_PRICES=…",
        )
    ]


@pytest.mark.parametrize("is_refused", [True, False])
def test_release_without_instance_types_is_a_problem_that_does_not_stop(
    client: Callable[[str], Stubber], *, is_refused: bool
) -> None:
    emr = client("emr")
    if is_refused:
        emr.add_client_error("list_supported_instance_types", "InvalidRequestException")
    else:
        _offer(emr, [])

    assert list(preflight.missing_types(emr.client, Settings(), REGION)) == [
        Problem(
            f"EMR lists no instance types for emr-spark-8.1.0 in {REGION}; if the command does not print this release, "
            "set FRUITS_EMR_RELEASE to one that it prints.",
            f"aws emr list-release-labels --region {REGION}",
            stops=False,
        )
    ]


def test_missing_linked_roles_are_a_problem(client: Callable[[str], Stubber]) -> None:
    iam = client("iam")
    iam.add_client_error("get_role", "NoSuchEntity", expected_params={"RoleName": "AWSServiceRoleForEMRCleanup"})

    assert list(preflight.missing_linked_roles(iam.client, NEW)) == [
        Problem(
            "The account has no role AWSServiceRoleForEMRCleanup.",
            "aws iam create-service-linked-role --aws-service-name elasticmapreduce.amazonaws.com",
        )
    ]
