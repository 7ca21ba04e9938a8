"""How many executors YARN would place on a cluster's nodes, which one machine cannot show.

The local EMR runs a step in one process. This counts what the requested cluster could hold, by its memory alone, as
EMR's YARN does (`DefaultResourceCalculator`; EMR Release Guide, "Task configuration"). The step's log `controller` says
it, and a step whose executor does not fit on any node fails with Spark's own message (Spark 4.1,
`org.apache.spark.deploy.yarn.Client`).
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from include.emr.prices import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

ALLOCATION_MB: Final = 32
"""YARN rounds each container up to a multiple of it (`yarn.scheduler.minimum-allocation-mb` on EMR, the same page)."""
MASTER_MB: Final = 896
"""Of Spark's application master in client mode: `spark.yarn.am.memory`, 512 MB, and the least overhead, 384 MB."""
_UNITS: Final = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}


@dataclass(frozen=True)
class Node:
    """One core or task node.

    Args:
        type: Of EC2.
        vcpus: How many virtual CPUs it has.
        yarn_mb: What YARN has of its memory.
    """

    type: str
    vcpus: int
    yarn_mb: int


@dataclass(frozen=True)
class Executors:
    """What Spark asks of YARN for each executor.

    Args:
        cores: How many tasks run in it at once.
        heap_mb: Memory of its JVM.
        overhead_mb: Memory beside that.
        most: How many are asked for at most; None where there is no limit.
    """

    cores: int
    heap_mb: int
    overhead_mb: int
    most: int | None

    @classmethod
    def of(cls, spark: Mapping[str, str]) -> Executors:
        """Read Spark's settings; what is missing has Spark's own defaults (Spark's "Configuration").

        >>> Executors.of({"spark.executor.memory": "2g", "spark.executor.memoryOverhead": "9216"})
        Executors(cores=1, heap_mb=2048, overhead_mb=9216, most=None)
        """
        heap = megabytes(spark.get("spark.executor.memory", "1g"))
        overhead = spark.get("spark.executor.memoryOverhead")
        most = spark.get("spark.dynamicAllocation.maxExecutors")
        return cls(
            cores=int(spark.get("spark.executor.cores", "1")),
            heap_mb=heap,
            overhead_mb=megabytes(overhead) if overhead else max(384, heap // 10),
            most=int(most) if most else None,
        )

    @property
    def container_mb(self) -> int:
        """What YARN gives to one."""
        return math.ceil((self.heap_mb + self.overhead_mb) / ALLOCATION_MB) * ALLOCATION_MB


@dataclass(frozen=True)
class Placement:
    """Where executors go.

    Args:
        executors: How many on each node, in the order of the nodes.
        busy: Of the nodes' virtual CPUs, the share on which a task can run at a time.
    """

    executors: tuple[int, ...]
    busy: float


def place(executors: Executors, nodes: Sequence[Node]) -> Placement:
    """Fill nodes by memory, the application master on the first one.

    >>> place(Executors(4, 2048, 9216, 2), [Node("m7g.2xlarge", 8, 23_424)])
    Placement(executors=(2,), busy=1.0)
    >>> place(Executors(4, 2048, 9728, 2), [Node("m7g.2xlarge", 8, 23_424)])
    Placement(executors=(1,), busy=0.5)
    """
    left = math.inf if executors.most is None else executors.most
    counts = []
    for number, node in enumerate(nodes):
        free = node.yarn_mb - (0 if number else MASTER_MB)
        counts.append(int(min(free // executors.container_mb, left)))
        left -= counts[-1]
    vcpus = sum(node.vcpus for node in nodes)
    tasks = sum(min(count * executors.cores, node.vcpus) for count, node in zip(counts, nodes, strict=True))
    return Placement(tuple(counts), tasks / vcpus)


def refusal(executors: Executors, nodes: Iterable[Node]) -> str | None:
    """Return what Spark says where no node holds an executor; None where one does."""
    largest = max((node.yarn_mb for node in nodes), default=0)
    if executors.container_mb <= largest:
        return None
    return (
        f"Required executor memory ({executors.heap_mb} MB), offHeap memory (0) MB, overhead ({executors.overhead_mb} "
        f"MB), and PySpark memory (0 MB) is above the max threshold ({largest} MB) of this cluster! Please check the "
        "values of 'yarn.scheduler.maximum-allocation-mb' and/or 'yarn.nodemanager.resource.memory-mb'."
    )


@cache
def known_nodes(table: Path = OURS) -> Mapping[str, Node]:
    """Return the nodes of the types whose memory the table of prices knows (`yarn_memory_mb`), by type.

    Args:
        table: A file like `include/emr/prices.toml`.
    """
    types = tomllib.loads(table.read_text(encoding="utf-8"))["types"]
    return {
        one["name"]: Node(one["name"], one["vcpus"], one["yarn_memory_mb"]) for one in types if "yarn_memory_mb" in one
    }


@dataclass(frozen=True)
class Verdict:
    """What YARN makes of a Spark step.

    Args:
        note: A line for the step's log.
        refusal: What Spark says if no executor can be had; None otherwise.
    """

    note: str
    refusal: str | None


def judge(
    configurations: Iterable[Mapping[str, Any]], types: Sequence[str], table: Mapping[str, Node]
) -> Verdict | None:
    """Return where the executors of a cluster go; None where the memory of a node is not known, or there is no node.

    Args:
        configurations: Of the request.
        types: The type of each core and task node.
        table: Known nodes, by type.
    """
    nodes = [table[one] for one in types if one in table]
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
    found: dict[str, str] = {}
    for one in configurations:
        if one.get("Classification") == "spark-defaults":
            found |= one.get("Properties", {})
    return found


def megabytes(text: str) -> int:
    """Read a size as Spark writes it; without a unit it is in MB.

    >>> [megabytes(text) for text in ("2048m", "2g", "9216", "1048576k")]
    [2048, 2048, 9216, 1024]
    """
    number, unit = re.fullmatch(r"(\d+)([kmgt]?)b?", text.strip().lower()).groups()  # type: ignore[union-attr]
    return int(int(number) * _UNITS[unit or "m"])
