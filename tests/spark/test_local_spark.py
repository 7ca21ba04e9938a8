"""The cluster of `make up SPARK=1` is found through Airflow's connection, and ends with the local AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.spark import require_cluster
from include.dev import local_spark
from include.dev.local_aws.local import LocalAws

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT: Any = {}


def test_cluster_is_found_once_started_and_ends_with_the_local_aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalAws(tmp_path / "aws") as aws:
        for name, value in local_spark.driver_environment(tmp_path / "spark", aws).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(AirflowFailException, match="does not answer"):
            require_cluster(CONTEXT)

        local_spark.start(tmp_path / "spark", aws)
        started = {process.pid for process in aws.processes()}
        local_spark.start(tmp_path / "spark", aws)

        require_cluster(CONTEXT)
        assert {process.pid for process in aws.processes()} == started, "a second start changes nothing"
    with pytest.raises(AirflowFailException, match="does not answer"):
        require_cluster(CONTEXT)
