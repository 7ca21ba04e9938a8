"""Checks of an AWS account before anything is created or costs money.

`check` covers permissions, network, quotas, instance types and the leftovers of an earlier deployment. It only reads.
Each problem has one sentence and the command that fixes it. The facts about AWS name their sources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from include.deploy.preflight.account import missing_linked_roles, missing_types, small_quotas
from include.deploy.preflight.caller import missing_permissions
from include.deploy.preflight.capacity import capacity
from include.deploy.preflight.leftovers import leftover_bucket, leftover_keys
from include.deploy.preflight.network import network
from include.deploy.preflight.problems import DENIED, Deployment, Problem, code
from include.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from include.deploy.preflight.caller import Caller


def check(deployment: Deployment, caller: Caller) -> list[Problem]:
    """Return all problems, those of permissions first. Only reads.

    Args:
        deployment: Deployment to check.
        caller: AWS identity that deploys, from `caller.identify`.

    Raises:
        pydantic.ValidationError: A variable `FRUITS_…` is invalid.
        include.emr.prices.PricesError: The table of prices is missing or invalid.
        include.emr.sizing.ClusterError: The table of prices has no instance type for a fleet.
    """
    region = deployment.region
    ec2 = boto3.client("ec2", region_name=region)
    iam = boto3.client("iam", region_name=region)
    checks: list[Callable[[], Iterable[Problem]]] = [
        lambda: missing_permissions(iam, caller),
        lambda: leftover_bucket(boto3.client("s3", region_name=region), deployment),
        lambda: leftover_keys(boto3.client("kms", region_name=region), deployment),
        lambda: network(ec2, deployment),
        lambda: capacity(ec2, deployment, settings()),
        lambda: small_quotas(boto3.client("service-quotas", region_name=region), deployment),
        lambda: missing_types(boto3.client("emr", region_name=region), settings(), region),
        lambda: missing_linked_roles(iam, deployment),
    ]
    problems = [problem for run in checks for problem in _unless_denied(run)]
    return list(dict.fromkeys(problems))


def _unless_denied(run: Callable[[], Iterable[Problem]]) -> Iterator[Problem]:
    """Yield the problems of a check, or one problem if the caller lacks the check's permissions."""
    try:
        yield from run()
    except ClientError as error:
        if code(error) not in DENIED:
            raise
        yield Problem(
            f"You may not call {error.operation_name}, so this check was skipped.",
            "export AWS_PROFILE=…",
            stops=False,
        )
