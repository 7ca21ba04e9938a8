"""The number of executors that YARN would place on a cluster's nodes.

The local EMR runs a step in one process, without nodes. This module computes the executors of the requested cluster
from its memory only, like EMR's YARN (`DefaultResourceCalculator`; EMR Release Guide, "Task configuration"). The step's
log `controller` contains the result. If an executor fits on no node, the step fails with Spark's message (Spark 4.1,
`org.apache.spark.deploy.yarn.Client`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from include.emr.prices import price_table
from include.emr.sizing import MASTER_MB

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

ALLOCATION_MB: Final = 32
"""YARN rounds each container up to a multiple of this size (`yarn.scheduler.minimum-allocation-mb`, the same page)."""
MIN_OVERHEAD_MB: Final = 384
"""Spark's minimum overhead of an executor (Spark's "Configuration", `spark.executor.memoryOverhead`)."""
_UNITS: Final = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}


@dataclass(frozen=True)
class Node:
    """One core or task node.

    Args:
        type: Instance type.
        vcpus: Number of virtual CPUs.
        yarn_mb: Memory of YARN's containers, in MB.
    """

    type: str
    vcpus: int
    yarn_mb: int


@dataclass(frozen=True)
class Executors:
    """Spark's request to YARN for executors.

    Args:
        cores: Concurrent tasks per executor.
        heap_mb: JVM heap of an executor, in MB.
        overhead_mb: Memory of an executor outside the heap, in MB.
        max_count: Maximum number of executors; None for no limit.
    """

    cores: int
    heap_mb: int
    overhead_mb: int
    max_count: int | None

    @classmethod
    def of(cls, spark: Mapping[str, str]) -> Executors:
        """Return the request from Spark's settings and its defaults (Spark's "Configuration").

        >>> Executors.of({"spark.executor.memory": "2g", "spark.executor.memoryOverhead": "9216"})
        Executors(cores=1, heap_mb=2048, overhead_mb=9216, max_count=None)
        """
        heap = megabytes(spark.get("spark.executor.memory", "1g"))
        overhead = spark.get("spark.executor.memoryOverhead")
        max_count = spark.get("spark.dynamicAllocation.maxExecutors")
        return cls(
            cores=int(spark.get("spark.executor.cores", "1")),
            heap_mb=heap,
            overhead_mb=megabytes(overhead) if overhead else max(MIN_OVERHEAD_MB, heap // 10),
            max_count=int(max_count) if max_count else None,
        )

    @property
    def container_mb(self) -> int:
        """Memory of an executor's container, in MB."""
        return math.ceil((self.heap_mb + self.overhead_mb) / ALLOCATION_MB) * ALLOCATION_MB


@dataclass(frozen=True)
class Placement:
    """Placement of executors on nodes.

    Args:
        executors: Number of executors on each node, in the order of the nodes.
        busy: Share of the nodes' virtual CPUs that can run a task at the same time.
    """

    executors: tuple[int, ...]
    busy: float


def place(executors: Executors, nodes: Sequence[Node]) -> Placement:
    """Fill the nodes by memory, with the application master on the first one.

    >>> place(Executors(4, 2048, 9216, 2), [Node("m7g.2xlarge", 8, 23_424)])
    Placement(executors=(2,), busy=1.0)
    >>> place(Executors(4, 2048, 9728, 2), [Node("m7g.2xlarge", 8, 23_424)])
    Placement(executors=(1,), busy=0.5)
    """
    remaining = math.inf if executors.max_count is None else executors.max_count
    counts = []
    for number, node in enumerate(nodes):
        free_mb = node.yarn_mb - (0 if number else MASTER_MB)
        counts.append(int(min(free_mb // executors.container_mb, remaining)))
        remaining -= counts[-1]
    vcpus = sum(node.vcpus for node in nodes)
    tasks = sum(min(count * executors.cores, node.vcpus) for count, node in zip(counts, nodes, strict=True))
    return Placement(tuple(counts), tasks / vcpus)


def refusal(executors: Executors, nodes: Iterable[Node]) -> str | None:
    """Return Spark's error message if no node can hold an executor; None otherwise."""
    largest = max((node.yarn_mb for node in nodes), default=0)
    if executors.container_mb <= largest:
        return None
    return (
        f"Required executor memory ({executors.heap_mb} MB), offHeap memory (0) MB, overhead ({executors.overhead_mb} "
        f"MB), and PySpark memory (0 MB) is above the max threshold ({largest} MB) of this cluster! Please check the "
        "values of 'yarn.scheduler.maximum-allocation-mb' and/or 'yarn.nodemanager.resource.memory-mb'."
    )


def known_nodes(table: Path | None = None) -> Mapping[str, Node]:
    """Return the nodes of the table of prices, by instance type.

    Args:
        table: File like `include/emr/prices.toml`, which is the default.
    """
    return {kind.name: Node(kind.name, kind.vcpus, kind.yarn_memory_mb) for kind in price_table(table).types}


@dataclass(frozen=True)
class Verdict:
    """YARN's decision on a Spark step.

    Args:
        note: Line for the step's log.
        refusal: Spark's error message if no executor fits on a node; None otherwise.
    """

    note: str
    refusal: str | None


def judge(
    configurations: Iterable[Mapping[str, Any]], types: Sequence[str], table: Mapping[str, Node]
) -> Verdict | None:
    """Return YARN's decision on a cluster's executors; None without nodes or with a node of unknown memory.

    Args:
        configurations: Configurations of the RunJobFlow request.
        types: Instance type of each core and task node.
        table: Known nodes, by instance type.
    """
    nodes = [table[name] for name in types if name in table]
    if not nodes or len(nodes) < len(types):
        return None
    executors = Executors.of(spark_defaults(configurations))
    return Verdict(describe(place(executors, nodes), executors), refusal(executors, nodes))


def describe(placement: Placement, executors: Executors) -> str:
    """Return a line for the step's log.

    >>> describe(Placement((2, 1), 0.75), Executors(4, 2048, 9216, 3))
    'YARN places 3 executors of 4 cores and 11264 MB on 2 nodes: 75 % of their virtual CPUs are used'
    """
    return (
        f"YARN places {sum(placement.executors)} executors of {executors.cores} cores and {executors.container_mb} MB "
        f"on {len(placement.executors)} nodes: {placement.busy:.0%} of their virtual CPUs are used".replace("%", " %")
    )


def spark_defaults(configurations: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the properties of a request's classification `spark-defaults`."""
    properties: dict[str, str] = {}
    for configuration in configurations:
        if configuration.get("Classification") == "spark-defaults":
            properties |= configuration.get("Properties", {})
    return properties


def megabytes(text: str) -> int:
    """Return a size in Spark's notation in MB. A size without a unit is in MB.

    >>> [megabytes(text) for text in ("2048m", "2g", "9216", "1048576k")]
    [2048, 2048, 9216, 1024]
    """
    number, unit = re.fullmatch(r"(\d+)([kmgt]?)b?", text.strip().lower()).groups()  # type: ignore[union-attr]
    return int(int(number) * _UNITS[unit or "m"])
