"""Paths of a run's files below its prefix, and patterns for names of buckets and prefixes.

The application writes these paths. The DAG, the validation and the notebooks read them. Uses the standard library only
and accesses no file system.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

FEATURES_ROOT = "features"
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

    @classmethod
    def of(cls, bucket: str, run: str) -> "RunLayout":
        """Return the layout of a run in a bucket.

        >>> RunLayout.of("fruits", "2026-11-20").prefix
        's3://fruits/features/runs/2026-11-20'
        """
        return cls(f"s3://{bucket}/{FEATURES_ROOT}/runs/{run}")

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
        """Folder of the feature cache of a run without a shared one. Removed at the end of the run."""
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


def history(bucket: str) -> str:
    """Return the folder of the earlier versions of `latest.json`."""
    return f"s3://{bucket}/{FEATURES_ROOT}/published"


def publication(bucket: str, published_at: str, run: str) -> str:
    """Return the URI of an earlier version of `latest.json`. Names sort by time.

    Args:
        bucket: Name of the bucket.
        published_at: Time of publication, ISO 8601 with a time zone.
        run: Name of the published run.

    >>> publication("fruits", "2026-11-22T08:00:00+00:00", "r")
    's3://fruits/features/published/2026-11-22T080000Z-r.json'
    """
    return f"{history(bucket)}/{stamp(datetime.fromisoformat(published_at))}-{run}.json"


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


def feature_cache(bucket: str) -> str:
    """Return the folder of the feature cache that a bucket's runs share.

    >>> feature_cache("fruits")
    's3://fruits/features/described'
    """
    return f"s3://{bucket}/{FEATURES_ROOT}/described"


def backfill(bucket: str, dag_id: str, conf: str) -> str:
    """Return the URI of the lock of a backfill. All runs of one DAG with one configuration share it.

    >>> backfill("fruits", "daily", '{"k": 8}')
    's3://fruits/features/backfills/daily-e112e31f.json'
    """
    digest = sha256(conf.encode()).hexdigest()[:8]
    return f"s3://{bucket}/{FEATURES_ROOT}/backfills/{dag_id}-{digest}.json"


def latest(bucket: str) -> str:
    """Return the URI of the pointer to the published run.

    >>> latest("fruits")
    's3://fruits/features/latest.json'
    """
    return f"s3://{bucket}/{FEATURES_ROOT}/latest.json"
