"""S3 returns the bucket's region; refused credentials fail the first task with one sentence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError

from fruits_airflow.hooks import aws
from fruits_airflow.s3.sensors import ImagesSensor
from tests.support.airflow.context import DEFAULT_CONTEXT
from tests.support.refusing_s3 import DENIED, EXPIRED, UNKNOWN_KEY, Refusal, refusing_s3

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")

EXPIRED_SENTENCE = (
    "Airflow's AWS credentials have expired: let the connection `aws_default` assume a role, which renews them."
)
NO_CREDENTIALS_SENTENCE = (
    "Airflow has no valid AWS credentials: check the connection `aws_default` and the credentials of the process."
)

DENIED_SENTENCE = (
    "Airflow may not list s3://orchard/images/: its role needs s3:ListBucket on the bucket and s3:GetObject below the "
    "prefix ("
)


def _sensor() -> ImagesSensor:
    return ImagesSensor(
        task_id="wait_for_images", bucket="orchard", prefix="images/", wait_minutes=0, quiet_minutes=0, marker=""
    )


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (EXPIRED, EXPIRED_SENTENCE),
        (UNKNOWN_KEY, NO_CREDENTIALS_SENTENCE),
        (DENIED, DENIED_SENTENCE),
    ],
)
def test_first_task_says_what_is_refused(refusal: Refusal, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing_s3(refusal) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        with pytest.raises(AirflowFailException) as failure:
            _sensor().execute(DEFAULT_CONTEXT)

    assert str(failure.value).startswith(sentence)


def test_first_task_says_that_there_are_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")

    with pytest.raises(AirflowFailException) as failure:
        _sensor().execute(DEFAULT_CONTEXT)

    assert str(failure.value) == NO_CREDENTIALS_SENTENCE


def test_role_that_may_not_be_assumed_is_no_question_of_the_bucket() -> None:
    denied = {"Error": {"Code": "AccessDenied", "Message": "User: a is not authorized to perform: sts:AssumeRole"}}

    assert aws.explain(ClientError(denied, "AssumeRole")) == (
        "Airflow may not assume the role of the connection `aws_default`: deploy with `AirflowPrincipalArn`."
    )


@pytest.mark.parametrize("refusal", [Refusal(200, "", "", "eu-north-1"), DENIED])
def test_region_is_what_s3_says_even_where_it_refuses(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing_s3(refusal) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)

        assert aws.bucket_region(aws.s3(), "orchard") == "eu-north-1"


def test_region_is_the_connections_where_s3_does_not_say(bucket: str) -> None:
    assert aws.bucket_region(aws.s3(), bucket) == "eu-west-1"


def test_file_system_asks_for_keys_again(local_aws: LocalAws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An assumed role's keys last an hour, and a task may last longer."""
    local_aws.s3().put_object(Bucket=bucket, Key="table", Body=b"rows")
    hook, valid = aws.s3(), local_aws.environment
    keys = [
        SimpleNamespace(access_key="expired", secret_key="expired", token=None),  # noqa: S106
        SimpleNamespace(access_key=valid["AWS_ACCESS_KEY_ID"], secret_key=valid["AWS_SECRET_ACCESS_KEY"], token=None),
    ]
    session = Mock(**{"get_credentials.return_value.get_frozen_credentials.side_effect": keys})
    assert hook.conn.meta.region_name == "eu-west-1"  # made before the session is another
    monkeypatch.setattr(hook, "get_session", lambda: session)
    files = aws.filesystem(hook)

    with pytest.raises(OSError, match=r"HTTP|ACCESS_DENIED|Access"):
        files.open_input_file(f"{bucket}/table")
    assert files.open_input_file(f"{bucket}/table").read() == b"rows"
