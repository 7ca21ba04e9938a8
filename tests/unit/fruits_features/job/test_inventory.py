"""Sorting and partitioning of the inventory."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits_features.contract.workload import IMAGES_PER_PARTITION, image_overhead_bytes
from fruits_features.job.inventory import Inventory, InventoryError, fits_on_driver, partition
from fruits_features.schemas import INVENTORY, arrow_schema


def write(folder: Path, *files: list[tuple[str, str | None]]) -> str:
    """Write an inventory with one file per list of (key, category)."""
    folder.mkdir()
    for number, entries in enumerate(files):
        rows = [
            {"key": key, "size": 1, "etag": "", "last_modified": 0, "split": None, "category": category}
            for key, category in entries
        ]
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(INVENTORY)), folder / f"part-{number}.parquet")
    return str(folder)


def sized(*sizes: int) -> pa.Table:
    return pa.table({"size": pa.array(sizes, pa.int64())})


def test_inventory_is_sorted_by_category_and_key_with_null_categories_last(tmp_path: Path) -> None:
    entries = [("Test/é/1", "é"), ("Test/a/1", "a"), ("Training/a/2", "a"), ("x", None), ("Training/B/1", "B")]
    folder = write(tmp_path / "inventory", entries[:2], entries[2:])

    keys = Inventory.of(folder).read()["key"].to_pylist()

    assert keys == ["Training/B/1", "Test/a/1", "Training/a/2", "Test/é/1", "x"]


def test_inventory_with_duplicate_key_raises(tmp_path: Path) -> None:
    folder = write(tmp_path / "inventory", [("a/1", "a"), ("b/1", "b")], [("a/1", "a")])

    with pytest.raises(InventoryError, match="lists 'a/1' twice"):
        Inventory.of(folder).read()


def test_inventory_without_objects_raises(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="lists no object"):
        Inventory.of(write(tmp_path / "inventory", [])).read()


def test_small_inventory_has_one_partition_per_core() -> None:
    assert [rows.num_rows for rows in partition(sized(*[5000] * 10), cores=3)] == [3, 3, 4]


def test_inventory_of_fewer_images_than_cores_has_one_partition_per_image() -> None:
    assert [rows.num_rows for rows in partition(sized(1, 1), cores=8)] == [1, 1]


def test_large_inventory_has_a_multiple_of_the_cores_as_partitions() -> None:
    images = 5 * IMAGES_PER_PARTITION

    partitions = [rows.num_rows for rows in partition(sized(*[5000] * images), cores=2)]

    assert len(partitions) == 6
    assert sum(partitions) == images
    assert max(partitions) - min(partitions) <= 2


def test_partitions_with_large_objects_have_fewer_rows() -> None:
    partitions = [rows.num_rows for rows in partition(sized(*[4_000_000] * 10, *[5000] * 100), cores=2)]

    assert partitions[0] < 10 < partitions[1]
    assert sum(partitions) == 110


def test_network_makes_sizes_matter_less_to_partitions() -> None:
    rows = sized(*[400_000] * 100, *[5000] * 100)

    without, with_network = (
        [part.num_rows for part in partition(rows, 2, image_overhead_bytes(families))]
        for families in (["orb"], ["onnx"])
    )

    assert without == [55, 145]
    assert with_network == [77, 123]


@pytest.mark.parametrize(("families", "images"), [(("orb", "color"), 888), (("orb", "onnx"), 84)])
def test_driver_processes_fewer_images_with_a_network(families: tuple[str, ...], images: int) -> None:
    overhead_bytes = image_overhead_bytes(families)

    assert fits_on_driver(sized(*[5000] * images), overhead_bytes)
    assert not fits_on_driver(sized(*[5000] * (images + 1)), overhead_bytes)
