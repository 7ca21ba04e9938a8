"""Checks of what an account must have for clusters: quotas, instance types and service-linked roles. Only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from include.deploy.preflight.problems import Deployment, Problem, code, joined
from include.emr.prices import price_table
from include.emr.sizing import SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_emr import EMRClient
    from mypy_boto3_emr.type_defs import ListSupportedInstanceTypesInputTypeDef
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_service_quotas import ServiceQuotasClient

    from include.settings import Settings

ON_DEMAND_QUOTA: Final = "L-1216C47A"
"""Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances, in vCPUs (EC2 User Guide, "On-Demand Instance
quotas")."""
SPOT_QUOTA: Final = "L-34B43A08"
"""All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests, in vCPUs (EC2 User Guide, "Spot Instance
quotas")."""
LINKED_ROLES: Final = {
    "AWSServiceRoleForEMRCleanup": "elasticmapreduce.amazonaws.com",
    "AWSServiceRoleForEC2Spot": "spot.amazonaws.com",
}
"""Service-linked roles, one per account, by name, with their service (EMR Management Guide, "Using service-linked roles
for cleanup"; EC2 User Guide, "Service-linked role for Spot Instance requests")."""
_INVALID = {"InvalidRequestException", "ValidationException"}
"""EMR's errors for an invalid request: the only one in the model of ListSupportedInstanceTypes, and RunJobFlow's."""


def small_quotas(quotas: ServiceQuotasClient, deployment: Deployment) -> Iterator[Problem]:
    """Compare the account's vCPU quotas with a cluster of the chosen size. New accounts have 5 of each."""
    nodes = SIZES[deployment.size]
    needed = {
        ON_DEMAND_QUOTA: ("on-demand", nodes.primary_vcpus + nodes.core_vcpus),
        SPOT_QUOTA: ("spot", nodes.task_vcpus),
    }
    for quota, (market, vcpus) in needed.items():
        value = _quota(quotas, quota) if vcpus else None
        if value is not None and value < vcpus:
            yield Problem(
                f"The quota of {market} vCPUs is {value:.0f}; a {deployment.size} cluster needs {vcpus}.",
                f"aws service-quotas request-service-quota-increase --region {deployment.region} --service-code ec2 "
                f"--quota-code {quota} --desired-value {vcpus}",
            )


def _quota(quotas: ServiceQuotasClient, quota: str) -> float | None:
    """Return the account's value of a quota, or else AWS's default."""
    for request in (quotas.get_service_quota, quotas.get_aws_default_service_quota):
        try:
            return request(ServiceCode="ec2", QuotaCode=quota)["Quota"]["Value"]
        except ClientError as error:
            if code(error) != "NoSuchResourceException":
                raise
    return None


def missing_types(emr: EMRClient, chosen: Settings, region: str) -> Iterator[Problem]:
    """Compare the instance types of the table of prices with those that EMR offers in the region for the release.

    RunJobFlow refuses a request with any other type: "Instance type 'r5b.xlarge' is not supported" (boto3 issue 3418).

    Args:
        emr: Client in the region of the clusters.
        chosen: Settings with release, architecture and table of prices.
        region: Region of the clusters.
    """
    release = chosen.emr_release
    offered = _offered_types(emr, release)
    if not offered:
        yield Problem(
            f"EMR lists no instance types for {release} in {region}; if the command does not print this release, set "
            "FRUITS_EMR_RELEASE to one that it prints.",
            f"aws emr list-release-labels --region {region}",
            stops=False,  # EMR's model of the operation knows labels like emr-7.1.0 only
        )
        return
    types = [kind.name for kind in price_table(chosen.prices).types if kind.architecture == chosen.emr_architecture]
    if missing := [name for name in types if name not in offered]:
        yield Problem(
            f"EMR does not offer {joined(missing)} in {region} for {release}; remove them from a copy of "
            "include/emr/prices.toml.",
            "export FRUITS_PRICES=…",
        )


def _offered_types(emr: EMRClient, release: str) -> set[str]:
    """Return the names of EMR's instance types, none if EMR refuses the release.

    botocore has no paginator for this operation.
    """
    request: ListSupportedInstanceTypesInputTypeDef = {"ReleaseLabel": release}
    names: set[str] = set()
    while True:
        try:
            page = emr.list_supported_instance_types(**request)
        except ClientError as error:
            if code(error) in _INVALID:
                return set()
            raise
        names |= {kind["Type"] for kind in page["SupportedInstanceTypes"]}
        if not page.get("Marker"):
            return names
        request["Marker"] = page["Marker"]


def missing_linked_roles(iam: IAMClient, deployment: Deployment) -> Iterator[Problem]:
    """Search for the service-linked roles that neither EMR nor Airflow has permission to create."""
    for name, service in LINKED_ROLES.items():
        if service.startswith("spot") and not SIZES[deployment.size].task:
            continue
        try:
            iam.get_role(RoleName=name)
        except ClientError as error:
            if code(error) != "NoSuchEntity":
                raise
            yield Problem(
                f"The account has no role {name}.", f"aws iam create-service-linked-role --aws-service-name {service}"
            )
