"""A small run, written by the application's functions without Spark, that tests break and validate."""

from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from hashlib import md5
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from fruits_features import schemas
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.layout import DatasetLayout
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures
from fruits_features.output.features_writer import file_metadata, write_parquet
from fruits_features.pca.fit import Moments, fit
from include.inventory import writer
from include.run_files import RunFiles
from include.validation import cluster_figures, projection_checks
from include.validation.audit import Audit, ValidationReport
from include.validation.measure import Subject
from tests.support.recognisers import fitted_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fruits_features.projection import Projection
    from fruits_features.recogniser.model import Recogniser
    from include.validation.audit import Published

FAMILIES = ("orb", "color")
COMPONENTS = 3
BROKEN = "images/Test/Lime/text.jpg"

Row = dict[str, Any]


def draw(seed: int) -> bytes:
    """Draw a coloured disc on white."""
    random = np.random.default_rng(seed)
    pixels = np.full((40, 40, 3), 255, np.uint8)
    colour = [int(value) for value in random.integers(0, 255, 3)]
    cv2.circle(pixels, (20, 20), int(random.integers(8, 20)), colour, -1)
    return cv2.imencode(".png", pixels - random.integers(0, 12, pixels.shape, np.uint8))[1].tobytes()


class Run:
    """A run on disk: 24 images of two categories and splits in two files, and one object in quarantine.

    Attributes:
        on_cluster: Whether a cluster measures the rows, and the validation judges its figures.
    """

    def __init__(self, folder: Path, suffix: str = ".png") -> None:
        self.folder = folder
        self.on_cluster = False
        self.layout = DatasetLayout("fruits").run("r")
        self.images = {f"images/{split}/{name}/{n}{suffix}": draw(n) for n, split, name in _places()}
        places = {"bucket": "fruits", "inventory": self.layout.inventory, "output": self.layout.prefix, "run": "r"}
        self.arguments = Arguments(features=FAMILIES, k=COMPONENTS, max_quarantine_share=0.1, **places)
        self.requested = self.arguments
        self.rows = [self._extract(key, data) for key, data in self.images.items()]
        self.recogniser: Recogniser | None
        self.fit_all("Training")
        text = {"stage": "decode", "reason": "not_an_image", "detail": "It begins with b'no i'."}
        self.rejected: list[Row] = [{"path": f"s3://fruits/{BROKEN}", "size": 8, **text}]
        self.write()

    def copy(self, folder: Path) -> Run:
        """Write the same run to another folder."""
        other = deepcopy(self)
        other.folder = folder
        other.write()
        return other

    def path(self, uri: str) -> Path:
        """Return the path of a URI of the run."""
        return self.folder / uri.removeprefix("s3://")

    def parts(self) -> list[Path]:
        """Return the files of `features/`."""
        return sorted(self.path(self.layout.features).glob("*.parquet"))

    def project(self) -> None:
        """Set the components of all rows."""
        for row in self.rows:
            row["pca"] = self.projection.project(np.stack([row["features"]]))[0].tolist()

    def fit(self) -> Recogniser:
        """Fit a recogniser on the training rows."""
        return fitted_on(self.rows, self.projection.version, self.split)

    def fit_all(self, split: str | None) -> None:
        """Fit projection and recogniser on the rows of a split, or on all rows for `None`."""
        self.split = split
        training = np.stack([row["features"] for row in self.rows if split in (None, row["split"])])
        self.projection = fit(Moments.of(training), FAMILIES, k=COMPONENTS, explained_variance=None)
        self.said_version = self.projection.version
        self.project()
        self.recogniser = self.fit()

    def remove_splits(self) -> None:
        """Write the run of the same images in no split."""
        for row in self.rows:
            row["split"] = None
        self.fit_all(None)
        self.write()

    def write(self, schema: pa.Schema | None = None, arguments: Arguments | None = None) -> None:
        """Write all tables again."""
        schema = schema or schemas.arrow_schema(schemas.features_columns(include_pixels=False))
        middle = len(self.rows) // 2
        for number, rows in enumerate((self.rows[:middle], self.rows[middle:])):
            said = arguments if arguments and number else self.arguments
            self._write(self.layout.features, f"part-{number:05}.parquet", schema, rows, said)
        quarantine = schemas.arrow_schema(schemas.QUARANTINE)
        self._write(self.layout.quarantine, "part-00000.parquet", quarantine, self.rejected, self.arguments)
        place = self.path(self.layout.inventory) / "part-00000.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(self._listing()), schema=writer.SCHEMA), place)

    def validate(
        self,
        *,
        projection: Projection | None = None,
        stored: bytes | None = None,
        change: Callable[[Audit], Audit] = lambda audit: audit,
        published: Published | None = None,
    ) -> ValidationReport:
        """Validate the run on disk."""
        audit = Audit(files_of(self), self.requested, fetch=self._fetch)
        stored = (projection or self.projection).to_bytes() if stored is None else stored
        recogniser = self.recogniser and self.recogniser.to_bytes()
        audit = change(replace(audit, published=published, recogniser=recogniser))
        if self.on_cluster:
            audit = replace(audit, measured=_measured(audit, stored))
        return audit.validate(stored)

    def _write(self, folder: str, name: str, schema: pa.Schema, rows: list[Row], arguments: Arguments) -> None:
        table = pa.Table.from_pylist(rows, schema=schema)
        words = {
            **file_metadata(arguments),
            **({"projection": self.said_version} if folder == self.layout.features else {}),
        }
        write_parquet(str(self.path(folder)), name, schema, [table], words)

    def _extract(self, key: str, data: bytes) -> Row:
        image = ImageExtractor(FAMILIES, 10**6).extract(data)
        assert isinstance(image, ImageFeatures)
        _, split, category, _ = key.split("/")
        return {
            "path": f"s3://fruits/{key}",
            "split": split,
            "category": category,
            "width": image.width,
            "height": image.height,
            "keypoints": len(image.descriptors),
            "descriptors": image.descriptors.tobytes(),
            "features": image.features,
        }

    def _listing(self) -> list[Row]:
        when = datetime(2026, 1, 1, tzinfo=UTC)
        listed = []
        for key, data in sorted({**self.images, BROKEN: b"no image"}.items()):
            _, split, category, _ = key.split("/")
            place = {"key": key, "split": self.split and split, "category": category, "last_modified": when}
            listed.append({**place, "size": len(data), "etag": md5(data).hexdigest()})  # noqa: S324 - S3's ETag
        return listed

    def _fetch(self, key: str, etag: str) -> bytes | None:
        data = self.images[key]
        return data if md5(data).hexdigest() == etag else None  # noqa: S324 - S3's ETag


def files_of(run: Run) -> RunFiles:
    """Return the tables of a run on disk."""
    return RunFiles(run.layout, SubTreeFileSystem(str(run.folder), LocalFileSystem()))


def measured(run: Run) -> bytes:
    """Return the figures that a cluster computes of a run on disk, without a published run."""
    subject = Subject(files_of(run), run.arguments, run.projection, run.recogniser, with_sample=False)
    return subject.measure().to_bytes(cluster_figures.about(subject))


def _measured(audit: Audit, stored: bytes) -> bytes | None:
    """Return the figures that a cluster computes; `None` if its step fails, because there is no projection."""
    projection, _ = projection_checks.read(stored)
    if projection is None:
        return None
    subject = replace(audit.subject(projection), with_sample=False)
    return subject.measure(_as_spark).to_bytes(cluster_figures.about(subject))


def _as_spark(
    description: str,  # noqa: ARG001 - as the protocol
    function: Callable[[Any], Any],
    merge: Callable[[Any, Any], Any],
    arguments: Sequence[Any],
) -> Any:  # noqa: ANN401 - as the protocol
    """Call a function as Spark does, with copies, and merge the results in another order."""
    results = [pickle.loads(pickle.dumps(function))(argument) for argument in arguments]  # noqa: S301 - our own
    return reduce(merge, results[::-1])


def _places() -> list[tuple[int, str, str]]:
    return sorted(
        ((n, "Test" if n % 4 == 3 else "Training", ("Apple", "Lime")[n % 2]) for n in range(24)),
        key=lambda one: one[1:],
    )
