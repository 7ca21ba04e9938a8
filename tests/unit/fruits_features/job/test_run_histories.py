"""Random histories of a bucket and its runs: each run publishes the same rows as a run without cache.

Images and folders are added, replaced, removed and renamed. Runs succeed, are killed at any write, and are retried. The
cache is compacted and vacuumed. Large runs have several shards. All runs are complete runs in this process, without
Spark.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fruits_features.cache import compaction
from fruits_features.io import object_store
from fruits_features.job import shards
from fruits_features.job.outcome import Outcome
from fruits_features.projection import Projection
from tests.support.small_runs import Images, Runs, photograph, run_in_process

SPLITS, CATEGORIES, NAMES = ("Training", "Test"), ("Apple", "Lime", "Plum"), ("a", "b", "c", "d")
WRITES = ("write_bytes", "writing", "remove_folder")

places = st.builds("images/{}/{}/{}.png".format, *map(st.sampled_from, (SPLITS, CATEGORIES, NAMES)))
contents = st.one_of(
    st.integers(0, 30).map(photograph),  # sometimes the same image under two keys
    st.just(b"no image at all"),
    st.integers(0, 30).map(lambda seed: photograph(seed)[:60]),
)
etags = st.sampled_from([None, None, None, "opaque"])


class Killed(BaseException):
    """The run's process was killed."""


@contextmanager
def killed_at(nth: int) -> Iterator[None]:
    """Kill a run before its nth write: this and all later writes and removals raise."""
    count = 0

    def killable(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            nonlocal count
            count += 1
            if count >= nth:
                raise Killed
            return call(*arguments, **options)

        return called

    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(object_store, name, killable(getattr(object_store, name)))
        yield


class Histories(RuleBasedStateMachine):
    """A bucket, its runs, and the published projection."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.images = Images()
        self.runs = Runs(Path(self.folder.name), self.images)
        self.patch = pytest.MonkeyPatch()
        run_in_process(self.patch, self.images)
        self.patch.setattr(compaction, "MAX_SEGMENTS", 2)
        self.published: str | None = None
        self.days, self.versions = 0, 0

    def teardown(self) -> None:
        self.patch.undo()
        self.folder.cleanup()

    @initialize(shard_bytes=st.sampled_from([1_000, shards.SHARD_BYTES]))
    def fill(self, shard_bytes: int) -> None:
        """Start with images that never change, so that there is always something to fit, and with others."""
        self.shard_bytes = shard_bytes
        for number in range(5):
            self.images.put(f"images/Training/Kiwi/fixed{number}.png", photograph(40 + number))
        for number, category in enumerate(CATEGORIES):
            self.images.put(f"images/Training/{category}/a.png", photograph(50 + number))

    @rule(key=places, data=contents, etag=etags)
    def put(self, key: str, data: bytes, etag: str | None) -> None:
        """Add or replace an image. An ETag that is not an MD5 is different for each upload."""
        self.versions += 1
        self.images.put(key, data, etag and f"{self.versions:032x}")

    def free(self) -> list[str]:
        return sorted(key for key in self.images.objects if "/Kiwi/" not in key)

    @precondition(free)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        del self.images.objects[data.draw(st.sampled_from(self.free()))]

    @precondition(free)
    @rule(data=st.data(), key=places)
    def rename(self, data: st.DataObject, key: str) -> None:
        """Rename an image as in S3, by a copy and a removal. The ETag of a plain upload stays."""
        moved = self.images.objects.pop(data.draw(st.sampled_from(self.free())))
        self.images.put(key, moved.data)

    @rule(old=st.sampled_from(CATEGORIES), new=st.sampled_from((*CATEGORIES, "Yuzu")))
    def rename_folder(self, old: str, new: str) -> None:
        for key in [key for key in self.images.objects if f"/{old}/" in key]:
            self.images.objects[key.replace(f"/{old}/", f"/{new}/")] = self.images.objects.pop(key)

    @rule(refit=st.sampled_from(["always", "never", "auto"]))
    def run(self, refit: str) -> None:
        """Run, publish, and compare with a run without cache."""
        self.days += 1
        self.check(f"run {self.days}", refit)

    @rule(nth=st.integers(1, 14), refit=st.sampled_from(["always", "never", "auto"]), retry=st.booleans())
    def run_that_is_killed(self, nth: int, refit: str, *, retry: bool) -> None:
        """Kill a run at one of its writes, and possibly retry it."""
        self.days += 1
        try:
            with killed_at(nth):
                self.start(f"run {self.days}", refit)
        except Killed:
            pass
        if retry:
            self.check(f"run {self.days}", refit)

    @rule()
    def sweep(self) -> None:
        """Remove orphans, as if some days had passed."""
        self.runs.sweep(datetime.now(UTC) + timedelta(days=1))

    def start(self, name: str, refit: str) -> Outcome:
        """Run with one shard, or with several. Runs from scratch have one."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shards, "SHARD_BYTES", self.shard_bytes)
            patch.setattr(shards, "SAMPLED_ROWS", 1)
            return self.runs.run(name, refit=refit, published=self.published, k=2)

    def check(self, name: str, refit: str) -> None:
        outcome = self.start(name, refit)
        self.runs.run("from scratch", store=None, k=2)
        table, scratch = self.runs.table(name), self.runs.table("from scratch")
        assert table.drop(["pca"]) == scratch.drop(["pca"])
        assert self.runs.table(name, "quarantine") == self.runs.table("from scratch", "quarantine")
        used = Projection.from_bytes(Path(self.runs.layout(name).portable_projection).read_bytes())
        stored = np.array(table["pca"].to_pylist(), np.float32)
        np.testing.assert_array_equal(stored, used.project(np.array(table["features"].to_pylist(), np.float32)))
        if outcome.kept_from:
            assert self.published == outcome.kept_from
            assert used.version == Projection.from_bytes(Path(self.published).read_bytes()).version
        else:
            expected = np.array(scratch["pca"].to_pylist())
            np.testing.assert_allclose(stored, expected, atol=1e-4)
        self.published = self.runs.layout(name).portable_projection


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
