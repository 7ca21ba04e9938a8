"""Reading objects of S3 through Airflow's connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError

from fruits_features.contract import sealed
from fruits_features.contract.layout import split
from fruits_features.contract.refusals import object_refusal
from fruits_features.contract.sealed import DamagedDocumentError

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)


class ListingHook(S3Hook):
    """S3 hook for listings only, which parses the objects faster than botocore does."""

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> boto3.Session:  # noqa: FBT001, FBT002 - the provider's signature
        """Return a session whose clients parse the objects of listings fast."""
        from include.inventory.listing_xml import parse_objects_quickly

        session = super().get_session(region_name, deferrable)
        parse_objects_quickly(session)
        return session


def read(s3: S3Hook, bucket: str, key: str, etag: str | None = None, max_bytes: int | None = None) -> bytes | None:
    """Return the content of an object, or `None` if it does not exist, has another ETag or is too large.

    Args:
        s3: Hook that reaches the bucket.
        bucket: Name of the bucket.
        key: Key of the object, taken literally. `S3Hook.parse_s3_url` would end it at the first `?`.
        etag: Expected ETag without quotes. `None` accepts any.
        max_bytes: Largest size in bytes. `None` accepts any.
    """
    try:
        response = cast("S3Client", s3.conn).get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchBucket", "404"}:
            return None
        raise
    is_other = etag not in {None, response["ETag"].strip('"')}
    is_too_large = max_bytes is not None and response["ContentLength"] > max_bytes
    return None if is_other or is_too_large else response["Body"].read()


def read_image(
    s3: S3Hook, bucket: str, key: str, etag: str | None = None, max_bytes: int | None = None
) -> bytes | None:
    """Return the content of an image as `read` does; `None`, with a warning, also if S3 refuses this object.

    Features of the cache outlast access to their images: an image may be archived since, or be encrypted with another
    key under the same ETag (UpdateObjectEncryption in the Amazon S3 API Reference).
    """
    try:
        return read(s3, bucket, key, etag, max_bytes)
    except ClientError as error:
        answer = error.response["Error"]
        if not (refusal := object_refusal(answer["Code"], answer.get("Message", ""))):
            raise
        log.warning("s3://%s/%s is left out. %s", bucket, key, refusal)
        return None


def read_json(s3: S3Hook, uri: str) -> dict[str, Any]:
    """Return a JSON document, or an empty one if the object does not exist.

    Raises:
        DamagedDocumentError: The object is not JSON, or its digest is that of another content. The message names the
            object.
    """
    try:
        return sealed.decode(read(s3, *split(uri)) or b"{}")
    except DamagedDocumentError as error:
        raise DamagedDocumentError(f"{uri} is damaged: {error}.") from error
