"""What a cluster is going to cost, and what it has cost: its instances' hours at the prices of a table. Pure.

Neither says what the bill says: storage, requests, traffic, taxes and discounts are left out (docs/guides/costs.md).
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

LEAST_BILLED_S: Final = 60.0
"""EC2 and EMR bill by the second, and at least a minute (their price pages)."""

CLUSTER_TASKS: Final = ("create_cluster", "cluster_ready", "featurize_and_reduce", "terminate_cluster")
"""The tasks during which there is a cluster."""


class TooExpensiveError(ClusterError):
    """The run is refused; the message tells estimate, limit and way out."""


@dataclass(frozen=True)
class Estimate:
    """What a run's cluster is taken to need.

    Args:
        minutes: from its request to its end.
        dollars: for that time, with the dearest type that each fleet may get.
        most_dollars: if EMR finds no spot capacity and takes instances on demand instead.
    """

    minutes: float
    dollars: float
    most_dollars: float


def estimate(fleets: Sequence[Fleet], minutes: float, prices: PriceTable) -> Estimate:
    """Price the fleets for a time."""
    hours = minutes / 60
    dollars = sum(_hourly(fleet, fleet.market, prices) for fleet in fleets) * hours
    most = sum(_hourly(fleet, "ON_DEMAND", prices) for fleet in fleets) * hours
    return Estimate(minutes, round(dollars, 4), round(most, 4))


def _hourly(fleet: Fleet, market: Market, prices: PriceTable) -> float:
    """The most that an hour of a fleet costs."""
    return max(prices.hourly(one, market) * fleet.vcpus / one.vcpus for one in fleet.types)


def check(expected: Estimate, max_cost: float | None) -> None:
    """Refuse what may cost too much.

    Raises:
        TooExpensiveError: it may.
    """
    if max_cost is not None and expected.most_dollars > max_cost:
        raise TooExpensiveError(
            f"The cluster would cost about ${expected.dollars:.2f}, up to ${expected.most_dollars:.2f} where no spot "
            f"capacity is found, for {expected.minutes:.0f} minutes; `max_cost` allows ${max_cost:.2f}. No cluster was "
            "created. Raise `max_cost`, choose a smaller `cluster_size`, or give `auto` more `target_minutes`."
        )


@dataclass(frozen=True)
class Hours:
    """What the instances of one type and market amounted to.

    Args:
        type: the instance type.
        market: on demand or spot.
        instances: how many.
        hours: of all of them, as they are billed.
        dollars: for them; `None` where the table of prices does not have the type.
    """

    type: str
    market: Market
    instances: int
    hours: float
    dollars: float | None


@dataclass(frozen=True)
class Cost:
    """What a cluster has cost.

    Args:
        dollars: all in all; `None` where a type has no price.
        hours: by type and market.
        prices: region and date of the prices.
        spot_share: what spot instances are taken to cost, as a share of the price on demand.
    """

    dollars: float | None
    hours: tuple[Hours, ...]
    prices: str
    spot_share: float

    def as_dict(self) -> dict[str, Any]:
        """The cost in plain types."""
        return asdict(self) | {"hours": [asdict(one) for one in self.hours]}

    @property
    def unpriced(self) -> list[str]:
        """The types that the table does not have."""
        return [one.type for one in self.hours if one.dollars is None]


def actual(instances: Iterable[Mapping[str, Any]], prices: PriceTable, now: datetime) -> Cost:
    """Add up a cluster's instances.

    Args:
        instances: as ListInstances gives them; what never became an EC2 instance costs nothing.
        prices: of an hour.
        now: when an instance that still runs is taken to end.
    """
    seconds: dict[tuple[str, Market], list[float]] = {}
    for one in instances:
        if "Ec2InstanceId" in one:
            timeline = one["Status"]["Timeline"]
            lived = (timeline.get("EndDateTime", now) - timeline["CreationDateTime"]).total_seconds()
            seconds.setdefault((one["InstanceType"], one["Market"]), []).append(max(lived, LEAST_BILLED_S))
    hours = tuple(_hours(kind, market, lived, prices) for (kind, market), lived in sorted(seconds.items()))
    known = [one.dollars for one in hours if one.dollars is not None]
    dollars = round(sum(known), 4) if len(known) == len(hours) else None
    return Cost(dollars, hours, prices.name, prices.spot_share)


def _hours(kind: str, market: Market, lived: Sequence[float], prices: PriceTable) -> Hours:
    hours, found = sum(lived) / 3600, prices.named(kind)
    dollars = round(hours * prices.hourly(found, market), 4) if found else None
    return Hours(kind, market, len(lived), round(hours, 4), dollars)


def by_task(dollars: float, seconds: Mapping[str, float]) -> dict[str, float]:
    """Share out a cluster's cost over the tasks it was there for, by their time.

    >>> by_task(1.0, {"take_inventory": 9.0, "cluster_ready": 30.0, "featurize_and_reduce": 90.0})
    {'cluster_ready': 0.25, 'featurize_and_reduce': 0.75}
    """
    shares = {task: seconds[task] for task in CLUSTER_TASKS if task in seconds}
    return {task: dollars * share / sum(shares.values()) for task, share in shares.items()}
