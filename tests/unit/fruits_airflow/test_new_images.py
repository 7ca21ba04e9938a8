"""New images are counted with the connection's credentials. If that fails, the run is planned for all images."""

from __future__ import annotations

import io
import json
import logging
from hashlib import sha256
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits_airflow import new_images
from fruits_airflow.hooks import aws, processes
from fruits_features.cache.store import FeatureCache
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.layout import DatasetLayout
from fruits_features.schemas import INVENTORY, arrow_schema
from include.artifacts import shipped_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_s3 import S3Client

    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")


class Run:
    """A run with an inventory of three images, and the XComs of its tasks."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self.s3, self.bucket, self.layout = s3, bucket, DatasetLayout(bucket).run("r")
        self.dataset, self.xcoms = "default", dict[str, Any]()
        rows = [{"key": f"images/A/{n}", "etag": "e", "size": 5, "category": "A"} for n in range(3)]
        schema = arrow_schema([column for column in INVENTORY if column.name in rows[0]])
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
        s3.put_object(Bucket=bucket, Key="features/runs/r/inventory/part-00000.parquet", Body=sink.getvalue())
        s3.put_object(Bucket=bucket, Key="features/described/another/about.json", Body=b"{}")

    @property
    def context(self) -> Any:  # noqa: ANN401
        return {"ti": self}

    def xcom_push(self, key: str, value: object) -> None:
        assert key == "new_images"
        self.xcoms["find_changes"] = value

    def xcom_pull(self, task_ids: str, key: str | None = None) -> Any:  # noqa: ANN401, ARG002
        taken = {"images": 3, "size_bytes": 15, "bucket": self.bucket, "dataset": self.dataset}
        return {"take_inventory": taken, **self.xcoms}[task_ids]

    def arguments(self, **options: Any) -> Arguments:  # noqa: ANN401
        places = {"bucket": self.bucket, "inventory": self.layout.inventory, "output": self.layout.prefix, "run": "r"}
        return Arguments(
            **places | {"store": DatasetLayout(self.bucket).feature_cache, "features": ("color",)} | options
        )


def _connection(key: str, secret: str) -> str:
    return json.dumps({"conn_type": "aws", "login": key, "password": secret, "extra": {"region_name": "eu-west-1"}})


@pytest.fixture
def run(local_aws: LocalAws, bucket: str) -> Run:
    return Run(local_aws.s3(), bucket)


def test_new_images_are_counted_with_the_keys_of_the_connection(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, local_aws: LocalAws
) -> None:
    keys = {name: local_aws.environment[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", _connection(keys["ACCESS_KEY_ID"], keys["SECRET_ACCESS_KEY"]))
    for name in keys:
        monkeypatch.delenv(f"AWS_{name}", raising=False)

    with caplog.at_level(logging.INFO):
        new_images.count(run.context, aws.s3(), run.arguments())

    assert run.xcoms["find_changes"] == {side: {"images": 3, "size_bytes": 15} for side in ("cluster", "worker")}
    assert new_images.counted(run.context, "worker") == (3, 15)
    assert "3 of 3 images are new." in caplog.text


def test_bucket_without_a_cache_needs_no_process(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.s3.delete_object(Bucket=run.bucket, Key="features/described/another/about.json")
    monkeypatch.setattr(new_images.subprocess, "run", None)

    new_images.count(run.context, aws.s3(), run.arguments())

    assert new_images.counted(run.context, "cluster") == new_images.counted(run.context, "worker") == (3, 15)


def test_data_set_without_a_cache_needs_no_process_beside_one_with_a_cache(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.dataset = "citrus"
    monkeypatch.setattr(new_images.subprocess, "run", None)

    new_images.count(run.context, aws.s3(), run.arguments())

    assert new_images.counted(run.context, "worker") == (3, 15)


def _damaged(run: Run) -> Arguments:
    """Store a segment of the cache whose index has other bytes than its manifest names."""
    arguments = run.arguments()
    folder = FeatureCache.of(str(arguments.store), arguments, None).folder.removeprefix(f"s3://{run.bucket}/")
    from fruits_features.cache.store import CacheSegment, StoredPart

    segment = CacheSegment("s", "r", (StoredPart("index-0.parquet", 3, "0" * 64, ()),))
    run.s3.put_object(Bucket=run.bucket, Key=f"{folder}/s/index-0.parquet", Body=b"abc")
    run.s3.put_object(Bucket=run.bucket, Key=f"{folder}/s/manifest.json", Body=segment.to_bytes())
    return arguments


def _of_another_bucket(run: Run) -> Arguments:
    return run.arguments(store="s3://no-such-bucket-anywhere/features/described")


def _with_model_on_disk(run: Run) -> Arguments:
    return run.arguments(features=("onnx",), onnx_model="/opt/net.onnx")


def _with_missing_model(run: Run) -> Arguments:
    return run.arguments(features=("onnx",), onnx_model=f"s3://{run.bucket}/net.onnx")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (_damaged, "The feature cache is damaged"),
        (_of_another_bucket, "no-such-bucket-anywhere"),
        (_with_model_on_disk, "on the cluster's disk"),
        (_with_missing_model, "NoSuchKey"),
    ],
)
def test_count_that_fails_logs_its_reason_and_all_images_are_new(
    run: Run,
    arguments: Callable[[Run], Arguments],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    new_images.count(run.context, aws.s3(), arguments(run))

    assert run.xcoms["find_changes"] is None
    assert new_images.counted(run.context, "cluster") == (3, 15)
    warning = [entry.message for entry in caplog.records if entry.levelno == logging.WARNING][-1]
    assert warning.startswith("New images cannot be counted, so all 3 count as new: ")
    assert reason in warning


def test_count_that_takes_too_long_is_ended(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(new_images, "TIMEOUT_S", 0.01)

    new_images.count(run.context, aws.s3(), run.arguments())

    assert "it took longer than 0.01 s." in caplog.text


@pytest.mark.parametrize(("architecture", "machine"), [("arm64", "aarch64"), ("x86_64", "x86_64")])
def test_clusters_of_aws_have_the_machines_of_the_setting(
    run: Run, monkeypatch: pytest.MonkeyPatch, architecture: str, machine: str
) -> None:
    from include import settings

    commands: list[list[str]] = []

    def record(command: list[str], **_: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=0, stderr="", stdout=json.dumps({"cluster": {"images": 1}}))

    monkeypatch.setattr(new_images.subprocess, "run", record)
    monkeypatch.setattr(aws, "is_aws", lambda _: True)
    monkeypatch.setattr(settings, "settings", lambda: settings.Settings(emr_architecture=architecture))

    new_images.count(run.context, aws.s3(), run.arguments())

    assert f"--machine={machine}" in commands[0]


def test_model_is_known_by_its_content_and_the_one_that_ships_is_not_read(run: Run) -> None:
    run.s3.put_object(Bucket=run.bucket, Key="net.onnx", Body=b"model")

    assert new_images._model_sha256(run.s3, f"s3://{run.bucket}/net.onnx") == sha256(b"model").hexdigest()  # noqa: SLF001
    assert new_images._model_sha256(run.s3, shipped_model.uri("fruits")) == shipped_model.SHA256  # noqa: SLF001


def _environment(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> dict[str, str]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return processes.environment(aws.s3())


def test_child_has_the_keys_of_the_connection_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = _environment(
        monkeypatch,
        {
            "AIRFLOW_CONN_AWS_DEFAULT": _connection("of-the-connection", "hidden"),
            "AWS_SESSION_TOKEN": "of other keys",
            "AWS_ACCESS_KEY_ID": "other",
            "FRUITS_DEPLOYMENT": "orchard",
        },
    )

    assert environment["AWS_ACCESS_KEY_ID"] == "of-the-connection"
    assert environment["AWS_SECRET_ACCESS_KEY"] == "hidden"  # noqa: S105
    assert "AWS_SESSION_TOKEN" not in environment
    assert environment["FRUITS_DEPLOYMENT"] == "orchard"
    assert environment["AWS_ENDPOINT_URL_S3"].startswith("http://127.0.0.1:")
