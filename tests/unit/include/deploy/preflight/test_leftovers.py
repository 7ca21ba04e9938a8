"""Checks for leftovers of an earlier deployment. Responses have the shapes of the API's models."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import cfnlint.decode.cfn_yaml
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from urllib3 import HTTPResponse

from include.deploy.preflight.leftovers import KEY_DESCRIPTION, leftover_bucket, leftover_keys
from include.deploy.preflight.problems import Deployment, Problem
from tests.support.stacks import REGION, TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSPreparedRequest
    from botocore.stub import Stubber

NEW = Deployment("123456789012", REGION, "vpc-1", (), "small", "orchard", exists=False)
KEY = "0a1b2c3d-0000-0000-0000-000000000000"


ANOTHER = 'make deploy DEPLOY="--parameter BucketName=…"'


def test_bucket_name_of_another_account_is_a_problem(client: Callable[[str], Stubber]) -> None:
    s3 = client("s3")
    s3.add_client_error("head_bucket", "403", http_status_code=403)

    assert list(leftover_bucket(s3.client, NEW)) == [
        Problem("Bucket orchard belongs to another account, or you may not access it.", ANOTHER)
    ]


def test_bucket_of_an_earlier_or_another_stack_is_a_problem(client: Callable[[str], Stubber]) -> None:
    s3 = client("s3")
    s3.add_response("head_bucket", {}, {"Bucket": "orchard"})

    assert list(leftover_bucket(s3.client, NEW)) == [
        Problem(
            f"Bucket orchard exists already in {REGION}; name another one, or empty and delete it (docs/guides/aws.md, "
            "Remove).",
            ANOTHER,
        )
    ]


def test_bucket_in_another_region_is_a_problem_that_names_it(client: Callable[[str], Stubber]) -> None:
    s3 = client("s3")
    s3.deactivate()
    asked = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Answer as S3 does: the other region's address follows from the header."""
        asked.append(request.url)
        body = HTTPResponse(BytesIO(), preload_content=False)
        return AWSResponse(request.url, 301 if len(asked) == 1 else 200, {"x-amz-bucket-region": "eu-north-1"}, body)

    s3.client.meta.events.register("before-send.s3.HeadBucket", answer)

    (problem,) = leftover_bucket(s3.client, NEW)

    assert problem.sentence.startswith("Bucket orchard exists already in eu-north-1;")
    assert [url for url in asked if ".eu-north-1." in url] == asked[1:]


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
    _keys(kms, KEY)
    metadata = {"KeyId": KEY, "Description": description, "KeyState": state}
    kms.add_response("describe_key", {"KeyMetadata": metadata}, {"KeyId": KEY})

    problems = list(leftover_keys(kms.client, NEW))

    assert [problem.stops for problem in problems] == ([False] if found else [])
    if found:
        assert problems[0].command == f"aws kms schedule-key-deletion --region {REGION} --key-id {KEY}"


def _keys(kms: Stubber, *keys: str) -> None:
    kms.add_response("list_keys", {"Keys": [{"KeyId": key} for key in keys], "Truncated": False}, {})


def test_key_whose_policy_excludes_the_caller_does_not_hide_the_others(client: Callable[[str], Stubber]) -> None:
    kms = client("kms")
    _keys(kms, "foreign", KEY)
    kms.add_client_error("describe_key", "AccessDeniedException", expected_params={"KeyId": "foreign"})
    metadata = {"KeyId": KEY, "Description": KEY_DESCRIPTION, "KeyState": "Enabled"}
    kms.add_response("describe_key", {"KeyMetadata": metadata}, {"KeyId": KEY})

    (problem,) = leftover_keys(kms.client, NEW)

    assert KEY in problem.sentence


def test_caller_who_may_describe_no_key_is_denied(client: Callable[[str], Stubber]) -> None:
    kms = client("kms")
    _keys(kms, KEY)
    kms.add_client_error("describe_key", "AccessDeniedException")

    with pytest.raises(ClientError, match="DescribeKey"):
        list(leftover_keys(kms.client, NEW))


def test_description_of_a_leftover_key_is_that_of_the_template() -> None:
    template = cfnlint.decode.cfn_yaml.load(str(TEMPLATE))

    assert template["Resources"]["Key"]["Properties"]["Description"] == KEY_DESCRIPTION
