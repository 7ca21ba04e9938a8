"""Checks of quotas, instance types and service-linked roles. Responses have the shapes of the API's models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from include.deploy.preflight.account import missing_linked_roles, missing_types, small_quotas
from include.deploy.preflight.problems import Deployment, Problem
from include.emr.prices import price_table
from include.settings import Settings
from tests.support.stacks import REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.stub import Stubber

ACCOUNT = "123456789012"
NEW = Deployment(ACCOUNT, REGION, "vpc-1", (), "small", "orchard", exists=False)


def _quota(value: float) -> dict[str, Any]:
    return {"Quota": {"ServiceCode": "ec2", "Value": value}}


def _asked(code: str) -> dict[str, str]:
    return {"ServiceCode": "ec2", "QuotaCode": code}


def test_quotas_of_a_new_account_are_too_small_for_medium(client: Callable[[str], Stubber]) -> None:
    quotas = client("service-quotas")
    quotas.add_response("get_service_quota", _quota(5), _asked("L-1216C47A"))
    quotas.add_response("get_service_quota", _quota(5), _asked("L-34B43A08"))

    raise_it = f"aws service-quotas request-service-quota-increase --region {REGION} --service-code ec2"
    assert list(small_quotas(quotas.client, Deployment(ACCOUNT, REGION, "vpc-1", (), "medium", "b", exists=False))) == [
        Problem(
            "The quota of on-demand vCPUs is 5; a medium cluster needs 12.",
            f"{raise_it} --quota-code L-1216C47A --desired-value 12",
        ),
        Problem(
            "The quota of spot vCPUs is 5; a medium cluster needs 24.",
            f"{raise_it} --quota-code L-34B43A08 --desired-value 24",
        ),
    ]


def test_small_cluster_needs_no_spot_and_the_default_counts_where_the_account_has_no_value(
    client: Callable[[str], Stubber],
) -> None:
    quotas = client("service-quotas")
    quotas.add_client_error("get_service_quota", "NoSuchResourceException")
    quotas.add_response("get_aws_default_service_quota", _quota(12), _asked("L-1216C47A"))

    assert list(small_quotas(quotas.client, NEW)) == []
    quotas.assert_no_pending_responses()


TYPES = [kind.name for kind in price_table().types]


def _offer(emr: Stubber, *pages: list[str]) -> None:
    for number, names in enumerate(pages):
        asked = {"ReleaseLabel": "emr-spark-8.1.0"} | ({"Marker": str(number)} if number else {})
        more = {"Marker": str(number + 1)} if number + 1 < len(pages) else {}
        types = [{"Type": name} for name in names]
        emr.add_response("list_supported_instance_types", {"SupportedInstanceTypes": types, **more}, asked)


def test_instance_types_of_all_pages_are_offered(client: Callable[[str], Stubber]) -> None:
    emr = client("emr")
    _offer(emr, TYPES[::2], TYPES[1::2])

    assert list(missing_types(emr.client, Settings(), REGION)) == []
    emr.assert_no_pending_responses()


def test_instance_types_that_emr_does_not_offer_are_one_problem(client: Callable[[str], Stubber]) -> None:
    emr = client("emr")
    _offer(emr, [name for name in TYPES if name not in {"m7g.xlarge", "m7g.4xlarge", "m6a.xlarge"}])

    assert list(missing_types(emr.client, Settings(), REGION)) == [
        Problem(
            f"EMR does not offer m7g.xlarge and m7g.4xlarge in {REGION} for emr-spark-8.1.0; remove them from a copy "
            "of include/emr/prices.toml.",
            "export FRUITS_PRICES=…",
        )
    ]


@pytest.mark.parametrize("is_refused", [True, False])
def test_release_without_instance_types_is_a_problem_that_does_not_stop(
    client: Callable[[str], Stubber], *, is_refused: bool
) -> None:
    emr = client("emr")
    if is_refused:
        emr.add_client_error("list_supported_instance_types", "InvalidRequestException")
    else:
        _offer(emr, [])

    assert list(missing_types(emr.client, Settings(), REGION)) == [
        Problem(
            f"EMR lists no instance types for emr-spark-8.1.0 in {REGION}; if the command does not print this release, "
            "set FRUITS_EMR_RELEASE to one that it prints.",
            f"aws emr list-release-labels --region {REGION}",
            stops=False,
        )
    ]


def test_missing_linked_roles_are_a_problem(client: Callable[[str], Stubber]) -> None:
    iam = client("iam")
    iam.add_client_error("get_role", "NoSuchEntity", expected_params={"RoleName": "AWSServiceRoleForEMRCleanup"})

    assert list(missing_linked_roles(iam.client, NEW)) == [
        Problem(
            "The account has no role AWSServiceRoleForEMRCleanup.",
            "aws iam create-service-linked-role --aws-service-name elasticmapreduce.amazonaws.com",
        )
    ]
