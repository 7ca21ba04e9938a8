"""Where everything of one run lies below its prefix, and what names of buckets and prefixes look like.

Shared by whoever writes a run (this application) and whoever reads it (the DAG, its validation, a notebook).
Standard library only; knows no file system and reads nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

FEATURES_ROOT = "features"
PORTABLE = "projection.npz"
PROGRESS = "progress.json"
OUTCOME = "outcome.json"

FITTED_SPLIT = "Training"
"""What the projection is fitted on, where the inventory has it; all images otherwise."""

_STAMP = "%Y-%m-%dT%H%M%SZ"

BUCKET_PATTERN = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
"""S3's rules for the name of a bucket, but for the rarely met ones (no two full stops together, no IP address)."""
PREFIX_PATTERN = r"^([^*?\[\]/][^*?\[\]]*/)?$"
"""Empty, or ends in "/"; without what Airflow's S3 sensor takes for wildcards."""


@dataclass(frozen=True)
class RunLayout:
    """The paths of one run.

    Args:
        prefix: the run's own prefix, for example `s3://fruits/features/runs/2026-11-20`; a trailing slash is dropped.

    >>> RunLayout("s3://fruits/features/runs/2026-11-20/").features
    's3://fruits/features/runs/2026-11-20/features'
    """

    prefix: str

    def __post_init__(self) -> None:
        """Drop the trailing slash."""
        object.__setattr__(self, "prefix", self.prefix.rstrip("/"))

    @classmethod
    def of(cls, bucket: str, run: str) -> "RunLayout":
        """Lay out a run of a bucket.

        >>> RunLayout.of("fruits", "2026-11-20").prefix
        's3://fruits/features/runs/2026-11-20'
        """
        return cls(f"s3://{bucket}/{FEATURES_ROOT}/runs/{run}")

    @property
    def name(self) -> str:
        """The run's name."""
        return self.prefix.rpartition("/")[2]

    @property
    def inventory(self) -> str:
        """Folder of the inventory's Parquet files: what the run is about."""
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
        """Folder of the images' descriptions where the run keeps no store of them; gone at its end."""
        return f"{self.prefix}/staging"

    @property
    def projection(self) -> str:
        """Folder of the projection, in two forms."""
        return f"{self.prefix}/projection"

    @property
    def portable_projection(self) -> str:
        """The projection as one file for numpy."""
        return f"{self.projection}/{PORTABLE}"

    @property
    def spark_model(self) -> str:
        """Folder of the projection as a Spark ML `PipelineModel`."""
        return f"{self.projection}/spark_model"

    @property
    def progress(self) -> str:
        """How far the application is, as JSON."""
        return f"{self.prefix}/{PROGRESS}"

    @property
    def outcome(self) -> str:
        """What the application says came out, as JSON; the last thing that it writes."""
        return f"{self.prefix}/{OUTCOME}"

    @property
    def report(self) -> str:
        """Folder of the run's report."""
        return f"{self.prefix}/report"

    @property
    def report_page(self) -> str:
        """The report, for people: one HTML page."""
        return f"{self.report}/index.html"

    @property
    def report_figures(self) -> str:
        """The report's figures, for programs: JSON."""
        return f"{self.report}/figures.json"

    @property
    def record(self) -> str:
        """What the run was and what came out, as JSON; written by whoever publishes it."""
        return f"{self.prefix}/run.json"


def history(bucket: str) -> str:
    """Tell where the earlier pointers lie: those that `latest.json` has replaced."""
    return f"s3://{bucket}/{FEATURES_ROOT}/published"


def publication(bucket: str, published_at: str, run: str) -> str:
    """Tell where an earlier pointer lies; names sort by time.

    >>> publication("fruits", "2026-11-22T08:00:00+00:00", "r")
    's3://fruits/features/published/2026-11-22T080000Z-r.json'
    """
    return f"{history(bucket)}/{stamp(datetime.fromisoformat(published_at))}-{run}.json"


def published_run(name: str) -> str:
    """Read the run from the name of an earlier pointer.

    >>> published_run("2026-11-22T080000Z-2026-11-22T000000Z-fruits_features.json")
    '2026-11-22T000000Z-fruits_features'
    """
    return name.partition("Z-")[2].removesuffix(".json")


def publication_time(name: str) -> datetime:
    """Read from the name of an earlier pointer when its run was published.

    >>> publication_time("2026-11-22T080000Z-r.json").isoformat()
    '2026-11-22T08:00:00+00:00'
    """
    return datetime.strptime(name.partition("Z-")[0] + "Z", _STAMP).replace(tzinfo=UTC)


def stamp(moment: datetime) -> str:
    """Write a moment, to the second, as it stands in names."""
    return moment.astimezone(UTC).strftime(_STAMP)


def described(bucket: str) -> str:
    """Tell where a bucket's runs remember described images.

    >>> described("fruits")
    's3://fruits/features/described'
    """
    return f"s3://{bucket}/{FEATURES_ROOT}/described"


def backfill(bucket: str, dag_id: str, conf: str) -> str:
    """Tell where the run of a backfill that works for the others says so: those of one DAG and one configuration.

    >>> backfill("fruits", "daily", '{"k": 8}')
    's3://fruits/features/backfills/daily-e112e31f.json'
    """
    digest = sha256(conf.encode()).hexdigest()[:8]
    return f"s3://{bucket}/{FEATURES_ROOT}/backfills/{dag_id}-{digest}.json"


def latest(bucket: str) -> str:
    """Tell where the pointer to the published run lies.

    >>> latest("fruits")
    's3://fruits/features/latest.json'
    """
    return f"s3://{bucket}/{FEATURES_ROOT}/latest.json"
