"""What is published is announced with what those downstream need; a backfill is not."""

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

POINTER = {name: f"its {name}" for name in ("run", "published_at", "inventory", "counts", "projection", "versions")}


@pytest.fixture
def announced(local_aws: LocalAws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    """Announce what is published, as a run of some type; gives the event's extra."""
    pointer = {**POINTER, "paths": {"features": "s3://"}, "checksums": {"features/part-00000.parquet": "etag:0"}}
    local_aws.s3().put_object(Bucket=bucket, Key="features/latest.json", Body=json.dumps(pointer).encode())

    def announced(run_type: str) -> dict[str, Any]:
        events = {announce.FEATURES: SimpleNamespace(extra={})}
        context = {"dag_run": SimpleNamespace(run_type=run_type), "outlet_events": events}
        monkeypatch.setattr(announce, "get_current_context", lambda: context)
        monkeypatch.setattr(announce.run_context, "run_of", lambda _: {"bucket": bucket})
        announce.announce.function()
        return events[announce.FEATURES].extra

    return announced


def test_event_tells_what_was_published(announced: Any, bucket: str) -> None:  # noqa: ANN401
    assert announced("scheduled") == {"bucket": bucket, **POINTER, "paths": {"features": "s3://"}}


def test_backfill_is_not_announced(announced: Any) -> None:  # noqa: ANN401
    with pytest.raises(AirflowSkipException, match="A backfill is not announced"):
        announced("backfill")
