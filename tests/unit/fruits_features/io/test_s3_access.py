"""S3 is read with boto3's credentials in the bucket's region; refusals raise one sentence."""

from __future__ import annotations

import json
import shlex
import socket
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import obstore
import pyarrow.fs
import pytest

from fruits_features import dataset, publications
from fruits_features.io import object_store, s3_access
from fruits_features.io.retry import RetryPolicy
from fruits_features.projection import load
from tests.support.refusing_s3 import ARCHIVED, DENIED, ELSEWHERE, EXPIRED, UNKNOWN_KEY, Refusal, refusing_s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws

POLICY = RetryPolicy(budget_s=1)
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Credentials and regions are found once a process, which is each test's here."""
    _clear()
    yield
    _clear()


def _clear() -> None:
    s3_access.profile.cache_clear()
    s3_access._regions.clear()  # noqa: SLF001
    s3_access._has_credentials.cache_clear()  # noqa: SLF001
    object_store.open_folder.cache_clear()


@pytest.fixture
def stored(local_aws: LocalAws, bucket: str) -> str:
    """A bucket of 20 objects."""
    for number in range(20):
        local_aws.s3().put_object(Bucket=bucket, Key=f"{number}", Body=b"image")
    return bucket


@pytest.fixture
def no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws_environment: dict[str, str]) -> dict[str, str]:
    """A machine without any credentials; returns those of the local AWS."""
    keys = {name: aws_environment[name] for name in KEYS if name in aws_environment}
    for name in (*KEYS, "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return keys


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_keys: dict[str, str]) -> Path:
    """A profile whose keys come from a process; gives the file in which each of its calls leaves a line."""
    calls, script = tmp_path / "calls", tmp_path / "keys.sh"
    keys = {
        "Version": 1,
        "AccessKeyId": no_keys["AWS_ACCESS_KEY_ID"],
        "SecretAccessKey": no_keys["AWS_SECRET_ACCESS_KEY"],
        "Expiration": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    }
    script.write_text(f"#!/bin/sh\necho asked >>{shlex.quote(str(calls))}\necho {shlex.quote(json.dumps(keys))}\n")
    script.chmod(stat.S_IRWXU)
    (tmp_path / "config").write_text(f"[profile orchard]\ncredential_process = {script}\n")
    monkeypatch.setenv("AWS_PROFILE", "orchard")
    return calls


def test_profile_is_read_once_for_many_objects(stored: str, process: Path) -> None:
    store = object_store.open_bucket(stored, POLICY)

    assert [bytes(obstore.get(store, f"{number}").bytes()) for number in range(20)] == [b"image"] * 20
    assert process.read_text().splitlines() == ["asked"]


def test_table_of_a_profile_is_read_with_its_keys(stored: str, process: Path) -> None:
    with s3_access.open_filesystem(stored).open_input_file(f"{stored}/0") as file:
        assert file.read() == b"image"
    assert process.exists()


def test_keys_of_the_environment_need_no_profile(process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")

    assert s3_access.profile() is None
    assert not process.exists()


def test_node_without_boto3_leaves_credentials_to_obstore(process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_access, "find_spec", lambda _: None)

    assert s3_access.profile() is None
    assert not process.exists()


@pytest.mark.parametrize("is_answered", [False, True], ids=["no-metadata", "metadata"])
def test_profile_without_boto3_is_an_error_that_names_the_package(
    process: Path, monkeypatch: pytest.MonkeyPatch, *, is_answered: bool
) -> None:
    """Some networks answer at the address of the instance metadata, and obstore then finds no role."""
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(s3_access, "_has_credentials", lambda: is_answered)
    monkeypatch.setattr(publications, "READER_RETRIES", POLICY)
    monkeypatch.setattr(s3_access, "find_spec", lambda _: None)

    with pytest.raises(s3_access.S3AccessError, match=r"need boto3, which is not installed: pip install boto3\.$"):
        dataset.published("s3://orchard")
    assert not process.exists()


def test_profile_that_does_not_exist_is_an_error_of_one_sentence(
    process: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "orchrad")

    with pytest.raises(s3_access.S3AccessError) as error:
        dataset.published("s3://orchard")

    assert str(error.value) == "The AWS profile cannot be used: The config profile (orchrad) could not be found."
    assert not process.exists()


@pytest.mark.usefixtures("no_keys")
def test_profile_without_a_single_sign_on_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_PROFILE", "orchard")
    (tmp_path / "config").write_text(
        "[profile orchard]\nsso_start_url = https://orchard.invalid\nsso_region = eu-west-1\n"
        "sso_account_id = 123456789012\nsso_role_name = reader\n"
    )

    with pytest.raises(s3_access.S3AccessError, match=r"have expired: renew them \(`aws sso login`"):
        dataset.published("s3://orchard")


def test_keys_are_asked_for_again_while_botocore_still_renews_them() -> None:
    """botocore renews keys when 10 minutes are left: what obstore keeps for longer may expire in its hands."""
    from botocore.credentials import RefreshableCredentials

    assert s3_access.KEYS_LAST.total_seconds() < RefreshableCredentials._mandatory_refresh_timeout  # noqa: SLF001


def test_region_is_the_buckets_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(pyarrow.fs, "resolve_s3_region", {"orchard": "eu-north-1"}.__getitem__)
    monkeypatch.setattr(s3_access.socket, "getaddrinfo", lambda *_: [])
    monkeypatch.setattr(s3_access, "_has_credentials", lambda: True)

    with s3_access.reading("s3://orchard/features/latest.json"):
        store: Any = object_store.open_bucket("orchard", POLICY)

    assert store.config["region"] == "eu-north-1"


def test_region_is_not_looked_up_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network may reach S3 in one region only, which is the one that pyarrow asks."""

    def refuse(host: str, _: None) -> NoReturn:
        assert host == "s3.eu-west-1.amazonaws.com"
        raise socket.gaierror

    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setattr(pyarrow.fs, "resolve_s3_region", lambda _: pytest.fail("pyarrow tries for ten seconds"))
    monkeypatch.setattr(s3_access.socket, "getaddrinfo", refuse)

    s3_access.find_region("orchard")

    assert s3_access.region_of("orchard") is None


@pytest.mark.usefixtures("aws_environment")
def test_server_that_does_not_answer_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{closed.getsockname()[1]}")
        store = object_store.open_bucket("orchard", POLICY)

        with pytest.raises(s3_access.S3AccessError) as caught, s3_access.reading("s3://orchard/photo.png"):
            obstore.get(store, "photo.png")

    sentence = "S3 does not answer: check the network, and AWS_ENDPOINT_URL if it is set."
    assert str(caught.value) == f"s3://orchard/photo.png cannot be read: {sentence}"


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (ARCHIVED, "the object is archived: restore it, and exclude it from the rule that archives objects."),
        (EXPIRED, "the AWS credentials have expired: renew them (`aws sso login`, for one), and try again."),
        (ELSEWHERE, "the bucket is in another region than the one that was asked: set AWS_REGION to the bucket's."),
        (
            DENIED,
            "the AWS credentials lack a permission: it takes s3:ListBucket, s3:GetObject and the key's kms:Decrypt.",
        ),
        (
            UNKNOWN_KEY,
            "AWS does not know the credentials: check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        ),
    ],
)
@pytest.mark.usefixtures("aws_environment")
def test_refusal_is_a_sentence(refusal: Refusal, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing_s3(refusal) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        monkeypatch.setattr("fruits_features.io.retry.time.sleep", lambda _: None)
        with pytest.raises(s3_access.S3AccessError) as from_dataset:
            dataset.open("s3://orchard")
        with pytest.raises(s3_access.S3AccessError) as from_projection:
            load("s3://orchard/projection.npz")

    assert str(from_dataset.value) == f"s3://orchard/ cannot be read: {sentence}"
    assert str(from_projection.value) == f"s3://orchard/projection.npz cannot be read: {sentence}"


@pytest.mark.usefixtures("no_keys")
def test_machine_without_credentials_gets_a_sentence_without_a_request_to_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(obstore, "get", lambda *_: pytest.fail("obstore asks the metadata service again and again"))

    with pytest.raises(s3_access.S3AccessError) as error:
        dataset.published("s3://orchard")

    assert str(error.value) == (
        "s3://orchard/ cannot be read: there are no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY."
    )
