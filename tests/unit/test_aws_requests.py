"""The checks of recorded requests find each kind of wrong request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.aws_requests import Call, of_http, violations

CLUSTER: dict[str, Any] = {"Name": "fruits", "Instances": {"Ec2SubnetId": "subnet-1"}}


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"ScaleDownBehavior": "SLOWLY"}, ".ScaleDownBehavior is 'SLOWLY', none of TERMINATE_AT_INSTANCE_HOUR"),
        ({"LogUri": "x" * 10_281}, ".LogUri has 10281 characters; 10280 are allowed"),
        ({"Instances": {"InstanceFleets": [{"InstanceFleetType": "DRIVER"}]}}, ".InstanceFleetType is 'DRIVER'"),
        ({"Colour": "green"}, 'Unknown parameter in input: "Colour"'),
        ({"Name": None}, "Invalid type for parameter Name"),
    ],
)
def test_request_that_the_model_forbids_is_told(more: dict[str, Any], complaint: str) -> None:
    assert violations(Call("emr", "RunJobFlow", CLUSTER)) == []
    assert complaint in " ".join(violations(Call("emr", "RunJobFlow", CLUSTER | more)))


@pytest.mark.parametrize(
    ("method", "target", "operation", "key"),
    [
        ("GET", "/b?list-type=2&prefix=images%2F", "ListObjectsV2", None),
        ("GET", "/b/images/Cr%C3%A8me%20%231.jpg", "GetObject", "images/Crème #1.jpg"),
        ("HEAD", "/b/k", "HeadObject", "k"),
        ("PUT", "/b/k?partNumber=1&uploadId=u", "UploadPart", "k"),
        ("POST", "/b/k?uploads", "CreateMultipartUpload", "k"),
        ("POST", "/b/k?uploadId=u", "CompleteMultipartUpload", "k"),
        ("DELETE", "/b/k?uploadId=u", "AbortMultipartUpload", "k"),
    ],
)
def test_http_request_is_read_as_the_operation_that_it_is(
    method: str, target: str, operation: str, key: str | None
) -> None:
    (call,) = of_http([(method, target)])

    assert (call.operation, call.parameters.get("Key")) == (operation, key)


def test_http_request_that_is_not_known_is_an_error() -> None:
    with pytest.raises(KeyError, match="PUT /b"):
        of_http([("PUT", "/b")])
