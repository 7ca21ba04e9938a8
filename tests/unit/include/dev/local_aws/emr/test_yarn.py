"""The local EMR's placement of executors by memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.dev.local_aws.emr.yarn import Executors, Node, judge, known_nodes, place, refusal, spark_defaults

if TYPE_CHECKING:
    from pathlib import Path

MEDIUM = Node("m7g.2xlarge", 8, 23_424)
LARGE = Node("m7g.4xlarge", 16, 54_272)
FITTING = Executors(cores=4, heap_mb=2048, overhead_mb=9216, max_count=None)
TOO_LARGE = Executors(cores=4, heap_mb=2048, overhead_mb=9728, max_count=None)


@pytest.mark.parametrize(
    ("executors", "nodes", "counts", "busy"),
    [
        (FITTING, [MEDIUM], (2,), 1.0),
        (TOO_LARGE, [MEDIUM], (1,), 0.5),  # the master leaves 22,528 MB, a second executor needs 23,552 MB
        (TOO_LARGE, [MEDIUM, MEDIUM], (1, 1), 0.5),
        (FITTING, [LARGE], (4,), 1.0),
        (Executors(4, 2048, 9216, max_count=3), [MEDIUM, MEDIUM], (2, 1), 0.75),
        (
            Executors(1, 1024, 384, max_count=None),
            [MEDIUM],
            (16,),
            1.0,
        ),  # more executors than cores
    ],
)
def test_executors_fill_the_memory_of_each_node(
    executors: Executors, nodes: list[Node], counts: tuple[int, ...], busy: float
) -> None:
    placement = place(executors, nodes)

    assert placement.executors == counts
    assert placement.busy == pytest.approx(busy)


def test_executor_that_fits_on_no_node_is_rejected_with_sparks_message() -> None:
    assert refusal(FITTING, [MEDIUM]) is None
    assert refusal(Executors(4, 2048, 22_000, max_count=None), [MEDIUM]) == (
        "Required executor memory (2048 MB), offHeap memory (0) MB, overhead (22000 MB), and PySpark memory (0 MB) is "
        "above the max threshold (23424 MB) of this cluster! Please check the values of "
        "'yarn.scheduler.maximum-allocation-mb' and/or 'yarn.nodemanager.resource.memory-mb'."
    )


def test_settings_of_spark_are_those_of_the_request() -> None:
    configurations = [
        {"Classification": "spark-env", "Properties": {}},
        {
            "Classification": "spark-defaults",
            "Properties": {"spark.executor.cores": "4", "spark.executor.memory": "2g"},
        },
    ]

    assert Executors.of(spark_defaults(configurations)) == Executors(4, 2048, 384, None)
    assert Executors.of({"spark.executor.memory": "10g"}).overhead_mb == 1024


def _configurations(overhead: str) -> list[dict[str, object]]:
    spark = {"spark.executor.cores": "4", "spark.executor.memory": "2g", "spark.executor.memoryOverhead": overhead}
    return [{"Classification": "spark-defaults", "Properties": spark}]


def test_decision_has_the_share_of_used_cores_and_the_refusal() -> None:
    table = {MEDIUM.type: MEDIUM}

    fitting = judge(_configurations("9216m"), ["m7g.2xlarge"], table)
    half = judge(_configurations("9728m"), ["m7g.2xlarge", "m7g.2xlarge"], table)
    none = judge(_configurations("30g"), ["m7g.2xlarge"], table)

    assert fitting is not None
    assert fitting.note.endswith("100 % of their virtual CPUs are used")
    assert fitting.refusal is None
    assert half is not None
    assert half.note.endswith("on 2 nodes: 50 % of their virtual CPUs are used")
    assert none is not None
    assert none.refusal is not None
    assert "above the max threshold (23424 MB)" in none.refusal


@pytest.mark.parametrize("types", [[], ["m5.xlarge"], ["m7g.2xlarge", "m5.xlarge"]])
def test_nodes_of_unknown_memory_have_no_decision(types: list[str]) -> None:
    assert judge(_configurations("9216m"), types, {MEDIUM.type: MEDIUM}) is None


def test_memory_of_nodes_is_that_of_the_table_of_prices(tmp_path: Path) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(
        'region = "eu-west-1"\ndate = 2026-01-31\nsource = "none"\nspot_share = 0.5\n[[types]]\nname = "m7g.2xlarge"\n'
        'architecture = "arm64"\nvcpus = 8\nyarn_memory_mb = 23424\nec2 = 0.4\nemr = 0.1\n'
    )

    assert known_nodes(table) == {"m7g.2xlarge": MEDIUM}
    assert known_nodes()["m7g.2xlarge"] == MEDIUM
