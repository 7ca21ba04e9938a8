"""A published run is announced with the data that downstream DAGs need. A backfill is not announced."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from fruits_airflow.tasks import announce

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")

POINTER: dict[str, Any] = {
    **{name: f"its {name}" for name in ("run", "counts", "projection", "versions")},
    "published_at": "2026-11-22T08:00:00+00:00",
    "inventory": {"taken_at": "2026-11-22T07:00:00+00:00"},
}


@pytest.fixture
def announce_as(local_aws: LocalAws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    """Announce the published run as a run of a given type, and return the event's extra."""
    pointer = {
        **POINTER,
        "paths": {"features": "s3://", "run": "s3://"},
        "checksums": {"features/part-00000.parquet": "etag:0"},
    }
    for key, run in (("features/latest.json", "its run"), ("features/datasets/citrus/latest.json", "a run of citrus")):
        body = json.dumps(pointer | {"run": run}).encode()
        local_aws.s3().put_object(Bucket=bucket, Key=key, Body=body)

    def announce_as(run_type: str, dataset: str = "default") -> dict[str, Any]:
        events = {announce.FEATURES: SimpleNamespace(extra={})}
        context = {"dag_run": SimpleNamespace(run_type=run_type), "outlet_events": events}
        run = {"bucket": bucket, "dataset": dataset, "region": "eu-west-1"}
        monkeypatch.setattr(announce, "get_current_context", lambda: context)
        monkeypatch.setattr(announce.run_context, "run_of", lambda _: run)
        announce.announce.function()
        return events[announce.FEATURES].extra

    return announce_as


def test_event_contains_the_published_run(announce_as: Any, bucket: str) -> None:  # noqa: ANN401
    place = {"bucket": bucket, "dataset": "default"}
    assert announce_as("scheduled") == {**place, **POINTER, "paths": {"features": "s3://", "run": "s3://"}}


def test_event_names_the_data_set_and_its_run(announce_as: Any) -> None:  # noqa: ANN401
    event = announce_as("manual", "citrus")

    assert (event["dataset"], event["run"]) == ("citrus", "a run of citrus")


def test_backfill_is_not_announced(announce_as: Any) -> None:  # noqa: ANN401
    with pytest.raises(AirflowSkipException, match="A backfill is not announced"):
        announce_as("backfill")
