"""Checks for leftovers of an earlier deployment. Responses have the shapes of the API's models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cfnlint.decode.cfn_yaml
import pytest

from include.deploy.leftovers import KEY_DESCRIPTION, leftover_bucket, leftover_keys
from include.deploy.problems import Deployment, Problem
from tests.support.stacks import REGION, TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.stub import Stubber

NEW = Deployment("123456789012", REGION, "vpc-1", (), "small", "orchard", exists=False)
KEY = "0a1b2c3d-0000-0000-0000-000000000000"


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

    (problem,) = leftover_bucket(s3.client, NEW)

    assert problem.sentence == sentence
    assert problem.command.startswith(command)
    assert problem.stops


def test_bucket_of_an_earlier_or_another_stack_is_a_problem(client: Callable[[str], Stubber]) -> None:
    s3 = client("s3")
    s3.add_response("head_bucket", {}, {"Bucket": "orchard"})

    assert list(leftover_bucket(s3.client, NEW)) == [
        Problem(
            "Bucket orchard exists already; name another one, or empty and delete it (docs/guides/aws.md, Remove).",
            'make deploy DEPLOY="--parameter BucketName=…"',
        )
    ]


def test_missing_bucket_is_no_problem(client: Callable[[str], Stubber]) -> None:
    s3 = client("s3")
    s3.add_client_error("head_bucket", "404", http_status_code=404)

    assert list(leftover_bucket(s3.client, NEW)) == []


@pytest.mark.parametrize(
    ("description", "state", "found"),
    [
        (KEY_DESCRIPTION, "Enabled", True),
        (KEY_DESCRIPTION, "PendingDeletion", False),
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

    problems = list(leftover_keys(kms.client, NEW))

    assert [problem.stops for problem in problems] == ([False] if found else [])
    if found:
        assert problems[0].command == f"aws kms schedule-key-deletion --region {REGION} --key-id {KEY}"


def test_description_of_a_leftover_key_is_that_of_the_template() -> None:
    template = cfnlint.decode.cfn_yaml.load(str(TEMPLATE))

    assert template["Resources"]["Key"]["Properties"]["Description"] == KEY_DESCRIPTION
