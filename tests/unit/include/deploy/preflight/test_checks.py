"""Checks that the caller may not make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from include.deploy.preflight import checks

if TYPE_CHECKING:
    from include.deploy.preflight.problems import Problem


def test_check_without_permissions_is_one_problem() -> None:
    def denied() -> list[Problem]:
        raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "No."}}, "DescribeVpcs")

    (problem,) = checks._unless_denied(denied)  # noqa: SLF001

    assert problem.sentence == "You may not call DescribeVpcs, so this check was skipped."
    assert not problem.stops
