"""The fast parser of listings returns what botocore's parser returns, and leaves errors to botocore."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from urllib3.response import HTTPResponse

from include.inventory import listing_xml

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ODD_KEYS = ("a+b c", "a\tb", "a\x00b", "é", "\U0001f34b", "a%2Fb", "<&\"'>", " a ", "a//b", "./a")


def _entry(key: str, modified: str = "2026-11-29T10:11:12.000Z") -> str:
    return (
        f"<Contents><Key>{quote_plus(key, safe='/')}</Key><LastModified>{modified}</LastModified>"
        f"<ETag>&quot;{len(key):032x}-2&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>"
        f"<ChecksumAlgorithm>SHA256</ChecksumAlgorithm><Size>{len(key)}</Size><StorageClass>STANDARD</StorageClass>"
        "<Owner><ID>0123</ID><DisplayName>Key</DisplayName></Owner></Contents>"
    )


def _page(*children: str, namespace: str = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"') -> bytes:
    facts = "<Name>fruits</Name><EncodingType>url</EncodingType><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated>"
    text = f"<ListBucketResult{namespace}>\n  {facts}{''.join(children)}</ListBucketResult>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def _client(*answers: tuple[int, bytes], quick: bool = True) -> tuple[S3Client, list[str]]:
    """Return a client to which these responses are given in turn, and the list of its requests."""
    session = boto3.Session("a", "b", region_name="eu-west-3")
    if quick:
        listing_xml.parse_objects_quickly(session)
    client = session.client("s3", config=Config(retries={"mode": "standard", "total_max_attempts": 2}))
    left, requests = list(answers), list[str]()

    def answer(request: Any, **_: object) -> AWSResponse:  # noqa: ANN401 - botocore's
        requests.append(request.url)
        status, body = left.pop(0)
        return AWSResponse(request.url, status, HTTPHeaders(), HTTPResponse(BytesIO(body), preload_content=False))

    client.meta.events.register("before-send.s3.ListObjectsV2", answer)  # type: ignore[arg-type] # events may return
    return client, requests


def _list(body: bytes, *, quick: bool) -> dict[str, Any]:
    client, _ = _client((200, body), quick=quick)
    response: dict[str, Any] = dict(client.list_objects_v2(Bucket="fruits", Delimiter="/"))
    del response["ResponseMetadata"]
    return response


@pytest.mark.parametrize(
    "body",
    [
        _page(*map(_entry, ODD_KEYS)),
        _page(_entry("b"), "<CommonPrefixes><Prefix>a+%C3%A9/</Prefix></CommonPrefixes>", _entry("c")),
        _page(_entry("a"), "<NextContinuationToken>1/&amp;==</NextContinuationToken>"),
        _page(_entry("a"), namespace=""),
        _page(_entry("a", "Sun, 29 Nov 2026 10:11:12 GMT")),
        _page(),
    ],
    ids=["odd keys", "folders", "more pages", "no namespace", "other time format", "empty"],
)
def test_response_is_botocores_with_four_fields_per_object(body: bytes) -> None:
    expected = _list(body, quick=False)
    for entry in expected.get("Contents", []):
        for name in ("ChecksumAlgorithm", "StorageClass", "Owner"):
            del entry[name]

    assert _list(body, quick=True) == expected


def test_keys_are_decoded_once() -> None:
    response = _list(_page(*map(_entry, ODD_KEYS)), quick=True)

    assert tuple(entry["Key"] for entry in response["Contents"]) == ODD_KEYS


@pytest.mark.parametrize(
    "broken",
    [
        (200, _page(_entry("a"))[:-40]),
        (200, b"<Error><Code>InternalError</Code></Error>"),
        (503, b"<Error><Code>SlowDown</Code></Error>"),
        (502, b"Bad gateway"),
    ],
    ids=["cut off", "error with status 200", "throttled", "no XML"],
)
def test_failed_response_is_requested_again(broken: tuple[int, bytes]) -> None:
    client, requests = _client(broken, (200, _page(_entry("a"))))

    assert [entry["Key"] for entry in client.list_objects_v2(Bucket="fruits")["Contents"]] == ["a"]
    assert len(requests) == 2


def test_error_is_botocores() -> None:
    client, _ = _client((403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"))

    with pytest.raises(ClientError, match=r"\(AccessDenied\) when calling the ListObjectsV2 operation: Access Denied"):
        client.list_objects_v2(Bucket="fruits")
