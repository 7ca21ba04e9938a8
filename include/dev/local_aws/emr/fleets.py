"""Instance fleets, which moto does not have: the answers of ListInstanceFleets and ListInstances.

The nodes exist in these answers only. All work runs on this machine. Each fleet has the nodes of its target capacity,
all of the first instance type of the request. Spot requests are always fulfilled.

The nodes are created, become ready and end with the cluster (APIReference/API_InstanceTimeline). They are listed after
their end, too (API_ListInstances: active ones, and those "terminated in the last 30 days").

Shapes and states: botocore's service model (`InstanceFleet`, `Instance`, `InstanceState`, `InstanceFleetState`).
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from include.dev.local_aws.emr.clusters import LocalCluster

STATES = {"STARTING": "PROVISIONING", "BOOTSTRAPPING": "BOOTSTRAPPING", "RUNNING": "RUNNING", "WAITING": "RUNNING"}
"""State of a fleet and its instances by the state of the cluster. All other states mean TERMINATED."""


@dataclass(frozen=True)
class Node:
    """One instance of a fleet."""

    id: str
    ec2_id: str
    type: str
    market: str


@dataclass(frozen=True)
class LocalFleet:
    """A fleet's request and its nodes."""

    id: str
    config: Mapping[str, Any]
    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> LocalFleet:
        """Create the fleet of a request (`InstanceFleetConfig`)."""
        return cls(_id("if-"), config, tuple(_nodes(config)))

    @property
    def role(self) -> str:
        """Role of its nodes: MASTER, CORE or TASK."""
        return str(self.config["InstanceFleetType"])

    def describe(self, cluster: LocalCluster) -> dict[str, Any]:
        """Return the fleet as ListInstanceFleets does."""
        on_demand, spot = (self.config.get(f"Target{market}Capacity", 0) for market in ("OnDemand", "Spot"))
        return {
            "Id": self.id,
            "Name": self.config.get("Name"),
            "InstanceFleetType": self.role,
            "Status": _status(cluster),
            "TargetOnDemandCapacity": on_demand,
            "TargetSpotCapacity": spot,
            "ProvisionedOnDemandCapacity": on_demand,
            "ProvisionedSpotCapacity": spot,
            "InstanceTypeSpecifications": self.config["InstanceTypeConfigs"],
            "LaunchSpecifications": self.config.get("LaunchSpecifications", {}),
        }

    def instances(self, cluster: LocalCluster) -> Iterator[dict[str, Any]]:
        """Yield its nodes as ListInstances returns them."""
        for node in self.nodes:
            yield {
                "Id": node.id,
                "Ec2InstanceId": node.ec2_id,
                "InstanceFleetId": self.id,
                "InstanceType": node.type,
                "Market": node.market,
                "Status": _status(cluster),
            }


def instances(fleets: Iterable[LocalFleet], cluster: LocalCluster, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes that a ListInstances request selects."""
    states = request.get("InstanceStates")
    return [
        node
        for fleet in fleets
        if request.get("InstanceFleetId") in {None, fleet.id} and request.get("InstanceFleetType") in {None, fleet.role}
        for node in fleet.instances(cluster)
        if not states or node["Status"]["State"] in states
    ]


def _nodes(config: Mapping[str, Any]) -> Iterator[Node]:
    instance_type = config["InstanceTypeConfigs"][0]
    for market, target in (("ON_DEMAND", "TargetOnDemandCapacity"), ("SPOT", "TargetSpotCapacity")):
        for _ in range(math.ceil(config.get(target, 0) / instance_type.get("WeightedCapacity", 1))):
            yield Node(_id("ci-"), f"i-{secrets.token_hex(8)}1", instance_type["InstanceType"], market)


def _status(cluster: LocalCluster) -> dict[str, Any]:
    timeline = {
        "CreationDateTime": cluster.creation_datetime,
        "ReadyDateTime": cluster.ready_datetime,
        "EndDateTime": cluster.end_datetime,
    }
    return {
        "State": STATES.get(cluster.state or "", "TERMINATED"),
        "StateChangeReason": {},
        "Timeline": {name: moment for name, moment in timeline.items() if moment},
    }


def _id(prefix: str) -> str:
    return prefix + secrets.token_hex(7).upper()
