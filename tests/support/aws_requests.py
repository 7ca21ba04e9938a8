"""Requests of AWS as they were recorded: what the API's model says against them, and what IAM has to allow for them.

The models are botocore's. A newer botocore's are used where AWS_DATA_PATH names its `data` folder.
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
"""Java's way to write the characters beyond the first plane in the models' patterns."""


class Call(NamedTuple):
    """One request as botocore was asked for it."""

    service: str
    operation: str
    parameters: dict[str, Any]


def recorded(file: Path) -> list[Call]:
    """Read what `tests/support/recorder` noted."""
    return [Call(*json.loads(line)) for line in file.read_text().splitlines()]


@contextmanager
def recording() -> Iterator[list[Call]]:
    """Note the requests that this process makes of AWS."""
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
    """Return what the model says against a request.

    botocore itself checks names, types, required members and least lengths when it sends. This adds enumerations,
    patterns and greatest lengths, which only AWS checks.
    """
    shape = _model(call.service).operation_model(call.operation).input_shape
    if shape is None:
        return []
    report = ParamValidator().validate(call.parameters, shape)
    if report.has_errors():
        return [f"{call.operation}: {report.generate_report()}"]
    return [f"{call.operation}: {one}" for one in _violations(shape, call.parameters, "")]


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


# --- what IAM has to allow --------------------------------------------------------------------------------------------

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
"""After "Required permissions for Amazon S3 API operations" (S3 User Guide). An operation that is missing here fails
the test that meets it."""
KEY_ACTIONS = {
    "s3:GetObject": ("kms:Decrypt",),
    "s3:PutObject": ("kms:Decrypt", "kms:GenerateDataKey"),
}
"""What S3 does with the key of an encrypted bucket in the caller's name (S3 User Guide, "Using server-side encryption
with AWS KMS keys"); decryption belongs to uploads in parts."""
PREFIXES = {"emr": "elasticmapreduce", "service-quotas": "servicequotas"}
"""IAM's names of services that botocore calls otherwise."""
NOT_CHECKED = {"sts:GetCallerIdentity"}
"""Allowed to everybody (STS API Reference, "GetCallerIdentity")."""


def keys(call: Call) -> list[str]:
    """Return the objects that a request of S3 names; `DeleteObjects` names many."""
    if "Key" in call.parameters:
        return [call.parameters["Key"]]
    return [one["Key"] for one in call.parameters.get("Delete", {}).get("Objects", [])]


def action(call: Call) -> str:
    """Return the action that a request is, by its own name."""
    if call.service == "s3":
        return S3_ACTIONS[call.operation]
    return f"{PREFIXES.get(call.service, call.service)}:{call.operation}"


def of_s3(call: Call, bucket: str, key: str) -> list[Request]:
    """Return what IAM has to allow for a request of S3, if the bucket is encrypted with a key.

    Args:
        call: As recorded.
        bucket: ARN of the deployment's bucket, in the place of the one of the test.
        key: ARN of the deployment's key.
    """
    name = action(call)
    objects = [Request(name, f"{bucket}/{one}") for one in keys(call)] or [Request(name, bucket)]
    return objects + [Request(one, key) for one in KEY_ACTIONS.get(name, ())]


def of_run_job_flow(call: Call, cluster: str, roles: Mapping[str, str]) -> list[Request]:
    """Return what IAM has to allow for RunJobFlow: what it does besides needs actions of their own.

    Source: Service Authorization Reference and EMR Management Guide, "Policies for tag-based access to clusters" and
    "IAM policies that allow users to use PassRole".

    Args:
        call: As recorded.
        cluster: ARN of the cluster that it makes.
        roles: ARNs of the roles that it passes, by the service that gets them.
    """
    given = call.parameters
    tags = {f"elasticmapreduce:RequestTag/{tag['Key']}": tag["Value"] for tag in given["Tags"]}
    policies = {
        "AutoTerminationPolicy": "elasticmapreduce:PutAutoTerminationPolicy",
        "ManagedScalingPolicy": "elasticmapreduce:PutManagedScalingPolicy",
    }
    return [
        Request("elasticmapreduce:RunJobFlow", "*", tags),
        Request("elasticmapreduce:AddTags", cluster, tags),
        *(Request(put, cluster) for name, put in policies.items() if name in given),
        *(Request("iam:PassRole", role, {"iam:PassedToService": service}) for service, role in roles.items()),
    ]


# --- S3 over HTTP: what clients other than botocore send --------------------------------------------------------------

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
"""Method, whether a key is named, a parameter that has to be there, and the operation; the first that fits counts."""


def of_http(requests: Iterable[tuple[str, str]]) -> list[Call]:
    """Return the S3 operations of HTTP requests to path-style addresses.

    Args:
        requests: Method and target of each. `POST /bucket?delete` is left out: its body names the objects.

    Raises:
        KeyError: A request is no operation that is known here.
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
