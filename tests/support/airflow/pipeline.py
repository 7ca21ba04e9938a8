"""A bucket and the DAGs to run on it with `airflow dags test`."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import polars as pl

from include.dev.local_aws.client import REGION
from tests.support.airflow.forks import run_in_fork

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_s3 import S3Client

    from include.dev.local_aws.local import LocalAws

RUN_TIMEOUT_S = 900

DATE = "2026-03-01"
PARAMS = {"max_quarantine_share": 0.2, "k": 8}
"""Parameters of the run that the fixture `published` publishes."""

ODD_NAMES = ("images/Test/Crème brûlée #1/50% off + tax.jpg", "images/Test/Banana/a b&c=d.jpg")

PLANTED = ("planted-connection-password", "planted-jwt-secret" * 4, "planted-api-secret" * 4)
"""Secrets that the published run is given besides the local AWS's. No output may contain them."""
RECORDER = Path(__file__).parents[1] / "recorder"


def with_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment whose connections and settings contain secrets."""
    connection = {
        "conn_type": "aws",
        "login": environment["AWS_ACCESS_KEY_ID"],
        "password": environment["AWS_SECRET_ACCESS_KEY"],
        "extra": {"region_name": REGION},
    }
    return {
        **environment,
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "AIRFLOW_CONN_SPARK_DEFAULT": f"spark://user:{PLANTED[0]}@nowhere:7077",
        "AIRFLOW__API_AUTH__JWT_SECRET": PLANTED[1],
        "AIRFLOW__API__SECRET_KEY": PLANTED[2],
    }


def planted(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets that no output may contain."""
    return (environment["AWS_SECRET_ACCESS_KEY"], *PLANTED)


@dataclass(frozen=True)
class Published:
    """Results of a published run: `latest.json`, both tables, its log, and its recorded requests of AWS.

    Attributes:
        latest: `latest.json`.
        calls: File of Airflow's requests by botocore.
        s3_of_airflow: Method and target of each HTTP request that Airflow sent to S3, by whatever client.
        s3_of_nodes: The same of the cluster's nodes.
    """

    latest: dict[str, Any]
    features: pl.DataFrame
    quarantine: pl.DataFrame
    log: str
    calls: Path
    s3_of_airflow: frozenset[tuple[str, str]]
    s3_of_nodes: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class DagRun:
    """Exit code and complete log of `airflow dags test`."""

    exit_code: int
    log: str

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def error(self) -> str:
        """Log from the first failed task on, or the end of the log."""
        return "".join(self.log.partition("Task failed with exception")[1:])[:6000] or self.log[-4000:]


@dataclass(frozen=True)
class Pipeline:
    """One bucket, and the DAGs to run on it."""

    aws: LocalAws
    s3: S3Client
    bucket: str
    environment: Mapping[str, str]

    def put(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def put_folder(self, folder: Path, prefix: str = "images/") -> int:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        for path in files:
            self.put(prefix + path.relative_to(folder).as_posix(), path.read_bytes())
        return len(files)

    def run(self, date: str, dag_id: str = "fruits_features", **params: Any) -> DagRun:  # noqa: ANN401
        with NamedTemporaryFile("r", suffix=".log") as log:
            command = self.command(date, dag_id, **params)
            return DagRun(run_in_fork(command, self.environment, Path(log.name), RUN_TIMEOUT_S), log.read())

    def run_installed_command(self, date: str, **params: Any) -> DagRun:  # noqa: ANN401
        """Run the DAG with the `airflow` command on the path, like `make demo` and CI."""
        process = subprocess.run(
            self.command(date, **params),
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
        return DagRun(process.returncode, process.stdout)

    def command(self, date: str, dag_id: str = "fruits_features", **params: Any) -> list[str]:  # noqa: ANN401
        """Return the command that runs a DAG on this bucket."""
        return ["airflow", "dags", "test", dag_id, date, "--conf", json.dumps({"bucket": self.bucket, **params})]

    def latest(self) -> dict[str, Any]:
        return self.json("features/latest.json")

    def published(self) -> dict[str, Any]:
        """Return `latest.json` after checking the checksums of all objects that it names."""
        latest = self.latest()
        record = self.get(latest["paths"]["run"])
        assert latest["checksums"]["run.json"] == f"sha256:{sha256(record).hexdigest()}"
        prefix = self.key(latest["paths"]["run"]).removesuffix("run.json")
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)["Contents"]
        stored = {entry["Key"].removeprefix(prefix): f"etag:{entry['ETag'].strip(chr(34))}" for entry in listed}
        expected = {name: checksum for name, checksum in latest["checksums"].items() if name != "run.json"}
        assert expected.items() <= stored.items()
        return latest

    def record(self) -> dict[str, Any]:
        """Return `run.json` of the published run."""
        return self.json(self.key(self.latest()["paths"]["run"]))

    def dag_runs(self) -> dict[str, str]:
        """Return the ids of the DAG runs by the names of the runs, from the claims of the folders."""
        return {
            key.split("/")[2]: self.json(key)["run_id"] for key in self._keys_of_runs() if key.endswith("/claim.json")
        }

    def has(self, key: str) -> bool:
        return "Contents" in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=key)

    def has_in_runs(self, name: str) -> bool:
        """Return whether a folder of a run contains an object whose name below the folder begins like this."""
        return any(key.split("/", 3)[-1].startswith(name) for key in self._keys_of_runs())

    def _keys_of_runs(self) -> Iterator[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="features/runs/")
        return (entry["Key"] for page in pages for entry in page.get("Contents", []))

    def json(self, key: str) -> dict[str, Any]:
        return json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def get(self, uri: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=self.key(uri))["Body"].read()

    def table(self, name: str) -> pl.DataFrame:
        """Return a table of the published run."""
        prefix = self.key(self.latest()["paths"][name])
        keys = [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)["Contents"]]
        parts = [
            self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys if key.endswith(".parquet")
        ]
        return pl.concat([pl.read_parquet(io.BytesIO(part)) for part in parts])

    def cluster_states(self) -> list[tuple[str, str]]:
        """Return state and reason of each cluster that logs to this bucket, in order of creation."""
        statuses = [cluster["Status"] for cluster in self._clusters()]
        return [(status["State"], status["StateChangeReason"].get("Code", "")) for status in statuses]

    def cluster_ids(self) -> list[str]:
        """Return the ids of the clusters that log to this bucket, in order of creation."""
        return [cluster["Id"] for cluster in self._clusters()]

    def _clusters(self) -> list[Any]:
        emr = self.aws.emr()
        listed = emr.get_paginator("list_clusters").paginate().search("Clusters[].Id")
        clusters = [emr.describe_cluster(ClusterId=cluster)["Cluster"] for cluster in listed]
        own = [cluster for cluster in clusters if cluster.get("LogUri", "").startswith(f"s3://{self.bucket}/")]
        return sorted(own, key=lambda cluster: cluster["Status"]["Timeline"]["CreationDateTime"])

    def key(self, uri: str) -> str:
        return uri.removeprefix(f"s3://{self.bucket}/")
