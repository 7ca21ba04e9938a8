"""A standalone cluster that cannot start names the reason. tests/e2e runs the complete flow on one that can."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from include.dev.spark_standalone import SparkClusterError, StandaloneCluster

if TYPE_CHECKING:
    from pathlib import Path


def test_cluster_without_java_names_the_logs_and_leaves_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"JAVA_HOME": str(tmp_path / "nowhere")}

    with (
        pytest.raises(SparkClusterError, match=r"did not start: .*\*\.log"),
        StandaloneCluster(tmp_path, environment),
    ):
        pass

    assert "java" in (tmp_path / "master.log").read_text()
