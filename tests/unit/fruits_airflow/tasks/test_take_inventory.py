"""An inventory is a listing, or comes from an S3 Inventory report. Both have the same digest and replace leftovers."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from hashlib import md5
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from botocore.exceptions import ClientError

from fruits_airflow.hooks import claims
from fruits_airflow.s3.readiness import Readiness
from fruits_airflow.tasks import take_inventory
from fruits_features.contract.layout import DatasetLayout
from include.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")

REPORTS = "reports/inventory/"


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def s3(local_aws: LocalAws, bucket: str) -> S3Client:
    client = local_aws.s3()
    for key in ("images/a/1.jpg", "images/b/2.jpg", "images/_SUCCESS"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return client


def _write(bucket: str, prefix: str = "images/", marker: str | None = None) -> take_inventory.Inventory:
    image_filter = Readiness(bucket, prefix, marker=marker).image_filter()
    return take_inventory.write_inventory(S3Hook(), bucket, f"s3://{bucket}/runs/r/inventory", image_filter)


def _inventory(s3: S3Client, bucket: str) -> dict[str, pl.DataFrame]:
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="runs/r/inventory/")["Contents"]
    contents = {one["Key"]: s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed}
    contents.pop("runs/r/inventory/_digests.json")
    return {key.rpartition("/")[2]: pl.read_parquet(content) for key, content in contents.items()}


def _report(s3: S3Client, bucket: str, taken_at: datetime) -> None:
    """Write the report that S3 Inventory would write of the current bucket."""
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    rows = [
        {"bucket": bucket, "key": one["Key"], "size": one["Size"], "e_tag": one["ETag"].strip('"')}
        | {"last_modified_date": one["LastModified"]}
        for one in reversed(listed)
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    s3.put_object(Bucket=bucket, Key=f"{REPORTS}data/1.parquet", Body=file.getvalue())
    data = {"key": f"{REPORTS}data/1.parquet", "MD5checksum": md5(file.getvalue(), usedforsecurity=False).hexdigest()}
    manifest = {"sourceBucket": bucket, "destinationBucket": f"arn:aws:s3:::{bucket}", "fileFormat": "Parquet"}
    content = json.dumps(manifest | {"files": [data]}).encode()
    folder = f"{REPORTS}{taken_at:%Y-%m-%dT%H-%MZ}/"
    s3.put_object(Bucket=bucket, Key=f"{folder}manifest.json", Body=content)
    s3.put_object(
        Bucket=bucket, Key=f"{folder}manifest.checksum", Body=md5(content, usedforsecurity=False).hexdigest().encode()
    )


def test_listing_replaces_the_inventory_of_an_earlier_try(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="runs/r/inventory/part-00001.parquet", Body=b"of an earlier try")

    inventory = _write(bucket, marker="_SUCCESS")

    assert inventory.source == "listing"
    assert datetime.now(UTC) - datetime.fromisoformat(inventory.taken_at) < timedelta(minutes=1)
    (frame,) = _inventory(s3, bucket).values()
    assert frame["key"].to_list() == ["images/a/1.jpg", "images/b/2.jpg"]


def test_report_and_listing_have_the_same_digest(s3: S3Client, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = _write(bucket, marker="_SUCCESS")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    _report(s3, bucket, yesterday)
    s3.put_object(Bucket=bucket, Key="images/a/after-the-report.jpg", Body=b"new")
    monkeypatch.setenv("FRUITS_BUCKET", bucket)
    monkeypatch.setenv("FRUITS_INVENTORY_REPORT", f"s3://{bucket}/{REPORTS}")
    settings.cache_clear()

    reported = _write(bucket, marker="_SUCCESS")

    assert reported.summary.digest == listed.summary.digest
    assert reported.source == f"s3://{bucket}/{REPORTS}{yesterday:%Y-%m-%dT%H-%MZ}/manifest.json"
    assert reported.taken_at == yesterday.replace(second=0, microsecond=0).isoformat(timespec="microseconds")
    (frame,) = _inventory(s3, bucket).values()
    assert sorted(frame["key"]) == ["images/a/1.jpg", "images/b/2.jpg"]


@pytest.mark.parametrize("folder", ["my reports/#1/daily/", "a?b/100%+c/", "é/reports/"])
def test_report_below_a_prefix_with_any_characters_is_read(
    s3: S3Client, bucket: str, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setattr("tests.unit.fruits_airflow.tasks.test_take_inventory.REPORTS", folder)
    _report(s3, bucket, datetime.now(UTC) - timedelta(days=1))
    monkeypatch.setenv("FRUITS_BUCKET", bucket)
    monkeypatch.setenv("FRUITS_INVENTORY_REPORT", f"s3://{bucket}/{folder}")
    settings.cache_clear()

    assert _write(bucket).source.startswith(f"s3://{bucket}/{folder}")
    assert len(_inventory(s3, bucket)) == 1


def test_inventory_of_the_complete_bucket_leaves_own_and_system_files_out(s3: S3Client, bucket: str) -> None:
    for key in (
        "features/latest.json",
        "features/runs/r/part-0.parquet",
        "logs/emr/j-1/stderr.gz",
        "images/a/Thumbs.db",
    ):
        s3.put_object(Bucket=bucket, Key=key, Body=b"no image")

    inventory = _write(bucket, prefix="")

    assert inventory.summary.images == 2
    assert inventory.left_out == {"own files": 3, "system files": 2}


def test_report_is_not_used_for_another_bucket(s3: S3Client, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUITS_INVENTORY_REPORT", f"s3://{bucket}/{REPORTS}")
    settings.cache_clear()

    assert _write(bucket).source == "listing"
    assert len(_inventory(s3, bucket)) == 1


@pytest.mark.usefixtures("s3")
def test_unusable_report_fails_the_run(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUITS_BUCKET", bucket)
    monkeypatch.setenv("FRUITS_INVENTORY_REPORT", f"s3://{bucket}/{REPORTS}")
    settings.cache_clear()

    with pytest.raises(AirflowFailException, match="There is no complete S3 Inventory report below s3://"):
        _write(bucket)


@pytest.fixture
def take(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Function that runs the task with some parameters."""

    def take(**params: object) -> dict[str, Any]:
        dag_run = SimpleNamespace(logical_date=datetime(2026, 3, 1, tzinfo=UTC), dag_id="daily", run_id="scheduled__1")
        defaults = {"bucket": bucket, "dataset": "default", "image_prefix": None, "marker": None}
        context = {"dag_run": dag_run, "params": defaults | params}
        monkeypatch.setattr(take_inventory, "get_current_context", lambda: context)
        result: dict[str, Any] = take_inventory.take_inventory.function()
        return result

    return take


def test_task_reports_what_it_left_out_and_doubtful_splits(
    s3: S3Client, bucket: str, take: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    s3.put_object(Bucket=bucket, Key="images/fruits-360/Test/Limes/1.jpg", Body=b"image")
    caplog.set_level("INFO")

    run = take()

    assert run["left_out"] == {"system files": 1}
    assert (run["images"], run["fitted"]) == (3, 3)
    assert ["fitted on all images, those of Test included" in warning for warning in run["warnings"]] == [True]
    assert "Objects left out, because they are not images: 1 system files." in caplog.text
    assert run["warnings"][0] in caplog.text


def test_prefix_without_images_fails_and_names_what_was_left_out(
    s3: S3Client, bucket: str, take: Callable[..., dict[str, Any]]
) -> None:
    s3.put_object(Bucket=bucket, Key="photos/.DS_Store", Body=b"no image")

    with pytest.raises(
        AirflowFailException, match=r"no images below s3://.*/photos/ \(objects left out: 1 system files"
    ):
        take(image_prefix="photos/")


@pytest.fixture
def claimed(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Function that takes a folder for a DAG run and returns its name."""

    def claimed(
        deployment: str,
        dag_id: str = "daily",
        run_id: str = "scheduled__1",
        day: int | None = 1,
        dataset: str = "default",
    ) -> str:
        monkeypatch.setenv("FRUITS_DEPLOYMENT", deployment)
        settings.cache_clear()
        dag_run = SimpleNamespace(
            logical_date=day and datetime(2026, 3, day, tzinfo=UTC),
            run_after=datetime(2026, 11, 29, 14, 10, 33, 123456, UTC),
            dag_id=dag_id,
            run_id=run_id,
        )
        context: Any = {"dag_run": dag_run}
        place = DatasetLayout(bucket, dataset)
        return take_inventory._claim_folder(context, S3Hook(), place).name  # noqa: SLF001 - a step of the task

    return claimed


def test_run_is_named_by_time_deployment_and_dag(claimed: Callable[..., str], bucket: str) -> None:
    assert claimed("orchard") == "2026-03-01T000000Z-orchard-daily"
    assert claimed(bucket) == "2026-03-01T000000Z-daily"


def test_run_without_a_logical_date_is_named_by_its_start_and_keeps_its_folder(
    claimed: Callable[..., str], bucket: str
) -> None:
    names = [claimed(bucket, run_id=run_id, day=None) for run_id in ("manual__1+00:00", "nightly from the API")]

    assert names == ["2026-11-29T141033Z-daily", "2026-11-29T141033Z-daily-2"]
    assert claimed(bucket, run_id="manual__1+00:00", day=None) == names[0], "a cleared run returns to its folder"


def test_deployments_and_dags_never_share_a_folder(claimed: Callable[..., str]) -> None:
    owners = [("a", "b-c"), ("a-b", "c"), ("EU/orchard", "c"), ("EU.orchard", "c"), ("o" * 100, "c"), ("o" * 99, "c")]

    names = [claimed(*owner) for owner in owners]

    assert len(set(names)) == len(owners)
    assert names[:2] == ["2026-03-01T000000Z-a-b-c", "2026-03-01T000000Z-a-b-c-2"]
    assert [claimed(*owner) for owner in owners] == names  # each try returns to its own
    assert all(re.fullmatch(r"[\w-]+", name) for name in names)


def test_runs_of_two_data_sets_claim_folders_of_the_same_name(
    claimed: Callable[..., str], s3: S3Client, bucket: str
) -> None:
    names = [claimed(bucket, run_id=f"manual__{name}", dataset=name) for name in ("default", "citrus", "citrus")]

    assert names == ["2026-03-01T000000Z-daily"] * 3
    for folder in ("features", "features/datasets/citrus"):
        assert s3.head_object(Bucket=bucket, Key=f"{folder}/runs/{names[0]}/claim.json")


def test_run_of_a_named_data_set_writes_its_inventory_below_it(
    s3: S3Client, bucket: str, take: Callable[..., dict[str, Any]]
) -> None:
    assert s3, "it has uploaded images"

    run = take(dataset="citrus")

    assert (run["bucket"], run["dataset"]) == (bucket, "citrus")
    assert run["uri"] == f"s3://{bucket}/features/datasets/citrus/runs/{run['name']}"


def test_published_folder_is_not_taken_again_by_its_own_run(
    claimed: Callable[..., str], s3: S3Client, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key=f"features/runs/{claimed('orchard')}/run.json", Body=b"{}")

    assert [claimed("orchard") for _ in range(2)] == ["2026-03-01T000000Z-orchard-daily-2"] * 2


@pytest.mark.parametrize("conditions", [True, False], ids=["conditional", "unconditional"])
def test_folder_that_another_run_claims_at_the_same_time_is_left_to_it(
    claimed: Callable[..., str], s3: S3Client, bucket: str, monkeypatch: pytest.MonkeyPatch, *, conditions: bool
) -> None:
    """The other run's claim is stored after this run has found none. Servers may refuse or accept the second PUT."""
    key = "features/runs/2026-03-01T000000Z-orchard-daily/claim.json"
    other = b'{"deployment": "orchard", "dag_id": "daily", "run_id": "another"}'
    put = claims._put  # noqa: SLF001 - between reading and writing

    def put_second(*arguments: Any) -> None:  # noqa: ANN401
        monkeypatch.setattr(claims, "_put", put)
        if not conditions:
            put(*arguments)
        s3.put_object(Bucket=bucket, Key=key, Body=other)

    monkeypatch.setattr(claims, "_put", put_second)

    assert claimed("orchard") == "2026-03-01T000000Z-orchard-daily-2"
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == other


def test_refused_condition_is_no_error(bucket: str) -> None:
    hook, layout = S3Hook(), DatasetLayout(bucket).run("r")

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "PutObject")

    hook.conn.meta.events.register_first("before-call.s3.PutObject", refuse)

    with pytest.raises(AirflowException, match=f"Another run is claiming s3://{bucket}/features/runs/r"):
        claims.claim(hook, layout, {"deployment": "orchard", "dag_id": "daily", "run_id": "1"})


def test_claim_is_a_conditional_put(bucket: str) -> None:
    hook, layout, sent = S3Hook(), DatasetLayout(bucket).run("r"), list[dict[str, str]]()
    hook.conn.meta.events.register_first("before-call.s3.PutObject", lambda params, **_: sent.append(params["headers"]))

    assert claims.claim(hook, layout, {"deployment": "orchard", "dag_id": "daily", "run_id": "1"})
    assert [headers["If-None-Match"] for headers in sent] == ["*"]
