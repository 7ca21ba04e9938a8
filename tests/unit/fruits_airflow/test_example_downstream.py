"""The example of a downstream DAG reads a published run through Airflow's connection."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.tasks.announce import FEATURES
from fruits_features.contract.layout import DatasetLayout
from tests.support.airflow.connections import use_only_the_connection
from tests.support.published_runs import COLOURS, COUNTS, NAME, publish, put_pointer

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.dev.local_aws.local import LocalAws

DAG = Path(__file__).parents[3] / "dags" / "fruits_example_downstream.py"
EXPECTED = dict.fromkeys(sorted(COLOURS), sum(COUNTS.values()))


@pytest.fixture
def count(
    bucket: str, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[Any]], dict[str, int]]:
    """The function of the task `count_images`, given events. Only the connection has credentials that S3 accepts."""
    use_only_the_connection(monkeypatch, aws_environment)
    function = DagBag(str(DAG)).dags["fruits_example_downstream"].get_task("count_images").python_callable

    def call(events: list[Any]) -> dict[str, int]:
        params = {"bucket": bucket, "dataset": "default"}
        context = {"params": params, "triggering_asset_events": {FEATURES: events}}
        monkeypatch.setitem(function.__globals__, "get_current_context", lambda: context)
        counts: dict[str, int] = function()
        return counts

    return call


def test_images_are_counted_with_the_credentials_of_the_connection(
    count: Callable[[list[Any]], dict[str, int]], local_aws: LocalAws, bucket: str, tmp_path: Path
) -> None:
    pointer = publish(local_aws.s3(), bucket, tmp_path)
    pointer["paths"]["run"] = DatasetLayout(bucket).run(NAME).record
    put_pointer(local_aws.s3(), bucket, pointer)
    event = SimpleNamespace(extra={"bucket": bucket, "dataset": "default", **pointer})

    assert count([]) == EXPECTED
    assert count([event]) == EXPECTED


def test_bucket_without_a_published_run_fails_with_the_fix(count: Callable[[list[Any]], dict[str, int]]) -> None:
    with pytest.raises(AirflowFailException, match="Run the DAG fruits_features first"):
        count([])
