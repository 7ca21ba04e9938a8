"""Driver and workers of Spark get the bucket's region."""

import os
from unittest.mock import Mock

import pytest
from obstore.exceptions import GenericError

from fruits_features import __main__
from fruits_features.job import spark_context

PLACES = ["--bucket=b", "--inventory=s3://b/i", "--output=s3://b/o", "--run=r"]


@pytest.mark.parametrize(("region", "expected"), [("eu-north-1", "eu-north-1"), (None, None)])
def test_workers_know_the_buckets_region(
    region: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Mock()
    monkeypatch.setattr(spark_context, "SparkContext", context)

    with spark_context.running_context("r", region, 10**6):
        pass

    assert context.call_args.kwargs["environment"].get("AWS_REGION") == expected
    assert context.call_args.kwargs["environment"]["OPENCV_IO_MAX_IMAGE_PIXELS"] == "1000000"


def test_driver_knows_the_buckets_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(__main__, "running_context", Mock(side_effect=OSError("no Spark")))

    assert __main__.main([*PLACES, "--region=eu-north-1"]) == 1
    assert os.environ["AWS_REGION"] == "eu-north-1"


def test_refused_credentials_end_the_run_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = GenericError("Generic S3 error: 400 Bad Request: <Code>ExpiredToken</Code>")
    monkeypatch.setattr(__main__, "_run", Mock(side_effect=refused))
    monkeypatch.setattr(__main__.SparkContext, "_jvm", None)

    assert __main__.main(PLACES) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "fruits_features: error: S3 refused: the AWS credentials have expired: renew them (`aws sso login`, for one), "
        "and try again."
    )
