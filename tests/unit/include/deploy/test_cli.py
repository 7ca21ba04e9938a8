"""`python -m include.deploy` against moto's server, over HTTP."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from moto.cloudformation.models import ChangeSet
from moto.server import ThreadedMotoServer
from moto.servicequotas.models import ServiceQuotasBackend

from include.deploy import certificates, cli, uploads
from include.deploy.preflight.caller import CALLED_ACTIONS
from include.deploy.preflight.network import EMR_TAG
from include.deploy.stack import Stack
from include.deploy.uploads import Upload
from include.emr.prices import DEFAULT_FILE
from include.settings import settings
from tests.support.aws_requests import NOT_CHECKED, action, recording, violations
from tests.support.network import Network
from tests.support.service_reference import actions
from tests.support.stacks import REGION, amazons_policy

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")  # moto has no bucket policies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARTIFACTS = [
    Upload("models/net.onnx", b"weights"),
    Upload("artifacts/launch-1.py", b"import this"),
    Upload("artifacts/wheelhouse-2.txt", b"x86_64 wheels/3/stone.whl\n"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch, amazons_policy():
        patch.setattr(ChangeSet, "apply", _apply)
        patch.setattr(ServiceQuotasBackend, "get_service_quota", _quota)  # moto has those of VPCs only
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


def _apply(change_set: ChangeSet) -> None:
    """Apply a change set as moto does, and compute the outputs, which moto leaves out."""
    stack = change_set.stack
    stack.resource_map.update(change_set.template_dict, change_set.parameters)
    stack.template_dict = change_set.template_dict
    stack.output_map = stack._create_output_map()  # noqa: SLF001


def _quota(_: ServiceQuotasBackend, service_code: str, quota_code: str) -> dict[str, Any]:
    return {"ServiceCode": service_code, "QuotaCode": quota_code, "Value": 32.0}


@pytest.fixture
def account(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The ID of a VPC in an account that has only a network."""
    import requests

    requests.post(f"{server}/moto-api/reset", timeout=10).raise_for_status()
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(uploads, "build", lambda *_: ARTIFACTS)
    boto3.client("iam", region_name=REGION).create_role(
        RoleName="AWSServiceRoleForEMRCleanup", AssumeRolePolicyDocument="{}"
    )
    return Network().vpc


def _stacks() -> list[str]:
    stacks = boto3.client("cloudformation", region_name=REGION).describe_stacks()["Stacks"]
    return [stack["StackStatus"] for stack in stacks]


def _objects(bucket: str) -> dict[str, datetime]:
    listed = boto3.client("s3", region_name=REGION).list_objects_v2(Bucket=bucket)["Contents"]
    return {one["Key"]: one["LastModified"] for one in listed}


def test_deploy_shows_the_plan_creates_the_stack_uploads_and_prints_the_settings(
    account: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--vpc", account, "--yes"]) == 0

    out = capsys.readouterr().out
    bucket = f"fruits-image-features-123456789012-{REGION}"
    assert out.index("add     Bucket") < out.index("upload  artifacts/launch-1.py") < out.index("Changing the stack")
    assert f"FRUITS_BUCKET={bucket}\n" in out
    assert "FRUITS_EMR_SECURITY_CONFIGURATION=" in out
    assert "deletes runs after FRUITS_RETENTION_DAYS (90)" in out
    assert "assumes arn:aws:iam::123456789012:role/" in out
    assert set(_objects(bucket)) == {*(upload.key for upload in ARTIFACTS), certificates.KEY}


def test_requests_of_a_deployment_are_valid_and_need_only_the_permissions_that_are_documented(account: str) -> None:
    with recording() as calls:
        assert cli.main(["--vpc", account, "--yes"]) == 0
        assert cli.main(["--parameter", "MonthlyBudgetUsd=50", "--yes"]) == 0

    called = {action(call) for call in calls} - NOT_CHECKED
    assert {"cloudformation:ExecuteChangeSet", "ec2:DescribeVpcs", "s3:PutObject"} <= called
    assert [violation for call in calls for violation in violations(call)] == []
    assert called - set(CALLED_ACTIONS) == set()
    assert [name for name in CALLED_ACTIONS if name not in actions(name)] == []


def test_named_subnets_are_checked_and_become_a_setting(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    of_vpc = [{"Name": "vpc-id", "Values": [account]}]
    (subnet,) = boto3.client("ec2", region_name=REGION).describe_subnets(Filters=of_vpc)["Subnets"]
    options = ["--vpc", account, "--yes", "--subnets"]

    assert cli.main([*options, f"subnet-0123, {subnet['SubnetId']}"]) == 1
    assert cli.main([*options, subnet["SubnetId"]]) == 0

    out = capsys.readouterr().out
    assert f"VPC {account} has no subnet subnet-0123 in {REGION}." in out
    assert out.count("has no subnet") == 1
    assert f"FRUITS_EMR_SUBNET_ID={subnet['SubnetId']}\n" in out


def test_second_deploy_changes_nothing_and_uploads_nothing_without_a_question(
    account: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["--vpc", account, "--yes"])
    before = _objects(f"fruits-image-features-123456789012-{REGION}")
    capsys.readouterr()

    assert cli.main(["--vpc", account]) == 0

    out = capsys.readouterr().out
    assert "  nothing to change\n" in out
    assert "  nothing to upload\n" in out
    assert "FRUITS_BUCKET=" in out
    assert _objects(f"fruits-image-features-123456789012-{REGION}") == before


def test_deploy_of_a_changed_parameter_updates_the_stack_and_keeps_the_others(
    account: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["--vpc", account, "--parameter", "MonthlyBudgetUsd=50", "--yes"])

    assert cli.main(["--parameter", "AlertEmail=team@example.com", "--yes"]) == 0

    assert _stacks() == ["UPDATE_COMPLETE"]
    (stack,) = boto3.client("cloudformation", region_name=REGION).describe_stacks()["Stacks"]
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    assert parameters["VpcId"] == account
    assert parameters["MonthlyBudgetUsd"] == "50"
    assert "Changing the stack" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["", "n", EOFError])
def test_deploy_without_a_yes_changes_nothing(
    account: str,
    answer: str | type[EOFError],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def reply(_: str) -> str:
        if isinstance(answer, str):
            return answer
        raise answer

    monkeypatch.setattr("builtins.input", reply)

    assert cli.main(["--vpc", account]) == cli.EXIT_DECLINED

    assert "Nothing was changed." in capsys.readouterr().out
    assert not [status for status in _stacks() if status != "DELETE_COMPLETE"]
    assert boto3.client("s3", region_name=REGION).list_buckets()["Buckets"] == []


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-2", "eu-central-2"])
def test_deploy_outside_europe_is_refused_before_any_request_to_aws(
    region: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(boto3, "client")

    assert cli.main(["--region", region, "--yes"]) == 1

    assert f"Region {region} is outside the European Union" in capsys.readouterr().err


@pytest.mark.parametrize("region", ["eu-west-9", "eusc-de-east-1", "us-gov-west-1", "cn-north-1"])
def test_region_of_no_or_another_partition_is_refused_by_its_name(
    region: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(boto3, "client")

    assert cli.main(["--region", region, "--allow-outside-europe", "--yes"]) == 1

    with_option = capsys.readouterr().err
    assert f"EMR has no region {region} in AWS's standard partition." in with_option
    assert cli.main(["--region", region, "--yes"]) == 1
    assert capsys.readouterr().err == with_option


def test_deploy_outside_europe_is_allowed_by_an_option(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert account
    vpc = Network("us-east-1").vpc

    assert cli.main(["--region", "us-east-1", "--allow-outside-europe", "--vpc", vpc, "--yes"]) == 0

    assert "FRUITS_BUCKET=fruits-image-features-123456789012-us-east-1" in capsys.readouterr().out


def test_regions_in_europe_are_those_of_the_template() -> None:
    import cfnlint.decode.cfn_yaml

    from include.deploy.stack import TEMPLATE

    (assertion,) = cfnlint.decode.cfn_yaml.load(str(TEMPLATE))["Rules"]["DataStayInEurope"]["Assertions"]
    assert tuple(assertion["Assert"]["Fn::Contains"][0]) == cli.EU_REGIONS


@pytest.mark.usefixtures("account")
def test_deploy_without_credentials_reports_them_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    assert cli.main(["--yes"]) == 1

    assert "No AWS credentials were found" in capsys.readouterr().err


@pytest.mark.parametrize("ignored", [False, True])
def test_deploy_shows_problems_in_one_table_and_stops_unless_they_are_ignored(
    account: str, capsys: pytest.CaptureFixture[str], *, ignored: bool
) -> None:
    boto3.client("ec2", region_name=REGION).delete_tags(Resources=[account], Tags=[{"Key": EMR_TAG}])
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="left")

    options = ["--vpc", account, "--size", "large", "--parameter", "BucketName=left", "--yes"]
    code = cli.main([*options, *(["--ignore-problems"] if ignored else [])])

    printed = capsys.readouterr()
    head, *rows = printed.out[printed.out.index("problem ") :].splitlines()
    column = head.index("fix it with")
    shown = {row[:column].rstrip(): row[column:] for row in rows[:4]}
    assert list(shown) == [
        (
            "Bucket left exists already in us-east-1; name another one, or empty and delete it (docs/guides/aws.md, "
            "Remove)."
        ),
        f"VPC {account} lacks the tag {EMR_TAG}=true.",
        "The quota of on-demand vCPUs is 32; a large cluster needs 36.",
        "The quota of spot vCPUs is 32; a large cluster needs 96.",
    ]
    assert all(command.startswith(("aws ", "make deploy ")) for command in shown.values())
    if not ignored:
        assert code == 1
        assert _stacks() == []
        assert "nothing was changed. Fix the problems above, or add --ignore-problems." in printed.err


@pytest.fixture
def read_again() -> Iterator[None]:
    """Let the test's variables decide."""
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.usefixtures("read_again")
def test_instance_types_are_those_of_airflows_price_table(
    account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(DEFAULT_FILE.read_text().replace("m7g.xlarge", "m77g.xlarge"))
    monkeypatch.setenv("FRUITS_PRICES", str(table))

    assert cli.main(["--vpc", account, "--yes"]) == 1

    assert f"EMR does not offer m77g.xlarge in {REGION} for emr-spark-8.1.0" in capsys.readouterr().out
    assert _stacks() == []


@pytest.mark.usefixtures("read_again")
def test_table_of_prices_without_types_for_a_fleet_stops_the_deployment(
    account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(DEFAULT_FILE.read_text().replace("vcpus = 4", "vcpus = 2"))
    monkeypatch.setenv("FRUITS_PRICES", str(table))

    assert cli.main(["--vpc", account, "--yes"]) == 1

    assert "The table of prices has no arm64 instance type of 4 virtual CPUs" in capsys.readouterr().err


@pytest.mark.usefixtures("read_again")
@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("FRUITS_EMR_RELEASE=emr-6.1.0", "emr_release"),
        ("FRUITS_PRICES=missing.toml", "Cannot read the table of prices missing.toml"),
    ],
)
def test_invalid_variable_of_airflow_stops_the_deployment(
    account: str, variable: str, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(*variable.split("="))

    assert cli.main(["--vpc", account, "--yes"]) == 1

    assert reason in capsys.readouterr().err
    assert _stacks() == []


def test_endpoint_may_admit_only_the_nodes_of_the_stack(account: str) -> None:
    assert account
    network = Network()
    cli.main(["--vpc", network.vpc, "--yes"])
    outputs = Stack(boto3.client("cloudformation", region_name=REGION), "fruits").outputs()
    network.close()
    assert cli.main(["--yes"]) == 1

    network.admit(UserIdGroupPairs=[{"GroupId": outputs[name]} for name in cli.NODE_GROUPS])

    assert cli.main(["--yes"]) == 0


def test_stack_without_a_network_is_a_problem(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert account

    assert cli.main(["--yes"]) == 1

    assert "A new stack needs a VPC for its clusters." in capsys.readouterr().out
    assert _stacks() == []


def test_stack_whose_creation_failed_is_reported_with_the_fix(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--vpc", account, "--yes"])
    _stack_in("ROLLBACK_COMPLETE")

    assert cli.main(["--yes"]) == 1

    err = capsys.readouterr().err
    assert "Stack fruits is in ROLLBACK_COMPLETE" in err
    assert "aws cloudformation delete-stack --stack-name fruits" in err


def test_update_in_progress_is_reported(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--vpc", account, "--yes"])
    _stack_in("UPDATE_IN_PROGRESS")

    assert cli.main(["--yes"]) == 1

    assert "Stack fruits is in UPDATE_IN_PROGRESS. Wait until the change is complete" in capsys.readouterr().err


def _stack_in(status: str) -> None:
    from moto.cloudformation.models import cloudformation_backends
    from moto.core import DEFAULT_ACCOUNT_ID

    (stack,) = cloudformation_backends[DEFAULT_ACCOUNT_ID][REGION].stacks.values()
    stack.status = status


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AccessDenied", "Deploy with a role that may change stacks"),
        ("ExpiredToken", "credentials have expired"),
        ("Odd", "(Odd)"),
    ],
)
def test_refusal_by_aws_is_reported_in_one_line(
    account: str, code: str, advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "User x may not."}}, "CreateChangeSet")

    monkeypatch.setattr("include.deploy.stack.Stack.plan", refuse)

    assert cli.main(["--vpc", account, "--yes"]) == 1

    err = capsys.readouterr().err
    assert advice in err
    assert len(err.splitlines()) == 1


def test_certificate_fits_its_key_and_the_nodes_names() -> None:
    expiry = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    archive = zipfile.ZipFile(io.BytesIO(certificates.make(REGION, expiry)))

    assert sorted(archive.namelist()) == ["certificateChain.pem", "privateKey.pem", "trustedCertificates.pem"]
    certificate = x509.load_pem_x509_certificate(archive.read("certificateChain.pem"))
    key = load_pem_private_key(archive.read("privateKey.pem"), None)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert key.public_key() == certificate.public_key()
    assert names.get_values_for_type(x509.DNSName) == [f"*.{REGION}.compute.internal"]
    assert certificate.not_valid_after_utc == expiry


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(("days", "due"), [(100, True), (400, False)])
def test_certificate_is_renewed_before_it_expires(days: int, monkeypatch: pytest.MonkeyPatch, *, due: bool) -> None:
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="certified")
    monkeypatch.setattr(certificates, "VALIDITY", timedelta(days=days))
    assert certificates.is_due(s3, "certified")

    certificates.put(s3, "certified", REGION)

    assert certificates.is_due(s3, "certified") is due
