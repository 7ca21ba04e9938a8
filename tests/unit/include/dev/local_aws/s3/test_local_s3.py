"""The local S3 behaves like S3, through its API and through the folder that Spark uses."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from obstore.store import S3Store

from include.dev.local_aws.s3.server import DIR_CACHE_S

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from include.dev.local_aws.local import LocalAws

KEYS = [
    "a b.jpg",
    "é à ü.jpg",
    "e\u0301.jpg",
    "x#1.jpg",
    "50%.jpg",
    "50%20.jpg",
    "a+b.jpg",
    "q?x=1&y.jpg",
    "日本/ñ#%+ .jpg",
]


@pytest.fixture
def s3(local_aws: LocalAws) -> S3Client:
    return local_aws.s3()


@pytest.fixture
def store(local_aws: LocalAws, bucket: str) -> S3Store:
    environment = local_aws.environment
    return S3Store(
        bucket,
        endpoint=environment["AWS_ENDPOINT_URL_S3"],
        access_key_id=environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region=environment["AWS_REGION"],
        client_options={"allow_http": True},
    )


@pytest.mark.parametrize("key", KEYS)
def test_key_with_odd_characters_is_the_same_to_boto3_obstore_and_the_folder(
    s3: S3Client, store: S3Store, bucket: str, local_aws: LocalAws, key: str
) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=b"one")
    assert bytes(obstore.get(store, key).bytes()) == b"one"
    assert (local_aws.s3_folder / bucket / key).read_bytes() == b"one"
    obstore.put(store, key, b"two")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"two"
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    assert [one["path"] for page in obstore.list(store) for one in page] == [key]


def test_etag_is_md5_of_the_content_wherever_it_is_read(s3: S3Client, bucket: str) -> None:
    md5 = hashlib.md5(b"fruit", usedforsecurity=False).hexdigest()
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"fruit")
    (listed,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    head = s3.head_object(Bucket=bucket, Key="k")
    assert {put["ETag"].strip('"'), listed["ETag"].strip('"'), head["ETag"].strip('"')} == {md5}


def test_file_written_behind_the_servers_back_is_seen_after_the_belief_time(
    s3: S3Client, bucket: str, local_aws: LocalAws
) -> None:
    folder = local_aws.s3_folder / bucket / "out"
    folder.mkdir()
    for content in (b"first", b"other", b"longer one"):
        (folder / "part").write_bytes(content)
        time.sleep(DIR_CACHE_S)
        assert s3.get_object(Bucket=bucket, Key="out/part")["Body"].read() == content
        (listed,) = s3.list_objects_v2(Bucket=bucket, Prefix="out/")["Contents"]
        assert listed["ETag"].strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest()
    (folder / "part").rename(folder / "moved")
    time.sleep(DIR_CACHE_S)
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["out/moved"]


def test_listing_of_more_than_a_page_is_complete_ordered_and_by_prefix(
    s3: S3Client, bucket: str, local_aws: LocalAws
) -> None:
    for folder in ("a", "b"):
        (local_aws.s3_folder / bucket / folder).mkdir()
        for number in range(1100):
            (local_aws.s3_folder / bucket / folder / f"{number:04}").touch()
    time.sleep(DIR_CACHE_S)
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="b/"))
    keys = [one["Key"] for page in pages for one in page["Contents"]]
    assert keys == [f"b/{number:04}" for number in range(1100)]
    assert [len(page["Contents"]) for page in pages] == [1000, 100]


def test_multipart_upload_and_range_read_give_the_same_bytes(s3: S3Client, bucket: str) -> None:
    content = os.urandom(11 * 2**20)
    parts = TransferConfig(multipart_threshold=5 * 2**20, multipart_chunksize=5 * 2**20)
    s3.upload_fileobj(io.BytesIO(content), bucket, "big", Config=parts)
    assert s3.get_object(Bucket=bucket, Key="big")["Body"].read() == content
    assert s3.get_object(Bucket=bucket, Key="big", Range="bytes=7-9")["Body"].read() == content[7:10]


@pytest.mark.parametrize(
    ("call", "arguments", "code"),
    [
        ("get_object", {"Bucket": "no-such-bucket", "Key": "k"}, "NoSuchBucket"),
        ("put_object", {"Bucket": "no-such-bucket", "Key": "k"}, "NoSuchBucket"),
        ("list_objects_v2", {"Bucket": "no-such-bucket"}, "NoSuchBucket"),
        ("head_bucket", {"Bucket": "no-such-bucket"}, "404"),
        ("get_object", {"Bucket": "fruits", "Key": "no-such-key"}, "NoSuchKey"),
        ("create_bucket", {"Bucket": "X"}, "InvalidBucketName"),
    ],
)
def test_missing_object_or_bucket_is_rejected_with_s3s_code(
    s3: S3Client, call: str, arguments: dict[str, str], code: str
) -> None:
    with pytest.raises(ClientError) as error:
        getattr(s3, call)(**arguments)
    assert error.value.response["Error"]["Code"] == code


def test_copy_and_delete_leave_an_empty_bucket(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a/b #1", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="c/ü", CopySource={"Bucket": bucket, "Key": "a/b #1"})
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/b #1"}, {"Key": "c/ü"}]})
    assert "Errors" not in deleted
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    s3.head_bucket(Bucket=bucket)


def test_bucket_name_that_s3_rejects_is_rejected(local_aws: LocalAws) -> None:
    with pytest.raises(ValueError, match="is not a bucket name"):
        local_aws.create_bucket("../out")
    assert not Path(local_aws.s3_folder.parent / "out").exists()
