"""`python -m include.deploy` against moto's server: CloudFormation, S3, IAM and all the rest over HTTP."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from moto.cloudformation.models import ChangeSet
from moto.server import ThreadedMotoServer

from include.deploy import certificates, cli, uploads
from include.deploy.uploads import Upload
from tests.support.stacks import REGION, amazons_policy

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")  # moto makes no policies of buckets

if TYPE_CHECKING:
    from collections.abc import Iterator

ARTIFACTS = [Upload("launch-1.py", b"import this"), Upload("wheelhouse-2.txt", b"x86_64 wheels/3/stone.whl\n")]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch, amazons_policy():
        patch.setattr(ChangeSet, "apply", _apply)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


def _apply(change_set: ChangeSet) -> None:
    """As moto applies a change set, and with the outputs that it leaves out."""
    stack = change_set.stack
    stack.resource_map.update(change_set.template_dict, change_set.parameters)
    stack.template_dict = change_set.template_dict
    stack.output_map = stack._create_output_map()  # noqa: SLF001


@pytest.fixture
def account(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty account in a region; gives the id of its network."""
    import requests

    requests.post(f"{server}/moto-api/reset", timeout=10).raise_for_status()
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(uploads, "build", lambda *_: ARTIFACTS)
    return boto3.client("ec2", region_name=REGION).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]


def _stacks() -> list[str]:
    stacks = boto3.client("cloudformation", region_name=REGION).describe_stacks()["Stacks"]
    return [stack["StackStatus"] for stack in stacks]


def _objects(bucket: str) -> dict[str, datetime]:
    listed = boto3.client("s3", region_name=REGION).list_objects_v2(Bucket=bucket)["Contents"]
    return {one["Key"]: one["LastModified"] for one in listed}


def test_deploy_shows_the_plan_makes_the_stack_uploads_and_tells_the_settings(
    account: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--vpc", account, "--yes"]) == 0

    said = capsys.readouterr().out
    bucket = f"fruits-image-features-123456789012-{REGION}"
    assert said.index("add     Bucket") < said.index("upload  artifacts/launch-1.py") < said.index("Changing the stack")
    assert f"FRUITS_BUCKET={bucket}\n" in said
    assert "FRUITS_EMR_SECURITY_CONFIGURATION=" in said
    assert "Runs stay for ever unless FRUITS_RETENTION_DAYS is set" in said
    assert "assumes arn:aws:iam::123456789012:role/" in said
    assert set(_objects(bucket)) == {"artifacts/launch-1.py", "artifacts/wheelhouse-2.txt", certificates.KEY}


def test_deploy_again_changes_and_uploads_nothing_and_asks_nothing(
    account: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["--vpc", account, "--yes"])
    before = _objects(f"fruits-image-features-123456789012-{REGION}")
    capsys.readouterr()

    assert cli.main(["--vpc", account]) == 0

    said = capsys.readouterr().out
    assert "  nothing to change\n" in said
    assert "  nothing to upload\n" in said
    assert "FRUITS_BUCKET=" in said
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

    assert cli.main(["--vpc", account]) == cli.NOT_AGREED

    assert "Nothing was changed." in capsys.readouterr().out
    assert not [status for status in _stacks() if status != "DELETE_COMPLETE"]
    assert boto3.client("s3", region_name=REGION).list_buckets()["Buckets"] == []


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-2", "eu-central-2"])
def test_deploy_outside_europe_is_refused_before_anything_is_asked_of_aws(
    region: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(boto3, "client")

    assert cli.main(["--region", region, "--yes"]) == 1

    assert f"Region {region} is outside the European Union" in capsys.readouterr().err


def test_deploy_outside_europe_is_done_when_asked_for(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert account
    vpc = boto3.client("ec2", region_name="us-east-1").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]

    assert cli.main(["--region", "us-east-1", "--allow-outside-europe", "--vpc", vpc, "--yes"]) == 0

    assert "FRUITS_BUCKET=fruits-image-features-123456789012-us-east-1" in capsys.readouterr().out


def test_regions_in_europe_are_those_of_the_template() -> None:
    import cfnlint.decode.cfn_yaml

    from include.deploy.stack import TEMPLATE

    (assertion,) = cfnlint.decode.cfn_yaml.load(str(TEMPLATE))["Rules"]["DataStayInEurope"]["Assertions"]
    assert tuple(assertion["Assert"]["Fn::Contains"][0]) == cli.IN_EUROPE


@pytest.mark.usefixtures("account")
def test_deploy_without_credentials_says_where_they_go(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    assert cli.main(["--yes"]) == 1

    assert "no AWS credentials were found: set AWS_PROFILE" in capsys.readouterr().err


def test_stack_whose_creation_failed_says_how_to_go_on(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--vpc", account, "--yes"])
    _stack_in("ROLLBACK_COMPLETE")

    assert cli.main(["--yes"]) == 1

    said = capsys.readouterr().err
    assert "Stack fruits is in ROLLBACK_COMPLETE" in said
    assert "aws cloudformation delete-stack --stack-name fruits" in said


def test_stack_that_is_just_changing_says_to_wait(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--vpc", account, "--yes"])
    _stack_in("UPDATE_IN_PROGRESS")

    assert cli.main(["--yes"]) == 1

    assert "Stack fruits is in UPDATE_IN_PROGRESS: wait until that is over" in capsys.readouterr().err


def _stack_in(status: str) -> None:
    from moto.cloudformation.models import cloudformation_backends
    from moto.core import DEFAULT_ACCOUNT_ID

    (stack,) = cloudformation_backends[DEFAULT_ACCOUNT_ID][REGION].stacks.values()
    stack.status = status


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AccessDenied", "Deploy with a role that may change stacks"),
        ("ExpiredToken", "sign in again"),
        ("Odd", "(Odd)"),
    ],
)
@pytest.mark.usefixtures("account")
def test_refusal_by_aws_is_told_in_a_sentence(
    code: str, advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "User x may not."}}, "CreateChangeSet")

    monkeypatch.setattr("include.deploy.stack.Stack.plan", refuse)

    assert cli.main(["--yes"]) == 1

    said = capsys.readouterr().err
    assert advice in said
    assert len(said.splitlines()) == 1


def test_certificate_fits_its_key_and_the_nodes_names() -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    archive = zipfile.ZipFile(io.BytesIO(certificates.make(REGION, ends)))

    assert sorted(archive.namelist()) == ["certificateChain.pem", "privateKey.pem", "trustedCertificates.pem"]
    certificate = x509.load_pem_x509_certificate(archive.read("certificateChain.pem"))
    key = load_pem_private_key(archive.read("privateKey.pem"), None)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert key.public_key() == certificate.public_key()
    assert names.get_values_for_type(x509.DNSName) == [f"*.{REGION}.compute.internal"]
    assert certificate.not_valid_after_utc == ends


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(("days", "due"), [(100, True), (400, False)])
def test_certificate_is_renewed_before_it_ends(days: int, monkeypatch: pytest.MonkeyPatch, *, due: bool) -> None:
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="certified")
    monkeypatch.setattr(certificates, "VALID", timedelta(days=days))
    assert certificates.is_due(s3, "certified")

    certificates.put(s3, "certified", REGION)

    assert certificates.is_due(s3, "certified") is due
