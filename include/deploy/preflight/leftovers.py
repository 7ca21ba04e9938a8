"""Checks for leftovers of an earlier deployment, before a stack is created. Only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from include.deploy.preflight.problems import DENIED, Deployment, Problem, code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client

KEY_DESCRIPTION: Final = "Disks of clusters, and the bucket if its encryption is SSE-KMS"
"""Description of the stack's key, which identifies a leftover key."""


def leftover_bucket(s3: S3Client, deployment: Deployment) -> Iterator[Problem]:
    """Check that no bucket has the new bucket's name, for example after a failed deployment."""
    name = deployment.bucket
    if deployment.exists:
        return
    another = 'make deploy DEPLOY="--parameter BucketName=…"'
    try:
        region = s3.head_bucket(Bucket=name).get("BucketRegion", deployment.region)  # botocore follows to any region
    except ClientError as error:
        if code(error) in {"404", "NoSuchBucket"}:
            return
        if code(error) == "403":
            yield Problem(f"Bucket {name} belongs to another account, or you may not access it.", another)
            return
        raise
    # `aws s3 rb --force` keeps the versions of objects, and so the bucket (AWS CLI Command Reference, "rb").
    yield Problem(
        f"Bucket {name} exists already in {region}; name another one, or empty and delete it (docs/guides/aws.md, "
        "Remove).",
        another,
    )


def leftover_keys(kms: KMSClient, deployment: Deployment) -> Iterator[Problem]:
    """Search for keys of an earlier stack. Each costs $1 per month (KMS pricing).

    A key whose policy excludes the caller is not of a stack: the policy of those lets the account's policies decide.

    Raises:
        ClientError: The caller may not describe any key.
    """
    if deployment.exists:
        return
    hidden, described = None, False
    for page in kms.get_paginator("list_keys").paginate():
        for key in page["Keys"]:
            try:
                metadata = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            except ClientError as error:
                if code(error) not in DENIED:
                    raise
                hidden = error
                continue
            described = True
            if metadata.get("Description") == KEY_DESCRIPTION and metadata.get("KeyState") == "Enabled":
                yield Problem(
                    f"Key {key['KeyId']} of an earlier stack costs $1 per month; data it encrypted is lost without it.",
                    f"aws kms schedule-key-deletion --region {deployment.region} --key-id {key['KeyId']}",
                    stops=False,
                )
    if hidden and not described:
        raise hidden
