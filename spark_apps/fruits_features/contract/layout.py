"""Paths of a run's files below its prefix, and patterns for names of buckets and prefixes.

The application writes these paths. The DAG, the validation and the notebooks read them. Uses the standard library only
and accesses no file system.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

FEATURES_ROOT = "features"
"""Prefix of everything that the pipeline writes besides artifacts and logs."""
DATASETS_ROOT = f"{FEATURES_ROOT}/datasets"
"""Prefix of the named data sets. Below `FEATURES_ROOT`, so that no inventory lists them as images."""
DEFAULT_DATASET = "default"
"""Data set directly below `FEATURES_ROOT`."""
DOCUMENT_FORMAT: Final = 1
"""Version of `run.json` and `latest.json`. A change that existing readers cannot read increases it."""
PORTABLE = "projection.npz"
RECOGNISER = "recogniser.npz"
MODEL_CARD = "model_card.md"
APP_MODEL = "app.onnx"
PROGRESS = "progress.json"
OUTCOME = "outcome.json"
INVENTORY_DIGESTS = "_digests.json"
"""SHA-256 of each file of `inventory/`, as JSON. Readers of Parquet folders ignore names that begin with "_"."""

FITTED_SPLIT = "Training"
"""Split that the projection is fitted on. All images are used if the inventory has no such split."""

_STAMP = "%Y-%m-%dT%H%M%SZ"

BUCKET_PATTERN = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
"""S3's rules for bucket names, except two: no adjacent periods, no IP address.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
"""
PREFIX_PATTERN = r"^([^*?\[\]/][^*?\[\]]*/)?$"
"""Empty, or ends in "/". Excludes the characters that Airflow's `S3KeySensor` treats as wildcards."""
DATASET_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z"
DATASET_RULE = "1 to 40 lowercase letters, digits and hyphens, without a hyphen at its beginning and end"
"""`DATASET_PATTERN` in words."""


class DatasetNameError(ValueError):
    """A name is not the name of a data set. The message contains the rule and an example."""


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`, or of another scheme: EMR reports its `LogUri` as `s3n://`.

    The key is taken literally. A URL parser would end it at the first `?` or `#`, which S3 allows in keys.

    >>> split("s3://fruits/images/Lime/1#2.jpg")
    ('fruits', 'images/Lime/1#2.jpg')
    >>> split("s3n://fruits/logs/emr/")
    ('fruits', 'logs/emr/')
    """
    _, _, place = uri.partition("://")
    bucket, _, key = place.partition("/")
    return bucket, key


@dataclass(frozen=True)
class RunLayout:
    """Paths of one run.

    Args:
        prefix: URI of the run's folder, for example `s3://fruits/features/runs/2026-11-20`. A trailing slash is
            removed.

    >>> RunLayout("s3://fruits/features/runs/2026-11-20/").features
    's3://fruits/features/runs/2026-11-20/features'
    """

    prefix: str

    def __post_init__(self) -> None:
        """Remove the trailing slash."""
        object.__setattr__(self, "prefix", self.prefix.rstrip("/"))

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.prefix.rpartition("/")[2]

    @property
    def inventory(self) -> str:
        """Folder of the inventory's Parquet files."""
        return f"{self.prefix}/inventory"

    @property
    def features(self) -> str:
        """Folder of the features' Parquet files."""
        return f"{self.prefix}/features"

    @property
    def quarantine(self) -> str:
        """Folder of the quarantine's Parquet files."""
        return f"{self.prefix}/quarantine"

    @property
    def staging(self) -> str:
        """Folder of what is removed at the end of the run.

        It holds the intermediate tables of a large run, and the feature cache of a run without a shared one.
        """
        return f"{self.prefix}/staging"

    @property
    def projection(self) -> str:
        """Folder of the projection in both formats."""
        return f"{self.prefix}/projection"

    @property
    def portable_projection(self) -> str:
        """Projection as one NumPy file."""
        return f"{self.projection}/{PORTABLE}"

    @property
    def spark_model(self) -> str:
        """Folder of the projection as a Spark ML `PipelineModel`."""
        return f"{self.projection}/spark_model"

    @property
    def recogniser(self) -> str:
        """Folder of the recogniser."""
        return f"{self.prefix}/recogniser"

    @property
    def portable_recogniser(self) -> str:
        """Recogniser as one NumPy file. Missing if the images have fewer than two categories."""
        return f"{self.recogniser}/{RECOGNISER}"

    @property
    def model_card(self) -> str:
        """Description of the recogniser, as Markdown with YAML front matter."""
        return f"{self.recogniser}/{MODEL_CARD}"

    @property
    def app_model(self) -> str:
        """Recogniser with its network as one ONNX file. Only with the family `onnx`."""
        return f"{self.recogniser}/{APP_MODEL}"

    @property
    def progress(self) -> str:
        """Progress of the application, as JSON."""
        return f"{self.prefix}/{PROGRESS}"

    @property
    def outcome(self) -> str:
        """Outcome of the application, as JSON. The last file that it writes."""
        return f"{self.prefix}/{OUTCOME}"

    @property
    def validation(self) -> str:
        """Folder of the figures that a cluster has computed from the results."""
        return f"{self.prefix}/validation"

    @property
    def validation_figures(self) -> str:
        """Figures of the validation (`include.validation.figures`)."""
        return f"{self.validation}/figures.npz"

    @property
    def report_totals(self) -> str:
        """Counts for the report, as JSON (`include.report.sample.Totals`)."""
        return f"{self.validation}/report.json"

    @property
    def report_sample(self) -> str:
        """Folder of the rows of `features/` that the report samples, as Parquet files."""
        return f"{self.validation}/sample"

    @property
    def report(self) -> str:
        """Folder of the run's report."""
        return f"{self.prefix}/report"

    @property
    def report_page(self) -> str:
        """Report as one HTML page."""
        return f"{self.report}/index.html"

    @property
    def report_figures(self) -> str:
        """Figures of the report, as JSON."""
        return f"{self.report}/figures.json"

    @property
    def claim(self) -> str:
        """Owner of the run's folder, as JSON. The first file in it."""
        return f"{self.prefix}/claim.json"

    @property
    def record(self) -> str:
        """Record of the run, as JSON. Written when the run is published."""
        return f"{self.prefix}/run.json"


@dataclass(frozen=True)
class DatasetLayout:
    """Paths of a data set: its runs, the pointer to the published one, and what its runs share.

    A bucket contains the data set `default` and any number of named ones. They share no files.

    Args:
        bucket: Name of the bucket.
        name: Name of the data set.

    Raises:
        DatasetNameError: The name contains other characters, or is too long.

    >>> DatasetLayout("fruits").latest, DatasetLayout("fruits", "citrus").latest
    ('s3://fruits/features/latest.json', 's3://fruits/features/datasets/citrus/latest.json')
    """

    bucket: str
    name: str = DEFAULT_DATASET

    def __post_init__(self) -> None:
        """Check the name, which becomes part of keys."""
        if not re.fullmatch(DATASET_PATTERN, self.name):
            raise DatasetNameError(
                f"{self.name!r} is not the name of a data set: write {DATASET_RULE}, such as citrus-2026."
            )

    def __str__(self) -> str:
        """Return the address for sentences: the bucket, or the folder of a named data set.

        >>> str(DatasetLayout("fruits")), str(DatasetLayout("fruits", "citrus"))
        ('s3://fruits', 's3://fruits/features/datasets/citrus')
        """
        return f"s3://{self.bucket}" if self.is_default else self.prefix

    @property
    def is_default(self) -> bool:
        """Whether this is the data set of runs and readers that name none."""
        return self.name == DEFAULT_DATASET

    @property
    def prefix(self) -> str:
        """URI of the data set's folder."""
        folder = FEATURES_ROOT if self.is_default else f"{DATASETS_ROOT}/{self.name}"
        return f"s3://{self.bucket}/{folder}"

    @property
    def latest(self) -> str:
        """Pointer to the published run, as JSON."""
        return f"{self.prefix}/latest.json"

    @property
    def history(self) -> str:
        """Folder of copies of all versions of `latest.json`. Older pipelines copied only the earlier versions."""
        return f"{self.prefix}/published"

    @property
    def runs(self) -> str:
        """Folder of the runs."""
        return f"{self.prefix}/runs"

    @property
    def feature_cache(self) -> str:
        """Folder of the feature cache that the data set's runs share."""
        return f"{self.prefix}/described"

    def run(self, name: str) -> RunLayout:
        """Return the layout of a run.

        >>> DatasetLayout("fruits", "citrus").run("2026-11-20").prefix
        's3://fruits/features/datasets/citrus/runs/2026-11-20'
        """
        return RunLayout(f"{self.runs}/{name}")

    def publication(self, published_at: str, run: str) -> str:
        """Return the URI of an earlier version of `latest.json`. Names sort by time.

        Args:
            published_at: Time of publication, ISO 8601 with a time zone.
            run: Name of the published run.

        >>> DatasetLayout("fruits").publication("2026-11-22T08:00:00+00:00", "r")
        's3://fruits/features/published/2026-11-22T080000Z-r.json'
        """
        return f"{self.history}/{stamp(datetime.fromisoformat(published_at))}-{run}.json"

    def backfill(self, dag_id: str, conf: str) -> str:
        """Return the URI of the lock of a backfill. All runs of one DAG with one configuration share it.

        >>> DatasetLayout("fruits").backfill("daily", '{"k": 8}')
        's3://fruits/features/backfills/daily-e112e31f.json'
        """
        digest = sha256(conf.encode()).hexdigest()[:8]
        return f"{self.prefix}/backfills/{dag_id}-{digest}.json"


def dataset_names(folders: Iterable[str]) -> list[str]:
    """Return the names of data sets among the names of the folders below `DATASETS_ROOT`.

    >>> dataset_names(["citrus", "default", "My photos"])
    ['citrus']
    """
    return [name for name in folders if re.fullmatch(DATASET_PATTERN, name) and name != DEFAULT_DATASET]


def published_run(name: str) -> str:
    """Return the run's name from the file name of an earlier version of `latest.json`.

    >>> published_run("2026-11-22T080000Z-2026-11-22T000000Z-fruits_features.json")
    '2026-11-22T000000Z-fruits_features'
    """
    return name.partition("Z-")[2].removesuffix(".json")


def publication_time(name: str) -> datetime:
    """Return the time of publication from the file name of an earlier version of `latest.json`.

    >>> publication_time("2026-11-22T080000Z-r.json").isoformat()
    '2026-11-22T08:00:00+00:00'
    """
    return datetime.strptime(name.partition("Z-")[0] + "Z", _STAMP).replace(tzinfo=UTC)


def stamp(moment: datetime) -> str:
    """Return a time, to the second, in the format used in names."""
    return moment.astimezone(UTC).strftime(_STAMP)
