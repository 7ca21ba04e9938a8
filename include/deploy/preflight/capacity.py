"""Checks whether a cluster fits into its subnets: instance types and free addresses. Only reads.

EMR starts all nodes of a cluster in one of the subnets that the request names (EMR API Reference,
`RequestedEc2SubnetIds`). So a subnet that is too small stops a deployment only if no other subnet is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from include.deploy.preflight.network import cluster_subnets
from include.deploy.preflight.problems import Deployment, Problem, joined
from include.emr.prices import price_table
from include.emr.sizing import SIZES, fleets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import SubnetTypeDef

    from include.emr.sizing import Fleet
    from include.settings import Settings

EMR_ADDRESSES: Final = 1
"""Addresses besides those of the nodes: one for EMR's endpoint (`emr-spark-8.x`), or for the interface that EMR
attaches to the primary node (EMR Management Guide, "Launch clusters into a VPC")."""
OTHER_SUBNETS: Final = 'make deploy DEPLOY="--subnets subnet-…"'


def capacity(ec2: EC2Client, deployment: Deployment, chosen: Settings) -> Iterator[Problem]:
    """Yield the problems of a cluster's nodes with their subnets and Availability Zones.

    Args:
        ec2: Client in the region of the clusters.
        deployment: Deployment with subnets and size. Subnets that do not exist are not checked.
        chosen: Settings with architecture and table of prices.

    Raises:
        include.emr.prices.PricesError: The table of prices is missing or invalid.
        include.emr.sizing.ClusterError: The table of prices has no instance type for a fleet.
    """
    if deployment.vpc is None:
        return
    subnets, _ = cluster_subnets(ec2, deployment, deployment.vpc)
    if not subnets:
        return
    needed = fleets(SIZES[deployment.size], chosen.emr_architecture, price_table(chosen.prices))
    names = list(dict.fromkeys(kind.name for fleet in needed for kind in fleet.types))
    offered = _offered(ec2, [net["AvailabilityZone"] for net in subnets], names)
    unusable = _few_addresses(subnets, deployment) | _without_types(subnets, needed, offered)
    for sentence in unusable.values():
        yield Problem(sentence, OTHER_SUBNETS, stops=len(unusable) == len(subnets))
    for net in subnets:
        zone = net["AvailabilityZone"]
        missing = [name for name in names if name not in offered[zone]]
        if missing and net["SubnetId"] not in unusable:
            yield Problem(
                f"EC2 does not offer {joined(missing)} in {zone} (subnet {net['SubnetId']}); if EMR refuses clusters, "
                "remove them from a copy of include/emr/prices.toml.",
                "export FRUITS_PRICES=…",
                stops=False,
            )


def _few_addresses(subnets: Sequence[SubnetTypeDef], deployment: Deployment) -> dict[str, str]:
    """Return a sentence for each subnet that has fewer free addresses than the cluster may have nodes.

    EMR creates no cluster if no subnet has enough addresses (EMR Management Guide, "Launch clusters into a VPC").
    """
    nodes = SIZES[deployment.size]
    needed = 1 + nodes.core + nodes.task + EMR_ADDRESSES
    free = {net["SubnetId"]: net["AvailableIpAddressCount"] for net in subnets}
    return {
        name: f"Subnet {name} has {count} free addresses; a {deployment.size} cluster needs {needed}."
        for name, count in free.items()
        if count < needed
    }


def _without_types(
    subnets: Sequence[SubnetTypeDef], needed: Sequence[Fleet], offered: Mapping[str, set[str]]
) -> dict[str, str]:
    """Return a sentence for each subnet whose Availability Zone offers no type of a fleet.

    A cluster with a type that the zone lacks ends with `VALIDATION_ERROR_INSTANCE_TYPE_NOT_SUPPORTED` (EMR Management
    Guide, page of this name). The page is about instance groups, which have one type. A fleet with other types may
    start.
    """
    sentences = {}
    for net in subnets:
        zone = net["AvailabilityZone"]
        empty = [fleet.role for fleet in needed if not offered[zone].intersection(kind.name for kind in fleet.types)]
        if empty:
            nodes = joined(["primary" if role == "MASTER" else role.lower() for role in empty])
            sentences[net["SubnetId"]] = (
                f"EC2 offers no type of the price table for the {nodes} nodes in {zone} (subnet {net['SubnetId']})."
            )
    return sentences


def _offered(ec2: EC2Client, zones: Iterable[str], names: Sequence[str]) -> Mapping[str, set[str]]:
    """Return the names of the types that EC2 offers, by Availability Zone."""
    offered: dict[str, set[str]] = {zone: set() for zone in zones}
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone",
        Filters=[{"Name": "location", "Values": sorted(offered)}, {"Name": "instance-type", "Values": list(names)}],
    )
    for page in pages:
        for found in page["InstanceTypeOfferings"]:
            offered[found["Location"]].add(found["InstanceType"])
    return offered
