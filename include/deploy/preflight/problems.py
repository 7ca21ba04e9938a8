"""Problems that block a deployment, the table that shows them, and the error codes of AWS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botocore.exceptions import ClientError

DENIED: Final = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
"""Error codes for a request that the caller's policies do not allow; S3 answers HEAD requests without a code."""
EXPIRED: Final = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
"""Error codes for credentials that have expired."""


@dataclass(frozen=True)
class Problem:
    """One problem.

    Args:
        sentence: Description of the problem, with the value.
        command: Command that fixes it.
        stops: Whether the deployment or the first run would fail.
    """

    sentence: str
    command: str
    stops: bool = True


@dataclass(frozen=True)
class Deployment:
    """The deployment to check.

    Args:
        account: ID of the account that deploys.
        region: AWS region.
        vpc: VPC of the clusters; None if neither the command line nor an existing stack names one.
        subnets: Subnets of the clusters; empty for all subnets of the VPC that are tagged for EMR.
        size: Cluster size that the quotas must allow.
        bucket: Name of the bucket.
        exists: Whether the stack has its bucket already.
        node_groups: Security groups of the clusters' nodes; empty before the stack has them.
    """

    account: str
    region: str
    vpc: str | None
    subnets: tuple[str, ...]
    size: str
    bucket: str
    exists: bool
    node_groups: tuple[str, ...] = ()


def table(problems: Sequence[Problem]) -> str:
    """Return the problems as a table of two columns.

    >>> print(table([Problem("VPC vpc-1 lacks a tag.", "aws ec2 create-tags"), Problem("No role.", "aws iam", False)]))
    problem                     fix it with
    VPC vpc-1 lacks a tag.      aws ec2 create-tags
    No role. (does not stop)    aws iam
    """
    rows = [("problem", "fix it with")]
    rows += [(item.sentence + ("" if item.stops else " (does not stop)"), item.command) for item in problems]
    width = max(len(sentence) for sentence, _ in rows)
    return "\n".join(f"{sentence:<{width}}    {command}" for sentence, command in rows)


def code(error: ClientError) -> str:
    """Return the error code of AWS's response."""
    return str(error.response["Error"]["Code"])


def joined(words: Sequence[str]) -> str:
    """Join words with commas and "and".

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
