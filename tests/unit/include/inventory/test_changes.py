"""The count of new images: it equals the number that the application extracts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fruits_features.cache.store import MANIFEST, DamagedCacheError, FeatureCache
from fruits_features.contract.arguments import Arguments
from fruits_features.extraction import batches
from fruits_features.extraction.fingerprint import THIS_MACHINE
from fruits_features.schemas import INDEX, INVENTORY, arrow_schema
from include.artifacts.wheelhouse import EMR
from include.inventory import changes
from include.inventory.changes import Changes, NewImages
from tests.support.small_runs import Images, Runs, photograph


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A bucket of twelve images and two objects that are none, which one run has processed."""
    images = Images()
    monkeypatch.setattr(batches, "open_bucket", lambda *_: images)
    for number in range(12):
        images.put(f"images/Training/{'AB'[number % 2]}/{number}.png", photograph(number))
    images.put("images/Training/A/text.png", b"no image")
    images.put("images/stray.png", photograph(50))
    runs = Runs(tmp_path, images)
    runs.run("monday")
    return runs


def found(runs: Runs, name: str, **options: Any) -> Changes:  # noqa: ANN401
    """Count the changes of a run that has ended, before it wrote to the cache or after."""
    layout = runs.layout(name)
    places = {"bucket": "fruits", "inventory": layout.inventory, "output": layout.prefix, "run": name}
    arguments = Arguments(**places | {"store": runs.store, "features": ("color",), "k": 3} | options)
    return changes.find(arguments, machine=None, model_sha256=None)


def test_count_is_what_the_application_extracts(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.images.put("images/Training/A/new.png", photograph(100))  # added
    runs.images.put("images/Training/B/1.png", photograph(101))  # replaced
    moved = runs.images.objects.pop("images/Training/A/2.png")
    runs.images.put("images/Training/B/moved.png", moved.data)  # renamed
    del runs.images.objects["images/Training/A/4.png"]  # removed
    new = [len(runs.images.objects[f"images/{key}"].data) for key in ("Training/A/new.png", "Training/B/1.png")]
    stray = len(runs.images.objects["images/stray.png"].data)  # has no category, so it is never in the cache
    counted: list[Changes] = []
    load = FeatureCache.load

    def count_and_load(cache: FeatureCache, ignored: Any) -> Any:  # noqa: ANN401
        counted.append(found(runs, "tuesday"))
        return load(cache, ignored)

    monkeypatch.setattr(FeatureCache, "load", count_and_load)
    outcome = runs.run("tuesday")

    assert outcome.inventoried - outcome.reused == 3
    assert counted == [Changes(NewImages(3, sum(new) + stray), NewImages(3, sum(new) + stray))]
    assert found(runs, "tuesday").cluster == NewImages(1, stray)


def test_known_image_without_a_category_counts_as_new(runs: Runs) -> None:
    """The application rejects it for that reason, whatever is in the cache."""
    runs.images.put("images/known.png", photograph(3))
    outcome = runs.run("tuesday")

    assert outcome.inventoried - outcome.reused == 2
    assert found(runs, "tuesday").cluster.images == 2


@pytest.mark.parametrize("options", [{"max_image_bytes": 1000}, {"features": ("color", "contrast")}])
def test_cache_of_another_configuration_contains_nothing(runs: Runs, options: dict[str, Any]) -> None:
    assert found(runs, "monday", **options).cluster.images == 14


def test_deleted_cache_contains_nothing(runs: Runs) -> None:
    for path in Path(runs.store).rglob("*.*"):
        path.unlink()

    assert found(runs, "monday").cluster.images == 14


def test_segment_without_a_file_counts_as_new_and_a_damaged_index_raises(runs: Runs) -> None:
    index, _ = sorted(Path(runs.store).rglob("index-*.parquet"))
    content = index.read_bytes()
    index.unlink()
    assert found(runs, "monday").cluster.images == 14

    index.write_bytes(content[:-9] + b"?" + content[-8:])
    with pytest.raises(DamagedCacheError):
        found(runs, "monday")


def test_counting_writes_nothing(runs: Runs) -> None:
    (manifest,) = Path(runs.store).rglob(MANIFEST)
    before = {path: path.stat().st_mtime_ns for path in Path(runs.store).rglob("*")}
    found(runs, "monday")
    manifest.write_bytes(b"damaged")
    found(runs, "monday")

    assert {path: path.stat().st_mtime_ns for path in Path(runs.store).rglob("*") if path != manifest} == {
        path: time for path, time in before.items() if path != manifest
    }


def test_cluster_of_another_machine_type_has_a_cache_of_its_own(runs: Runs) -> None:
    layout = runs.layout("monday")
    places = {"bucket": "fruits", "inventory": layout.inventory, "output": layout.prefix, "run": "monday"}
    arguments = Arguments(**places, store=runs.store, features=("color",))
    (other,) = (target.machine for target in EMR if target.machine != THIS_MACHINE.machine)

    counted = changes.find(arguments, machine=other, model_sha256=None)

    assert (counted.cluster.images, counted.worker.images) == (14, 1)


@pytest.mark.parametrize("onnx", [True, False])
def test_clusters_have_the_locked_versions(*, onnx: bool) -> None:
    environment = changes.of_clusters("aarch64", onnx=onnx)

    assert environment.machine == "aarch64"
    assert environment.version("numpy") == THIS_MACHINE.version("numpy")
    assert environment.version("pillow-heif")
    assert bool(environment.version("onnxruntime")) == onnx
    assert environment.version("opencv-python") is None


def test_images_are_counted_over_several_parts() -> None:
    def index(keys: list[str]) -> pa.Table:
        rows = [{"key": key, "etag": "e" + key, "size": 5, "by_content": False} for key in keys]
        return pa.Table.from_pylist(rows, schema=arrow_schema(INDEX))

    def inventory(keys: list[str]) -> pa.Table:
        rows = [{"key": key, "etag": "e" + key, "size": 5, "category": "A"} for key in keys]
        names = ("key", "etag", "size", "category")
        return pa.Table.from_pylist(rows, schema=arrow_schema([one for one in INVENTORY if one.name in names]))

    parts = [inventory(["a", "b"]), inventory([]), inventory(["c", "d", "e"])]

    assert changes.count(parts, [index(["c"]), index([]), index(["a", "x"])]) == NewImages(3, 15)
    assert changes.count(parts, []) == NewImages(5, 25)
    assert changes.count([], [index(["c"])]) == NewImages(0, 0)


def test_command_prints_the_changes_as_json(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    layout = runs.layout("monday")
    places = {"bucket": "fruits", "inventory": layout.inventory, "output": layout.prefix, "run": "monday"}
    arguments = Arguments(**places, store=runs.store, features=("color",))

    assert changes.main(["--", *arguments.to_argv()]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert printed["worker"]["images"] == 1
    assert printed["cluster"] == printed["worker"]


def test_damaged_inventory_ends_the_command_with_the_reason(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    layout = runs.layout("monday")
    (part,) = Path(layout.inventory).glob("*.parquet")
    part.write_bytes(b"no Parquet")
    places = {"bucket": "fruits", "inventory": layout.inventory, "output": layout.prefix, "run": "monday"}

    code = changes.main(["--", *Arguments(**places, store=runs.store, features=("color",)).to_argv()])

    assert code == 1
    assert "not a parquet file" in capsys.readouterr().err.splitlines()[-1]
