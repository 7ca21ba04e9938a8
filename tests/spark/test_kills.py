"""Kills of the application with all its processes, at seeded moments while it writes; then it starts again."""

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.spark.test_job import fill
from tests.support.buckets import Bucket
from tests.support.waiting import wait_for

SPARK_APPS = Path(__file__).parents[2] / "spark_apps"
DAYS, KILLS_PER_RUN, SEED = 3, 2, 20261129
NEW_IMAGES = 24
"""New images of each day. They also change the order of the rows of earlier days."""


class Day:
    """A run over all images until then, with the feature cache of the earlier days.

    Args:
        photos: Bucket of the images.
        results: Folder of the feature cache and the runs.
        number: Number of the day, from 0.
    """

    def __init__(self, photos: Bucket, results: Path, number: int) -> None:
        self._photos, self._results, self.output = photos, results, results / f"run-{number}"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the application in a process group of its own."""
        places = [f"--bucket={self._photos.name}", f"--inventory={self._photos.inventory()}", f"--output={self.output}"]
        options = [f"--run={self.output.name}", f"--store={self._results / 'cache'}", "--k=3"]
        command = [sys.executable, "-m", "fruits_features", *places, *options, "--max-quarantine-share=0.5"]
        environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
        return subprocess.Popen(command, cwd=SPARK_APPS, env=environment, start_new_session=True)

    def complete(self) -> None:
        """Run until the end."""
        with self.start() as process:
            assert process.wait() == 0

    def kill_at(self, written: int) -> None:
        """Run, and kill all processes as soon as this many more files have been seen."""
        before, seen = self._files(), set[tuple[str, int]]()
        with self.start() as process:

            def has_written() -> bool:
                seen.update(self._files() - before)
                return len(seen) >= written or process.poll() is not None

            try:
                wait_for(has_written, pause_s=0.002)
            finally:
                os.killpg(process.pid, signal.SIGKILL)

    def rows(self, table: str) -> pa.Table:
        """Return the rows of a table in the order of the files."""
        return pq.read_table(self.output / table)

    def _files(self) -> set[tuple[str, int]]:
        """Return path and inode of each file, which differ between two versions of a file.

        Files and folders that the application removes meanwhile are left out.
        """
        found = set()
        for folder, _, names in os.walk(self._results):
            for path in (Path(folder, name) for name in names):
                with suppress(FileNotFoundError):
                    found.add((str(path), path.stat().st_ino))
        return found


def upload(photos: Bucket, day: int) -> None:
    fill(photos, NEW_IMAGES * (day + 1))
    photos.put(f"images/Training/Apple Golden 2/broken-{day}.jpg", b"no image at all")


@pytest.mark.usefixtures("s3_folder")
def test_killed_and_repeated_runs_write_the_same_rows_as_undisturbed_runs(photos: Bucket, tmp_path: Path) -> None:
    moments = random.Random(SEED)  # noqa: S311 - reproducible
    for number in range(DAYS):
        upload(photos, number)
        undisturbed, killed = (Day(photos, tmp_path / kind, number) for kind in ("undisturbed", "killed"))
        undisturbed.complete()
        files = sum(path.is_file() for path in undisturbed.output.rglob("*"))

        for _ in range(KILLS_PER_RUN):
            killed.kill_at(moments.randint(1, files))
        killed.complete()

        rows, expected = killed.rows("features"), undisturbed.rows("features")
        assert rows.num_rows == NEW_IMAGES * (number + 1)
        assert rows.drop_columns("pca") == expected.drop_columns("pca")
        # Another order of additions changes the last digits of the projection.
        projected, expected_projected = (np.stack(table["pca"].to_pylist()) for table in (rows, expected))
        np.testing.assert_allclose(projected, expected_projected, atol=1e-5)
        assert killed.rows("quarantine") == undisturbed.rows("quarantine")
