"""Nodes, fleets and minutes of clusters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fruits_features.contract.workload import image_overhead_bytes
from include.emr.prices import price_table
from include.emr.sizing import (
    EXECUTOR_MB,
    SIZES,
    ClusterError,
    Nodes,
    SizingTargets,
    Workload,
    choose,
    fits_on_worker,
    fleets,
    minutes,
)

PACE = SizingTargets(images_per_core_s=200, target_minutes=15, max_nodes=32)
FRUITS_360 = Workload(images=90_380, size_bytes=480_000_000)


@pytest.mark.parametrize(
    ("work", "nodes"),
    [
        (FRUITS_360, 1),
        (Workload(images=1, size_bytes=5_000), 1),
        (Workload(images=0, size_bytes=0), 1),
        (Workload(images=10_000_000, size_bytes=50_000_000_000), 7),
        (Workload(images=100_000, size_bytes=500_000_000, cached=9_900_000), 1),  # a day with 1 % new
        (Workload(images=1_000_000, size_bytes=1_000_000_000_000), 17),  # images of 1 MB, whose bytes count
        (Workload(images=1_000_000_000, size_bytes=5_000_000_000_000), 32),  # no more than the limit
    ],
)
def test_auto_takes_the_fewest_nodes_that_process_the_images_in_time(work: Workload, nodes: int) -> None:
    chosen = choose("auto", work, PACE)

    assert chosen.core + chosen.task == nodes
    fewer = work.core_seconds(200) / (8 * 60 * max(nodes - 1, 1))
    assert nodes == 1 or fewer > PACE.target_minutes


def test_auto_with_half_the_time_takes_about_twice_the_nodes() -> None:
    work = Workload(images=10_000_000, size_bytes=50_000_000_000)

    assert choose("auto", work, replace(PACE, target_minutes=7.5)) == Nodes.of(14)


def test_network_takes_ten_times_the_nodes() -> None:
    work = Workload(images=1_000_000, size_bytes=5_000_000_000)
    embedded = replace(work, image_overhead_bytes=image_overhead_bytes(["orb", "onnx"]))

    assert embedded.core_seconds(200) / work.core_seconds(200) == pytest.approx(10.6, abs=0.1)
    assert [choose("auto", each, PACE) for each in (work, embedded)] == [Nodes.of(1), Nodes.of(8)]


def test_worker_takes_a_rerun_of_up_to_five_minutes() -> None:
    reruns = [Workload(0, 0, cached=cached) for cached in (480_000, 480_001)]

    assert [fits_on_worker(rerun, images_per_core_s=200, below=1000) for rerun in reruns] == [True, False]


def test_size_by_name_does_not_depend_on_the_work() -> None:
    assert [choose(size, FRUITS_360, PACE).vcpus for size in SIZES] == [8, 32, 128]


@pytest.mark.parametrize("count", range(1, 201))
def test_a_quarter_of_the_nodes_cannot_be_taken_away(count: int) -> None:
    nodes = Nodes.of(count)

    assert nodes.core + nodes.task == count
    assert nodes.core >= max(1, count / 4)


def test_more_nodes_make_a_run_shorter_but_not_its_start() -> None:
    one, sixteen = (minutes(nodes, FRUITS_360, 200) for nodes in (Nodes.of(1), Nodes.of(16)))

    assert one > sixteen > 10


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
@pytest.mark.parametrize("count", [1, 2, 7, 32])
def test_fleets_make_exactly_their_nodes_of_any_of_several_types(architecture: str, count: int) -> None:
    nodes = Nodes.of(count)
    made = fleets(nodes, architecture, price_table())

    assert [(one.role, one.market) for one in made] == [
        ("MASTER", "ON_DEMAND"),
        ("CORE", "ON_DEMAND"),
        ("TASK", "SPOT"),
    ][: 3 if nodes.task else 2]
    assert sum(one.vcpus for one in made[1:]) == nodes.vcpus
    for fleet in made:
        assert len({one.name.partition(".")[0] for one in fleet.types}) > 1, "one family, one pool of capacity"
        assert {one.architecture for one in fleet.types} == {architecture}
        assert all(fleet.vcpus % one.vcpus == 0 for one in fleet.types)


def test_table_without_types_for_the_architecture_is_rejected_with_the_options() -> None:
    prices = replace(price_table(), types=tuple(one for one in price_table().types if one.architecture == "arm64"))

    with pytest.raises(ClusterError, match=r"no x86_64 instance type of 4 virtual CPUs .* FRUITS_EMR_ARCHITECTURE"):
        fleets(Nodes.of(1), "x86_64", prices)


@pytest.mark.parametrize("yarn_memory_mb", [12_288, 2 * EXECUTOR_MB, 54_272])
def test_type_whose_memory_does_not_fit_its_virtual_cpus_is_no_core_node(yarn_memory_mb: int) -> None:
    """The application master needs memory beside the executors."""
    half_or_twice = tuple(replace(one, yarn_memory_mb=yarn_memory_mb) for one in price_table().types if one.vcpus < 16)

    with pytest.raises(
        ClusterError, match=r"8 virtual CPUs whose `yarn_memory_mb` fits one executor per 4 of them"
    ) as error:
        fleets(Nodes.of(1), "arm64", replace(price_table(), types=half_or_twice))
    assert "fewer images" not in str(error.value)


@pytest.mark.parametrize("size", ["auto", "small"])
@pytest.mark.parametrize("cached", [0, 999_000_000])
def test_primary_node_grows_with_the_number_of_images(size: str, cached: int) -> None:
    nodes = choose(size, Workload(1_000_000_000 - cached, size_bytes=5_000_000_000_000, cached=cached), PACE)

    primary = fleets(nodes, "arm64", price_table())[0]

    assert (primary.role, {one.vcpus for one in primary.types}) == ("MASTER", {8})


def test_more_images_than_any_primary_node_can_hold_are_rejected() -> None:
    nodes = choose("auto", Workload(images=10_000_000_000, size_bytes=1), PACE)

    with pytest.raises(ClusterError, match=r"no arm64 instance type of 32 virtual CPUs .* process fewer images"):
        fleets(nodes, "arm64", price_table())
