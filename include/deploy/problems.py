"""A problem of a deployment, what is to be deployed, and the table that shows problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botocore.exceptions import ClientError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        sentence: What is wrong, with the value.
        command: What fixes it, to be typed.
        stops: Whether the deployment or the first run fails for it.
    """

    sentence: str
    command: str
    stops: bool = True


@dataclass(frozen=True)
class Deployment:
    """What is to be deployed.

    Args:
        region: Where.
        vpc: Where clusters run; None if neither the command line nor an existing stack names one.
        subnets: Where clusters run; empty for all subnets of the VPC that are tagged for EMR.
        size: Cluster size whose vCPUs the quotas must allow.
        bucket: Name of the bucket.
        exists: Whether the stack has its bucket already.
    """

    region: str
    vpc: str | None
    subnets: tuple[str, ...]
    size: str
    bucket: str
    exists: bool


def table(problems: Sequence[Problem]) -> str:
    """Return the problems as a table of two columns.

    >>> print(table([Problem("VPC vpc-1 lacks a tag.", "aws ec2 create-tags"), Problem("No role.", "aws iam", False)]))
    problem                     fix it with
    VPC vpc-1 lacks a tag.      aws ec2 create-tags
    No role. (does not stop)    aws iam
    """
    rows = [("problem", "fix it with")]
    rows += [(one.sentence + ("" if one.stops else " (does not stop)"), one.command) for one in problems]
    width = max(len(sentence) for sentence, _ in rows)
    return "\n".join(f"{sentence:<{width}}    {command}" for sentence, command in rows)


def code(error: ClientError) -> str:
    """Return the code of an answer that is an error."""
    return str(error.response["Error"]["Code"])


def joined(words: Sequence[str]) -> str:
    """Join words.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
