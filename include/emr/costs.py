"""Estimated and actual cost of a cluster, from its instances' hours and a table of prices.

The bill differs: storage, requests, traffic, taxes and discounts are not included (docs/guides/costs.md).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from include.emr.sizing import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from include.emr.prices import Market, PriceTable
    from include.emr.sizing import Fleet

MIN_BILLED_S: Final = 60.0
"""Minimum that EC2 and EMR bill per instance, in seconds (their price pages). They bill by the second."""

CLUSTER_TASKS: Final = (
    "create_cluster",
    "cluster_ready",
    "featurize_and_reduce",
    "validate_on_cluster",
    "terminate_cluster",
)
"""The tasks during which the cluster exists."""


class TooExpensiveError(ClusterError):
    """The estimate exceeds the limit; the message has both and the options."""


@dataclass(frozen=True)
class Estimate:
    """Estimated time and cost of a run's cluster.

    Args:
        minutes: Minutes from the request of the cluster to its end.
        dollars: Cost in dollars, with the most expensive type of each fleet.
        most_dollars: Cost in dollars if EMR finds no spot capacity and starts on-demand instances.
    """

    minutes: float
    dollars: float
    most_dollars: float


def estimate(fleets: Sequence[Fleet], minutes: float, prices: PriceTable) -> Estimate:
    """Return the cost of the fleets for a number of minutes."""
    hours = minutes / 60
    dollars = sum(_hourly(fleet, fleet.market, prices) for fleet in fleets) * hours
    most = sum(_hourly(fleet, "ON_DEMAND", prices) for fleet in fleets) * hours
    return Estimate(minutes, round(dollars, 4), round(most, 4))


def _hourly(fleet: Fleet, market: Market, prices: PriceTable) -> float:
    """Return the maximum cost of a fleet in dollars per hour."""
    return max(prices.hourly(kind, market) * fleet.vcpus / kind.vcpus for kind in fleet.types)


def check(expected: Estimate, max_cost: float | None) -> None:
    """Raise an error if the cluster may cost more than the limit.

    Args:
        expected: Estimate of the cluster.
        max_cost: Limit in dollars; None for no limit.

    Raises:
        TooExpensiveError: The estimate without spot capacity exceeds the limit.
    """
    if max_cost is not None and expected.most_dollars > max_cost:
        raise TooExpensiveError(
            f"The cluster would cost about ${expected.dollars:.2f} for {expected.minutes:.0f} minutes, and up to "
            f"${expected.most_dollars:.2f} without spot capacity; `max_cost` allows ${max_cost:.2f}. No cluster was "
            "created. Increase `max_cost`, choose a smaller `cluster_size`, or increase `target_minutes` of `auto`."
        )


@dataclass(frozen=True)
class Hours:
    """Billed hours of the instances of one type and market.

    Args:
        type: Instance type.
        market: On-demand or spot.
        instances: Number of instances.
        hours: Billed hours of all these instances.
        dollars: Cost in dollars; None if the table of prices lacks the type.
    """

    type: str
    market: Market
    instances: int
    hours: float
    dollars: float | None


@dataclass(frozen=True)
class Cost:
    """Actual cost of a cluster.

    Args:
        dollars: Total in dollars; None if a type has no price.
        hours: Hours by type and market.
        prices: Region and date of the prices.
        spot_share: Assumed spot price as a share of the on-demand price.
        charged: Whether AWS charges for the cluster. It does not for an emulated one.
    """

    dollars: float | None
    hours: tuple[Hours, ...]
    prices: str
    spot_share: float
    charged: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the cost in plain types."""
        return asdict(self) | {"hours": [asdict(entry) for entry in self.hours]}

    @property
    def unpriced(self) -> list[str]:
        """Instance types that the table of prices lacks."""
        return [entry.type for entry in self.hours if entry.dollars is None]


def actual(instances: Iterable[Mapping[str, Any]], prices: PriceTable, now: datetime) -> Cost:
    """Return the cost of a cluster's instances.

    Args:
        instances: Instances in ListInstances' format. Those without an EC2 instance cost nothing.
        prices: Table of prices.
        now: End that is assumed for running instances.
    """
    seconds: dict[tuple[str, Market], list[float]] = {}
    for instance in instances:
        if "Ec2InstanceId" in instance:
            timeline = instance["Status"]["Timeline"]
            lifetime_s = (timeline.get("EndDateTime", now) - timeline["CreationDateTime"]).total_seconds()
            key = (instance["InstanceType"], instance["Market"])
            seconds.setdefault(key, []).append(max(lifetime_s, MIN_BILLED_S))
    hours = tuple(_hours(name, market, billed, prices) for (name, market), billed in sorted(seconds.items()))
    known = [entry.dollars for entry in hours if entry.dollars is not None]
    dollars = round(sum(known), 4) if len(known) == len(hours) else None
    return Cost(dollars, hours, prices.name, prices.spot_share)


def _hours(name: str, market: Market, billed_s: Sequence[float], prices: PriceTable) -> Hours:
    hours, kind = sum(billed_s) / 3600, prices.named(name)
    dollars = round(hours * prices.hourly(kind, market), 4) if kind else None
    return Hours(name, market, len(billed_s), round(hours, 4), dollars)


def by_task(dollars: float, seconds: Mapping[str, float]) -> dict[str, float]:
    """Divide a cluster's cost among its tasks in proportion to their durations.

    Args:
        dollars: Cost of the cluster in dollars.
        seconds: Duration of each task of the run in seconds.

    >>> by_task(1.0, {"take_inventory": 9.0, "cluster_ready": 30.0, "featurize_and_reduce": 90.0})
    {'cluster_ready': 0.25, 'featurize_and_reduce': 0.75}
    """
    shares = {task: seconds[task] for task in CLUSTER_TASKS if task in seconds}
    return {task: dollars * share / sum(shares.values()) for task, share in shares.items()}
