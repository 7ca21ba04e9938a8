"""Recorded requests to AWS: their violations of the API's models, and the permissions that they need.

The models are botocore's. AWS_DATA_PATH may name the `data` folder of a newer botocore.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from botocore.loaders import create_loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape
from botocore.validate import ParamValidationDecorator, ParamValidator

from tests.support.iam import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from botocore.model import OperationModel

_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"
"""Characters beyond the first plane in the models' patterns, in Java's notation."""


class Call(NamedTuple):
    """One request, as passed to botocore."""

    service: str
    operation: str
    parameters: dict[str, Any]


def recorded(file: Path) -> list[Call]:
    """Read the records of `tests/support/recorder`."""
    return [Call(*json.loads(line)) for line in file.read_text().splitlines()]


@contextmanager
def recording() -> Iterator[list[Call]]:
    """Record this process's requests to AWS."""
    calls: list[Call] = []
    send = ParamValidationDecorator.serialize_to_request

    def note(self: ParamValidationDecorator, parameters: dict[str, Any], model: OperationModel) -> Any:  # noqa: ANN401
        calls.append(Call(model.service_model.service_name, model.name, parameters))
        return send(self, parameters, model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ParamValidationDecorator, "serialize_to_request", note)
        yield calls


# --- the API's models -------------------------------------------------------------------------------------------------


@cache
def _model(service: str) -> ServiceModel:
    loader = create_loader(os.environ.get("AWS_DATA_PATH"))
    return ServiceModel(loader.load_service_model(service, "service-2"), service)


def violations(call: Call) -> list[str]:
    """Return a request's violations of the API's model.

    botocore checks names, types, required members and minimum lengths when it sends a request. This function adds
    enumerations, patterns and maximum lengths, which only AWS checks.
    """
    shape = _model(call.service).operation_model(call.operation).input_shape
    if shape is None:
        return []
    report = ParamValidator().validate(call.parameters, shape)
    if report.has_errors():
        return [f"{call.operation}: {report.generate_report()}"]
    return [f"{call.operation}: {violation}" for violation in _violations(shape, call.parameters, "")]


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - any member of any request
    if isinstance(shape, StructureShape):
        for name, member in value.items():
            if name in shape.members:
                yield from _violations(shape.members[name], member, f"{path}.{name}")
    elif isinstance(shape, ListShape):
        for number, member in enumerate(value):
            yield from _violations(shape.member, member, f"{path}[{number}]")
    elif isinstance(shape, MapShape):
        for key, member in value.items():
            yield from _violations(shape.key, key, f"{path} key")
            yield from _violations(shape.value, member, f"{path}[{key}]")
    elif isinstance(shape, StringShape):
        yield from _of_text(shape, value, path)


def _of_text(shape: StringShape, value: str, path: str) -> Iterator[str]:
    pattern = shape.metadata.get("pattern", "").replace(_SURROGATES, r"\U00010000-\U0010FFFF")
    if shape.enum and value not in shape.enum:
        yield f"{path} is {value!r}, none of {', '.join(shape.enum)}"
    if pattern and not re.fullmatch(pattern, value):
        yield f"{path} is {value!r}, which does not match {pattern}"
    if len(value) > shape.metadata.get("max", len(value)):
        yield f"{path} has {len(value)} characters; {shape.metadata['max']} are allowed"


# --- permissions ------------------------------------------------------------------------------------------------------

S3_ACTIONS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "GetBucketLocation": "s3:GetBucketLocation",
    "GetObject": "s3:GetObject",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "ListObjects": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
}
"""Source: S3 User Guide, "Required permissions for Amazon S3 API operations". A missing operation fails the test."""
KEY_ACTIONS = {
    "s3:GetObject": ("kms:Decrypt",),
    "s3:PutObject": ("kms:Decrypt", "kms:GenerateDataKey"),
}
"""Actions of S3 on the key of an encrypted bucket, on the caller's behalf (S3 User Guide, "Using server-side encryption
with AWS KMS keys"). Multipart uploads need decryption."""
PREFIXES = {"emr": "elasticmapreduce", "service-quotas": "servicequotas"}
"""IAM's names of services with another name in botocore."""
NOT_CHECKED = {"sts:GetCallerIdentity"}
"""Actions that need no permission (STS API Reference, "GetCallerIdentity")."""


def keys(call: Call) -> list[str]:
    """Return the keys in a request to S3; `DeleteObjects` has several."""
    if "Key" in call.parameters:
        return [call.parameters["Key"]]
    return [one["Key"] for one in call.parameters.get("Delete", {}).get("Objects", [])]


def action(call: Call) -> str:
    """Return the IAM action of the request's operation."""
    if call.service == "s3":
        return S3_ACTIONS[call.operation]
    return f"{PREFIXES.get(call.service, call.service)}:{call.operation}"


def of_s3(call: Call, bucket: str, key: str) -> list[Request]:
    """Return the permissions that a request to S3 needs, for a bucket encrypted with a key.

    Args:
        call: Recorded request.
        bucket: ARN of the deployment's bucket, which replaces the test's bucket.
        key: ARN of the deployment's key.
    """
    name = action(call)
    objects = [Request(name, f"{bucket}/{one}") for one in keys(call)] or [Request(name, bucket)]
    return objects + [Request(one, key) for one in KEY_ACTIONS.get(name, ())]


def of_run_job_flow(call: Call, cluster: str, roles: Mapping[str, str]) -> list[Request]:
    """Return the permissions that RunJobFlow needs, including those for tags, policies and roles.

    Source: Service Authorization Reference and EMR Management Guide, "Policies for tag-based access to clusters" and
    "IAM policies that allow users to use PassRole".

    Args:
        call: Recorded request.
        cluster: ARN of the new cluster.
        roles: ARNs of the passed roles, by the service that receives them.
    """
    given = call.parameters
    tags = {f"elasticmapreduce:RequestTag/{tag['Key']}": tag["Value"] for tag in given["Tags"]}
    policies = {
        "AutoTerminationPolicy": "elasticmapreduce:PutAutoTerminationPolicy",
        "ManagedScalingPolicy": "elasticmapreduce:PutManagedScalingPolicy",
    }
    return [
        Request("elasticmapreduce:RunJobFlow", "*", tags),
        *(Request(put, cluster) for name, put in policies.items() if name in given),
        *(Request("iam:PassRole", role, {"iam:PassedToService": service}) for service, role in roles.items()),
    ]


# --- S3 over HTTP: requests of clients other than botocore ------------------------------------------------------------

_OPERATIONS: tuple[tuple[str, bool, str | None, str], ...] = (
    ("GET", False, "location", "GetBucketLocation"),
    ("GET", False, "list-type", "ListObjectsV2"),
    ("GET", False, None, "ListObjects"),
    ("HEAD", False, None, "HeadBucket"),
    ("GET", True, None, "GetObject"),
    ("HEAD", True, None, "HeadObject"),
    ("PUT", True, "partNumber", "UploadPart"),
    ("PUT", True, None, "PutObject"),
    ("POST", True, "uploads", "CreateMultipartUpload"),
    ("POST", True, "uploadId", "CompleteMultipartUpload"),
    ("DELETE", True, "uploadId", "AbortMultipartUpload"),
    ("DELETE", True, None, "DeleteObject"),
)
"""Method, whether there is a key, a required parameter, and the operation. The first match counts."""


def of_http(requests: Iterable[tuple[str, str]]) -> list[Call]:
    """Return the S3 operations of HTTP requests to path-style addresses.

    Args:
        requests: Method and target of each. `POST /bucket?delete` is skipped, since its body names the objects.

    Raises:
        KeyError: A request is not one of the operations above.
    """
    return [
        _of_http(method, target) for method, target in requests if not target.partition("?")[2].startswith("delete")
    ]


def _of_http(method: str, target: str) -> Call:
    address = urlsplit(target)
    bucket, _, key = unquote(address.path).lstrip("/").partition("/")
    query = parse_qs(address.query, keep_blank_values=True)
    for verb, with_key, parameter, operation in _OPERATIONS:
        if verb == method and with_key == bool(key) and (parameter is None or parameter in query):
            return Call("s3", operation, {"Bucket": bucket} | ({"Key": key} if key else {}))
    raise KeyError(f"{method} {target}")
