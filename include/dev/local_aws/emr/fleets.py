"""Instance fleets, which moto does not have: what ListInstanceFleets and ListInstances answer of a cluster's nodes.

The nodes are only told of: all work is done on this machine. For each fleet there are as many as its target capacity
asks for, of the first type that the request names, since prices and capacity are the real EC2's; spot requests are
always fulfilled. They are created with the cluster, ready with it, and end with it (APIReference/API_InstanceTimeline),
and are listed when they have ended, too (API_ListInstances: active ones, and those "terminated in the last 30 days").

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
"""A fleet's and its instances' state by the cluster's; later ones are ends."""


@dataclass(frozen=True)
class Node:
    """One instance of a fleet."""

    id: str
    ec2_id: str
    type: str
    market: str


@dataclass(frozen=True)
class LocalFleet:
    """A fleet as it was asked for, and its nodes."""

    id: str
    config: Mapping[str, Any]
    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> LocalFleet:
        """Fulfil a request (`InstanceFleetConfig`)."""
        return cls(_id("if-"), config, tuple(_nodes(config)))

    @property
    def role(self) -> str:
        """Of its nodes: MASTER, CORE or TASK."""
        return str(self.config["InstanceFleetType"])

    def describe(self, cluster: LocalCluster) -> dict[str, Any]:
        """The fleet as ListInstanceFleets gives it."""
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
        """Its nodes as ListInstances gives them."""
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
    """The nodes that a ListInstances request asks for."""
    states = request.get("InstanceStates")
    return [
        node
        for fleet in fleets
        if request.get("InstanceFleetId") in {None, fleet.id} and request.get("InstanceFleetType") in {None, fleet.role}
        for node in fleet.instances(cluster)
        if not states or node["Status"]["State"] in states
    ]


def _nodes(config: Mapping[str, Any]) -> Iterator[Node]:
    kind = config["InstanceTypeConfigs"][0]
    for market, target in (("ON_DEMAND", "TargetOnDemandCapacity"), ("SPOT", "TargetSpotCapacity")):
        for _ in range(math.ceil(config.get(target, 0) / kind.get("WeightedCapacity", 1))):
            yield Node(_id("ci-"), f"i-{secrets.token_hex(8)}1", kind["InstanceType"], market)


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
