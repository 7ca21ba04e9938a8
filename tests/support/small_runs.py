"""Complete runs of the application in this process, without Spark: a bucket in memory and results in a folder.

A run takes a fraction of a second. The replacement of Spark calls the same functions with the same arguments.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any, ClassVar, Self

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits_features.cache import vacuum
from fruits_features.cache.store import ABOUT
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.layout import RunLayout
from fruits_features.extraction import batches
from fruits_features.extraction.subprocess_pool import InProcess
from fruits_features.job import run
from fruits_features.schemas import INVENTORY, arrow_schema

PARALLEL = 2


def photograph(seed: int, size: int = 24) -> bytes:
    """Return a PNG of a coloured disc on white with some noise."""
    random = np.random.default_rng(seed)
    pixels = np.full((size, size, 3), 255, np.uint8)
    colour = [int(value) for value in random.integers(0, 255, 3)]
    cv2.circle(pixels, (size // 2, size // 2), int(random.integers(4, size // 2)), colour, -1)
    return cv2.imencode(".png", pixels - random.integers(0, 12, pixels.shape, np.uint8))[1].tobytes()


@dataclass(frozen=True)
class Stored:
    """An object and its ETag, which is the MD5 of its bytes or another string."""

    data: bytes
    etag: str

    @classmethod
    def plain(cls, data: bytes) -> "Stored":
        return cls(data, hashlib.md5(data).hexdigest())  # noqa: S324 - S3's ETag


@dataclass
class Images:
    """A bucket in memory for `Fetcher`. Records the requested keys."""

    objects: dict[str, Stored] = field(default_factory=dict)
    requested: list[str] = field(default_factory=list)

    def put(self, key: str, data: bytes, etag: str | None = None) -> None:
        self.objects[key] = Stored(data, etag) if etag else Stored.plain(data)

    def get(self, key: str) -> Any:  # noqa: ANN401 - obstore's result
        self.requested.append(key)
        if key not in self.objects:
            raise FileNotFoundError(key)
        return _GetResult(self.objects[key])

    def inventory(self) -> list[dict[str, object]]:
        """Return the bucket's objects as rows of an inventory."""
        return [_entry(key, stored) for key, stored in sorted(self.objects.items())]


@dataclass(frozen=True)
class _GetResult:
    stored: Stored

    @property
    def meta(self) -> dict[str, str]:
        return {"e_tag": f'"{self.stored.etag}"'}

    def bytes(self) -> bytes:
        return self.stored.data


def _entry(key: str, stored: Stored) -> dict[str, object]:
    folders = key.split("/")[1:-1]
    return {
        "key": key,
        "size": len(stored.data),
        "etag": stored.etag,
        "last_modified": datetime(2026, 1, 1, tzinfo=UTC),
        "split": folders[0] if len(folders) > 1 else None,
        "category": folders[-1] if folders else None,
    }


@dataclass(frozen=True)
class Runs:
    """Runs on one bucket.

    Args:
        folder: Folder of the inventories, the results and the feature cache.
        images: The bucket.
        stages: Job descriptions that Spark's workers received.
    """

    folder: Path
    images: Images
    stages: list[str] = field(default_factory=list)

    @property
    def store(self) -> str:
        return str(self.folder / "described")

    def layout(self, name: str) -> RunLayout:
        return RunLayout(str(self.folder / name))

    def run(
        self,
        name: str,
        entries: Sequence[dict[str, object]] | None = None,
        **changes: Any,  # noqa: ANN401
    ) -> run.Outcome:
        """Run the application on the bucket's objects, or on other inventory rows."""
        return run.run(lambda: _Context(self.stages), self.arguments(name, entries, **changes))  # type: ignore[arg-type, return-value]

    def arguments(
        self,
        name: str,
        entries: Sequence[dict[str, object]] | None = None,
        **changes: Any,  # noqa: ANN401
    ) -> Arguments:
        """Write the inventory of a run, and return its arguments."""
        layout = self.layout(name)
        rows = self.images.inventory() if entries is None else list(entries)
        Path(layout.inventory).mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.Table.from_pylist(rows, schema=arrow_schema(INVENTORY)), f"{layout.inventory}/part-00000.parquet"
        )
        places = {"bucket": "fruits", "inventory": layout.inventory, "output": layout.prefix, "run": name}
        options = {"store": self.store, "features": ("color",), "max_quarantine_share": 1.0, "k": 3}
        return Arguments(**places | options | changes)  # type: ignore[arg-type]

    def sweep(self, before: datetime) -> list[str]:
        """Remove what has been an orphan since before a time, from caches in use, and return the names."""
        paths = [path for path in Path(self.store).rglob("*") if path.is_file()]
        times = {
            path.relative_to(self.store).as_posix(): datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in paths
        }
        times |= {name: before for name in times if name.endswith(f"/{ABOUT}")}
        manifests, rest = vacuum.find_orphans(times, lambda name: Path(self.store, name).read_bytes(), before)
        for name in (*manifests, *rest):
            Path(self.store, name).unlink()
        return [*manifests, *rest]

    def table(self, name: str, table: str = "features") -> pa.Table:
        """Return a table of a run."""
        return pq.read_table(getattr(self.layout(name), table))


class Files:
    """A replacement of `SparkFiles`: files stay where they are."""

    added: ClassVar[dict[str, str]] = {}

    @classmethod
    def get(cls, name: str) -> str:
        return cls.added[name]


@dataclass(frozen=True)
class _Context:
    """The part of SparkContext that the application uses. Tasks run in this process, one after another."""

    stages: list[str]
    defaultParallelism: ClassVar[int] = PARALLEL  # noqa: N815 - Spark's name

    def getConf(self) -> dict[str, str]:  # noqa: N802 - Spark's name
        return {"spark.driver.host": "127.0.0.1"}

    def setJobDescription(self, description: str) -> None:  # noqa: N802 - Spark's name
        self.stages.append(description)

    def addFile(self, path: str) -> None:  # noqa: N802 - Spark's name
        Files.added[Path(path).name] = path

    def parallelize(self, tasks: Sequence[Any], count: int) -> "_Tasks":
        assert len(tasks) == count > 0
        return _Tasks(tasks)


@dataclass(frozen=True)
class _Tasks:
    """The part of RDD that the application uses."""

    results: Sequence[Any]

    def map(self, call: Callable[[Any], Any]) -> "_Tasks":
        return _Tasks([call(task) for task in self.results])

    def treeReduce(self, merge: Callable[[Any, Any], Any]) -> Any:  # noqa: ANN401, N802 - Spark's name
        return reduce(merge, self.results)

    def collect(self) -> list[Any]:
        return list(self.results)


def context() -> Any:  # noqa: ANN401 - a SparkContext
    """Return a replacement of SparkContext that runs tasks in this process."""
    return _Context([])


class Silent:
    """A progress listener that does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def listen(self, *_: object) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def report(self, *_: object) -> None:
        pass

    def begin_reduction(self) -> None:
        pass


def run_in_process(patch: pytest.MonkeyPatch, images: Images) -> None:
    """Make runs read a bucket in memory, start no process and report no progress."""
    patch.setattr(batches, "open_bucket", lambda *_: images)
    patch.setattr(batches, "SubprocessPool", in_process)
    patch.setattr(run, "ProgressListener", Silent)


def in_process(function: Callable[[Any], Any], deadline_s: float, *_: object) -> InProcess[Any, Any]:
    """Return a replacement of `SubprocessPool` that starts no process."""
    return InProcess(function, deadline_s)
