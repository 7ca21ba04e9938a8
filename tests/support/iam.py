"""An evaluator of IAM policies for the elements that our policies use. It raises an error for any other element.

Sources: IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators". An explicit deny
wins, an allow is required, and a condition on a missing key is not met. moto's evaluator treats such a condition as met
and ignores unknown operators, which proves too little here. Requests that the service reference rules out are rejected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tests.support.service_reference import require_possible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True)
class Request:
    """One action on one resource, with the values of condition keys."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def _like(value: str, pattern: str) -> bool:
    return fnmatchcase(value, re.sub(r"\[", "[[]", pattern))


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
    "NumericLessThan": lambda value, wanted: float(value) < float(wanted),
    "StringEquals": lambda value, wanted: value == wanted,
    "StringLike": _like,
}
ELEMENTS = {"Action", "Condition", "Effect", "Principal", "Resource", "Sid"}


def allows(policies: Iterable[Mapping[str, Any]], request: Request) -> bool:
    """Return whether the policies of one principal allow a request.

    Raises:
        ImpossibleRequestError: The service reference rules out the request.
        NotImplementedError: A policy uses an element or operator that is not implemented here.
    """
    require_possible(request.action, request.resource, request.context)
    statements = [one for policy in policies for one in _listed(policy["Statement"])]
    effects = {statement["Effect"] for statement in statements if _applies(statement, request)}
    return effects == {"Allow"}


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    if unknown := set(statement) - ELEMENTS:
        raise NotImplementedError(f"{sorted(unknown)} in {statement}")
    action = any(_like(request.action.lower(), one.lower()) for one in _listed(statement["Action"]))
    resource = any(_like(request.resource, one) for one in _listed(statement["Resource"]))
    conditions = statement.get("Condition", {})
    met = [_met(operator, wanted, request.context) for operator, wanted in conditions.items()]
    return action and resource and all(met)


def _met(operator: str, wanted: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    if operator not in OPERATORS:
        raise NotImplementedError(operator)
    matches = OPERATORS[operator]
    return all(
        key in context and any(matches(context[key], str(value)) for value in _listed(values))
        for key, values in wanted.items()
    )


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - in a policy, each is one value or a list
    return value if isinstance(value, list) else [value]
