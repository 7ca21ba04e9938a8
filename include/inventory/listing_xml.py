"""Parse the objects of S3's listings in C, in place of botocore's parser.

botocore walks over the model of a response for each field of each object, which takes most of the CPU time of a listing
(docs/measurements/constants.md). botocore still sends the requests, repeats them, raises the errors, follows the pages
and decodes the keys.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from botocore.utils import parse_timestamp

if TYPE_CHECKING:
    import boto3


def parse_objects_quickly(session: boto3.Session) -> None:
    """Make the clients that the session creates from now on parse the objects of `ListObjectsV2` fast.

    The entries of `Contents` then hold `Key`, `Size`, `ETag` and `LastModified` only.
    """
    session.events.register("before-parse.s3.ListObjectsV2", _take_objects)


def _take_objects(
    response_dict: dict[str, Any],
    customized_response_dict: dict[str, Any],
    **_: Any,  # noqa: ANN401 - arguments of botocore's events
) -> None:
    """Move the objects from the body of a response to the parsed response. botocore parses the rest of the body.

    botocore has already given a body that is not XML, or that is an error, the status 500, and repeats the request
    (`botocore.handlers._handle_200_error`, which is registered first).
    """
    if response_dict["status_code"] != HTTPStatus.OK:
        return
    root = ET.fromstring(response_dict["body"])  # noqa: S314 - parsed by botocore in the same way
    name = f"{root.tag.removesuffix('ListBucketResult')}Contents"
    objects = [_parse_object(entry) for entry in root.iterfind(name)]
    if objects:
        root[:] = [child for child in root if child.tag != name]
        response_dict["body"] = ET.tostring(root)
        customized_response_dict["Contents"] = objects


def _parse_object(entry: ET.Element) -> dict[str, Any]:
    texts = {child.tag.rpartition("}")[2]: child.text or "" for child in entry}
    return {
        "Key": texts["Key"],
        "Size": int(texts["Size"]),
        "ETag": texts["ETag"],
        "LastModified": _time(texts["LastModified"]),
    }


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # another server than AWS may use another format
        return parse_timestamp(text)
