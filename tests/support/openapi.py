"""Comparison of an answer with the OpenAPI document of its server."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from openapi_schema_validator import OAS31Validator

from fruits_features.client.serve.guards import HEADERS

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALWAYS = {"cache-control", "content-length", "content-type", *map(str.lower, HEADERS)}
"""Headers that the document describes once for all answers, or not at all."""


def check_answer(
    document: Mapping[str, Any], request: tuple[str, str], status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Check that an answer has a status, headers and a body that the document describes, and no other field.

    Args:
        document: OpenAPI document.
        request: Method and path.
        status: Status of the answer.
        headers: Headers of the answer, by names in lower case.
        body: Body of the answer.
    """
    method, path = request
    operation = document["paths"].get(path, {}).get(method.lower())
    if operation is None:  # a file of the page, or a request that the interface does not have
        if status >= 400:
            _check(document, {"$ref": "#/components/schemas/Error"}, body)
        return
    assert str(status) in operation["responses"], f"{method} {path} is not described with {status}"
    described = operation["responses"][str(status)]
    names = {name.lower(): header.get("required", False) for name, header in described.get("headers", {}).items()}
    required = {name for name, is_required in names.items() if is_required}
    assert required <= headers.keys() <= _ALWAYS | names.keys()
    assert headers["content-type"] == "application/json"
    _check(document, described["content"]["application/json"]["schema"], body)


def _check(document: Mapping[str, Any], schema: Mapping[str, Any], body: bytes) -> None:
    components = deepcopy(document["components"])
    for one in components["schemas"].values():
        one["additionalProperties"] = False
    OAS31Validator({**schema, "components": components}).validate(json.loads(body))
