"""How many nodes a run's cluster has, of which kinds, and how long it needs. Pure: no AWS call, no request.

`include.emr.requests` makes EMR's request of it, `include.emr.costs` its price. The table of prices holds the instance
types. A node is `NODE_VCPUS` virtual CPUs here, whatever the instances are that EMR gets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from fruits_features.contract.workload import IMAGE_OVERHEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.emr.prices import InstanceType, Market, PriceTable
    from include.settings import Architecture

Role = Literal["MASTER", "CORE", "TASK"]

PRIMARY_VCPUS: Final = 4
"""At least, of the primary node. It runs the driver, which holds the inventory and what is known of it: no images."""
DRIVER_BYTES_AN_IMAGE: Final = 500
"""What the driver of a rerun holds (docs/measurements/speed.md, "Millions of objects")."""
PRIMARY_SYSTEM_GB: Final = 8
"""What else lives on the primary node: the driver's JVM, YARN's and HDFS's daemons, the system. An estimate."""
GB_A_VCPU: Final = 4
"""Memory of the instance types in the table of prices."""
NODE_VCPUS: Final = 8

EXECUTOR_VCPUS: Final = 4
EXECUTOR_HEAP_MB: Final = 2048
"""Images and rows stay out of the JVM (decision 5)."""
EXECUTOR_PYTHON_MB: Final = 9216
"""For the Python workers, one per core, which hold the images: 2,304 MB each, where 400 MB were measured with the
default features. As overhead and not as `spark.executor.pyspark.memory`, which limits the address space: that counts
what OpenCV and Arrow reserve and never touch."""
EXECUTOR_MB: Final = EXECUTOR_HEAP_MB + EXECUTOR_PYTHON_MB
"""11,264 MB is the most with which two executors and the application master fit into the 23,424 MB of a node of 8
virtual CPUs. The least is 10,855 MB, with which five no longer fit into the 54,272 MB of one of 16."""
MASTER_HEAP_MB: Final = 512
MASTER_OVERHEAD_MB: Final = 384
"""Spark's application master in client mode only asks for executors. Both are Spark's defaults."""

NODES_A_CORE_NODE: Final = 4
"""One node in so many is on demand, and cannot be taken away; what a spot node loses, the others do again."""

MEASURED_IMAGE_BYTES: Final = 5_000
"""Size of the images that `Settings.emr_images_per_core_s` was measured with."""

START_MINUTES: Final = 8.0
"""From RunJobFlow to the first step. Not measured yet: AWS's guides speak of five to ten minutes."""
STEP_OVERHEAD_MINUTES: Final = 1.5
"""Of the step, whatever it works on: Spark's start, the fit, the files."""
END_MINUTES: Final = 1.0
"""From TerminateJobFlows to the end of the last instance. Not measured yet."""


class ClusterError(ValueError):
    """There is no such cluster to be had; the message tells the way out."""


@dataclass(frozen=True)
class Workload:
    """What there is to describe.

    Args:
        images: how many.
        size_bytes: all of them together.
    """

    images: int
    size_bytes: int

    def core_seconds(self, images_per_core_s: float) -> float:
        """How long one core takes.

        Args:
            images_per_core_s: images of `MEASURED_IMAGE_BYTES` that one core describes in a second.

        >>> Workload(images=1000, size_bytes=5_000_000).core_seconds(200)
        5.0
        """
        measured = IMAGE_OVERHEAD_BYTES + MEASURED_IMAGE_BYTES
        return (self.images * IMAGE_OVERHEAD_BYTES + self.size_bytes) / (measured * images_per_core_s)

    @property
    def primary_vcpus(self) -> int:
        """How large the primary node has to be for its memory: the least one, twice, four times ... as large.

        >>> [Workload(millions * 1_000_000, 0).primary_vcpus for millions in (1, 10, 40, 100)]
        [4, 4, 8, 16]
        """
        needed_gb = PRIMARY_SYSTEM_GB + self.images * DRIVER_BYTES_AN_IMAGE / 1e9
        doublings = math.ceil(math.log2(needed_gb / (PRIMARY_VCPUS * GB_A_VCPU)))
        return PRIMARY_VCPUS << max(0, doublings)


@dataclass(frozen=True)
class Nodes:
    """A cluster's nodes.

    Args:
        core: how many are on demand.
        task: how many are spot, or on demand where there is no spot capacity when the cluster starts.
        primary_vcpus: virtual CPUs of the primary node, which is one more.
    """

    core: int
    task: int
    primary_vcpus: int = PRIMARY_VCPUS

    @property
    def core_vcpus(self) -> int:
        """Of the core nodes."""
        return self.core * NODE_VCPUS

    @property
    def task_vcpus(self) -> int:
        """Of the task nodes."""
        return self.task * NODE_VCPUS

    @property
    def vcpus(self) -> int:
        """Of core and task nodes together."""
        return self.core_vcpus + self.task_vcpus

    @classmethod
    def of(cls, count: int) -> Nodes:
        """Share out so many nodes.

        >>> Nodes.of(6)
        Nodes(core=2, task=4, primary_vcpus=4)
        """
        core = math.ceil(count / NODES_A_CORE_NODE)
        return cls(core, count - core)


SIZES: Final[Mapping[str, Nodes]] = {"small": Nodes.of(1), "medium": Nodes.of(4), "large": Nodes.of(16)}
AUTO: Final = "auto"


@dataclass(frozen=True)
class SizingTargets:
    """How fast a cluster is to be, and may be.

    Args:
        images_per_core_s: what one core does in a second (`Settings.emr_images_per_core_s`).
        target_minutes: what `auto` aims at for describing the images.
        max_nodes: how many nodes `auto` may take for that.
    """

    images_per_core_s: float
    target_minutes: float
    max_nodes: int


def choose(size: str, work: Workload, pace: SizingTargets) -> Nodes:
    """Choose the nodes: those of a size, or for `auto` the fewest that describe the images in time.

    >>> choose("auto", Workload(10_000_000, 50_000_000_000), SizingTargets(200, target_minutes=15, max_nodes=32))
    Nodes(core=2, task=5, primary_vcpus=4)
    """
    nodes = _fewest(work, pace) if size == AUTO else SIZES[size]
    return replace(nodes, primary_vcpus=work.primary_vcpus)


def _fewest(work: Workload, pace: SizingTargets) -> Nodes:
    node_seconds = work.core_seconds(pace.images_per_core_s) / NODE_VCPUS
    wanted = math.ceil(node_seconds / (pace.target_minutes * 60))
    return Nodes.of(min(max(wanted, 1), pace.max_nodes))


def minutes(nodes: Nodes, work: Workload, images_per_core_s: float) -> float:
    """How long a cluster lives for a run, from its request to its end.

    >>> minutes(Nodes(1, 0), Workload(90_380, 450_000_000), 200)
    11.4
    """
    describing = work.core_seconds(images_per_core_s) / nodes.vcpus / 60
    return round(START_MINUTES + STEP_OVERHEAD_MINUTES + describing + END_MINUTES, 1)


@dataclass(frozen=True)
class Fleet:
    """Instances of one role, which EMR picks from several types.

    Args:
        role: in EMR's words.
        market: on demand or spot.
        vcpus: of all its instances together.
        types: those that EMR may pick; any number of any of them makes exactly `vcpus`.
    """

    role: Role
    market: Market
    vcpus: int
    types: tuple[InstanceType, ...]


def executors_per_node(one: InstanceType) -> int:
    """Return how many executors YARN starts on an instance that also runs the application master.

    EMR's scheduler counts memory alone: AWS's EMR Best Practices Guide, "BP 5.1.5", shows 77 executors of 4 cores on
    48 virtual CPUs. So the executors' memory keeps YARN from using a core twice, or not at all.
    """
    return (one.yarn_memory_mb - MASTER_HEAP_MB - MASTER_OVERHEAD_MB) // EXECUTOR_MB


def fleets(nodes: Nodes, architecture: Architecture, prices: PriceTable) -> tuple[Fleet, ...]:
    """The fleets of a cluster: primary and core, and task where there are task nodes.

    All nodes are of one architecture: EMR's default image is, and a cluster of both needs an image of one's own for
    each instance type (EMR Management Guide, "Working with Amazon Linux AMIs").

    Raises:
        ClusterError: the table of prices has no fitting instance type.
    """
    asked: tuple[tuple[Role, Market, int], ...] = (
        ("MASTER", "ON_DEMAND", nodes.primary_vcpus),
        ("CORE", "ON_DEMAND", nodes.core_vcpus),
        ("TASK", "SPOT", nodes.task_vcpus),
    )
    return tuple(
        Fleet(role, market, vcpus, _types(role, vcpus, architecture, prices)) for role, market, vcpus in asked if vcpus
    )


def _types(role: Role, vcpus: int, architecture: Architecture, prices: PriceTable) -> tuple[InstanceType, ...]:
    """Return the types of which whole instances make exactly so many virtual CPUs; for the primary, a single one.

    On core and task nodes the executors must use all virtual CPUs, as `minutes` assumes.
    """
    primary = role == "MASTER"
    least = vcpus if primary else NODE_VCPUS
    fitting = tuple(
        one
        for one in prices.types
        if one.architecture == architecture
        and one.vcpus >= least
        and vcpus % one.vcpus == 0
        and (primary or executors_per_node(one) * EXECUTOR_VCPUS == one.vcpus)
    )
    if not fitting:
        memory = "" if primary else f" whose `yarn_memory_mb` holds one executor per {EXECUTOR_VCPUS} of them"
        fewer = ", or give the run fewer images (`image_prefix`)" if least > NODE_VCPUS else ""
        raise ClusterError(
            f"The table of prices has no {architecture} instance type of {least} virtual CPUs{memory} for the "
            f"{role.lower()} fleet: add one, or choose the other FRUITS_EMR_ARCHITECTURE{fewer}."
        )
    return fitting
