"""Number, kind and running time of a cluster's nodes. No AWS call.

The table of prices contains the instance types. In this module, a node is a unit of `NODE_VCPUS` virtual CPUs; EMR may
start smaller or larger instances.
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

MIN_PRIMARY_VCPUS: Final = 4
"""Minimum virtual CPUs of the primary node. It runs the driver, which holds no images."""
DRIVER_BYTES_PER_IMAGE: Final = 10
"""Driver memory per image, with a margin: docs/measurements/speed.md, "Millions of objects", has 2.6 bytes."""
PRIMARY_SYSTEM_GB: Final = 8
"""Estimated memory of the driver's JVM, the daemons of YARN and HDFS, and the system on the primary node."""
GB_PER_VCPU: Final = 4
"""Memory per virtual CPU of the instance types in the table of prices."""
NODE_VCPUS: Final = 8
"""Virtual CPUs of a core or task node, the unit of cluster sizes."""

EXECUTOR_VCPUS: Final = 4
EXECUTOR_HEAP_MB: Final = 2048
"""JVM heap of an executor. Images and rows stay out of the JVM (decision 5)."""
EXECUTOR_PYTHON_MB: Final = 9216
"""Memory of an executor's Python workers, one per core, which hold the images. It is set as overhead, because
`spark.executor.pyspark.memory` limits the address space, in which OpenCV and Arrow reserve more than they use."""
EXECUTOR_MB: Final = EXECUTOR_HEAP_MB + EXECUTOR_PYTHON_MB
"""At most 11,264 MB, so that two executors and the application master fit into the 23,424 MB of a node of 8 virtual
CPUs. At least 10,855 MB, so that five executors do not fit into the 54,272 MB of a node of 16 virtual CPUs."""
MASTER_HEAP_MB: Final = 512
MASTER_OVERHEAD_MB: Final = 384
"""Spark's defaults for its application master, which only requests executors in client mode."""
MASTER_MB: Final = MASTER_HEAP_MB + MASTER_OVERHEAD_MB

NODES_PER_CORE_NODE: Final = 4
"""One of this many nodes is an on-demand core node, the others are spot instances, whose lost work is repeated."""

CACHED_IMAGE_SHARE: Final = 0.125
"""Processing time of an image whose features are in the cache, as a share of a new one's of `MEASURED_IMAGE_BYTES`. All
rows are read, fitted and written in each run (docs/measurements/speed.md, "Estimates")."""

MEASURED_IMAGE_BYTES: Final = 5_000
"""Mean image size in the measurement of `Settings.emr_images_per_core_s`."""

START_MINUTES: Final = 8.0
"""Time from RunJobFlow to the first step. An estimate: AWS's guides name five to ten minutes."""
STEP_OVERHEAD_MINUTES: Final = 1.5
"""Time of the step that does not depend on the number of images: Spark's start, the fit and the files."""
END_MINUTES: Final = 1.0
"""Time from TerminateJobFlows to the end of the last instance. An estimate."""

WORKER_MINUTES: Final = 5.0
"""Largest estimated time of a run on an Airflow worker, half of the task's limit: 480,000 cached images."""


class ClusterError(ValueError):
    """The cluster is not possible; the message has the options."""


@dataclass(frozen=True)
class Workload:
    """The images to process.

    Args:
        images: Number of images whose features have to be extracted.
        size_bytes: Total size of these images in bytes.
        image_overhead_bytes: Cost of extraction besides the size (`contract.workload.image_overhead_bytes`).
        cached: Number of images whose features are in the cache.
    """

    images: int
    size_bytes: int
    image_overhead_bytes: int = IMAGE_OVERHEAD_BYTES
    cached: int = 0

    def core_seconds(self, images_per_core_s: float) -> float:
        """Return the processing time of one core in seconds.

        Args:
            images_per_core_s: Images of `MEASURED_IMAGE_BYTES` that one core processes per second without a model.

        >>> Workload(images=1000, size_bytes=5_000_000).core_seconds(200)
        5.0
        >>> Workload(images=1000, size_bytes=5_000_000, cached=8000).core_seconds(200)
        10.0
        """
        measured = IMAGE_OVERHEAD_BYTES + MEASURED_IMAGE_BYTES
        extracted = self.images * self.image_overhead_bytes + self.size_bytes
        return (extracted / measured + self.cached * CACHED_IMAGE_SHARE) / images_per_core_s

    @property
    def primary_vcpus(self) -> int:
        """Virtual CPUs of a primary node with enough memory, `MIN_PRIMARY_VCPUS` times a power of two.

        >>> [Workload(millions * 1_000_000, 0).primary_vcpus for millions in (1, 100, 1000, 5000)]
        [4, 4, 8, 16]
        """
        needed_gb = PRIMARY_SYSTEM_GB + (self.images + self.cached) * DRIVER_BYTES_PER_IMAGE / 1e9
        doublings = math.ceil(math.log2(needed_gb / (MIN_PRIMARY_VCPUS * GB_PER_VCPU)))
        return MIN_PRIMARY_VCPUS << max(0, doublings)


def fits_on_worker(workload: Workload, images_per_core_s: float, below: int) -> bool:
    """Return whether one core of an Airflow worker processes the images of a rerun before a cluster would have started.

    A first run always creates a cluster, which shows that the deployment's roles and network work.

    Args:
        workload: The images, with those that are in the cache of the worker's machine.
        images_per_core_s: Images of `MEASURED_IMAGE_BYTES` that one core processes per second.
        below: Number of new images from which on a cluster is created; 0 for always.

    >>> [fits_on_worker(Workload(new, new * 5_000, cached=20_000), 200, below=1000) for new in (400, 1000)]
    [True, False]
    """
    minutes = workload.core_seconds(images_per_core_s) / 60
    return workload.cached > 0 and workload.images < below and minutes <= WORKER_MINUTES


@dataclass(frozen=True)
class Nodes:
    """A cluster's nodes.

    Args:
        core: Number of on-demand nodes.
        task: Number of spot nodes. They are on demand if there is no spot capacity at the start.
        primary_vcpus: Virtual CPUs of the primary node, which is additional.
    """

    core: int
    task: int
    primary_vcpus: int = MIN_PRIMARY_VCPUS

    @property
    def core_vcpus(self) -> int:
        """Virtual CPUs of the core nodes."""
        return self.core * NODE_VCPUS

    @property
    def task_vcpus(self) -> int:
        """Virtual CPUs of the task nodes."""
        return self.task * NODE_VCPUS

    @property
    def vcpus(self) -> int:
        """Virtual CPUs of core and task nodes."""
        return self.core_vcpus + self.task_vcpus

    @classmethod
    def of(cls, count: int) -> Nodes:
        """Divide a number of nodes into core and task nodes.

        >>> Nodes.of(6)
        Nodes(core=2, task=4, primary_vcpus=4)
        """
        core = math.ceil(count / NODES_PER_CORE_NODE)
        return cls(core, count - core)


SIZES: Final[Mapping[str, Nodes]] = {"small": Nodes.of(1), "medium": Nodes.of(4), "large": Nodes.of(16)}
AUTO: Final = "auto"
"""Size that is chosen by the number of images."""


@dataclass(frozen=True)
class SizingTargets:
    """Targets of the size `auto`.

    Args:
        images_per_core_s: Images that one core processes per second (`Settings.emr_images_per_core_s`).
        target_minutes: Maximum processing time of the images, in minutes.
        max_nodes: Maximum number of nodes.
    """

    images_per_core_s: float
    target_minutes: float
    max_nodes: int


def choose(size: str, workload: Workload, targets: SizingTargets) -> Nodes:
    """Return the nodes of a size. For `auto`, return the fewest nodes that meet the targets.

    >>> choose("auto", Workload(10_000_000, 50_000_000_000), SizingTargets(200, target_minutes=15, max_nodes=32))
    Nodes(core=2, task=5, primary_vcpus=4)
    """
    nodes = _fewest(workload, targets) if size == AUTO else SIZES[size]
    return replace(nodes, primary_vcpus=workload.primary_vcpus)


def _fewest(workload: Workload, targets: SizingTargets) -> Nodes:
    node_seconds = workload.core_seconds(targets.images_per_core_s) / NODE_VCPUS
    needed = math.ceil(node_seconds / (targets.target_minutes * 60))
    return Nodes.of(min(max(needed, 1), targets.max_nodes))


def minutes(nodes: Nodes, workload: Workload, images_per_core_s: float) -> float:
    """Return the lifetime of a run's cluster in minutes, from its request to its end.

    >>> minutes(Nodes(1, 0), Workload(90_380, 450_000_000), 200)
    11.4
    """
    processing = workload.core_seconds(images_per_core_s) / nodes.vcpus / 60
    return round(START_MINUTES + STEP_OVERHEAD_MINUTES + processing + END_MINUTES, 1)


@dataclass(frozen=True)
class Fleet:
    """Instances of one role, which EMR selects from several types.

    Args:
        role: Role in EMR's API.
        market: On-demand or spot.
        vcpus: Virtual CPUs of all instances.
        types: Types that EMR may select. Their virtual CPUs divide `vcpus`.
    """

    role: Role
    market: Market
    vcpus: int
    types: tuple[InstanceType, ...]


def executors_per_node(kind: InstanceType) -> int:
    """Return the number of executors that YARN starts on an instance with the application master.

    EMR's scheduler considers only memory: AWS's EMR Best Practices Guide, "BP 5.1.5", shows 77 executors of 4 cores on
    48 virtual CPUs. So the executors' memory must match the instance's cores.
    """
    return (kind.yarn_memory_mb - MASTER_MB) // EXECUTOR_MB


def fleets(nodes: Nodes, architecture: Architecture, prices: PriceTable) -> tuple[Fleet, ...]:
    """Return the fleets of a cluster: primary, core, and with task nodes also task.

    All nodes have one architecture, like EMR's default image. A cluster with both needs a custom image for each
    instance type (EMR Management Guide, "Working with Amazon Linux AMIs").

    Raises:
        ClusterError: The table of prices has no suitable instance type.
    """
    roles: tuple[tuple[Role, Market, int], ...] = (
        ("MASTER", "ON_DEMAND", nodes.primary_vcpus),
        ("CORE", "ON_DEMAND", nodes.core_vcpus),
        ("TASK", "SPOT", nodes.task_vcpus),
    )
    return tuple(
        Fleet(role, market, vcpus, _types(role, vcpus, architecture, prices)) for role, market, vcpus in roles if vcpus
    )


def _types(role: Role, vcpus: int, architecture: Architecture, prices: PriceTable) -> tuple[InstanceType, ...]:
    """Return the types whose virtual CPUs divide those of the fleet; for the primary node, the types of equal size.

    On core and task nodes the executors must use all virtual CPUs, as `minutes` assumes.
    """
    primary = role == "MASTER"
    min_vcpus = vcpus if primary else NODE_VCPUS
    suitable = tuple(
        kind
        for kind in prices.types
        if kind.architecture == architecture
        and kind.vcpus >= min_vcpus
        and vcpus % kind.vcpus == 0
        and (primary or executors_per_node(kind) * EXECUTOR_VCPUS == kind.vcpus)
    )
    if not suitable:
        memory = "" if primary else f" whose `yarn_memory_mb` fits one executor per {EXECUTOR_VCPUS} of them"
        fewer = ", or process fewer images (`image_prefix`)" if min_vcpus > NODE_VCPUS else ""
        raise ClusterError(
            f"The table of prices has no {architecture} instance type of {min_vcpus} virtual CPUs{memory} for the "
            f"{role.lower()} fleet. Add one, or choose the other FRUITS_EMR_ARCHITECTURE{fewer}."
        )
    return suitable
