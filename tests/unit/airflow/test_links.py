"""A task's links lead where its logs, its results and its report are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fruits_airflow.links import ReportLink, StepLogsLink


class Stored:
    """A task instance that only keeps what is pushed."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:  # noqa: ANN401
        self.values[key] = value


def test_logs_link_keeps_the_prefix_of_the_log_uri() -> None:
    stored = Stored()
    hook = SimpleNamespace(conn_region_name="eu-west-1", conn_partition="aws")
    operator = SimpleNamespace(hook=hook, do_xcom_push=True)

    StepLogsLink.to("s3://fruits/logs/emr/j-1/steps", {"ti": stored}, operator)  # type: ignore[arg-type]

    assert StepLogsLink().format_link(**stored.values[StepLogsLink.key]) == (
        "https://console.aws.amazon.com/s3/buckets/fruits?region=eu-west-1&prefix=logs/emr/j-1/steps/"
    )


@pytest.mark.parametrize("base", ["https://airflow.example/team", "https://airflow.example/team/"])
def test_report_link_leads_to_the_dag_runs_report(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    key = SimpleNamespace(dag_id="fruits_features", run_id="manual__2026-03-01T00:00:00+00:00")

    assert ReportLink().get_link(SimpleNamespace(), ti_key=key) == (  # type: ignore[arg-type]
        "https://airflow.example/team/fruits/dags/fruits_features/dag_runs/manual__2026-03-01T00%3A00%3A00%2B00%3A00/report"
    )
