"""What all tests share: an Airflow home of their own, and the local AWS."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer

ROOT = Path(__file__).parent.parent

# Airflow reads its home when it is first imported: before any test module is.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="fruits-airflow-")
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(ROOT / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(ROOT / "plugins")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

pytest_plugins = ["include.dev.local_aws.pytest_plugin", "tests.support.spark_cluster", "tests.support.wheels"]


PUBLISH_FOR_THEMSELVES = {
    "test_airflow_faults.py",
    "test_airflow_reruns.py",
    "test_browser.py",
    "test_real_photographs.py",
}
"""Tests of a level that share nothing with the others of it."""
EACH_BY_ITSELF = "test_fault_matrix.py"
"""Long tests that share little even with each other."""


class LevelScheduling(LoadScopeScheduling):
    """Keeps the tests of a level that share something costly (a Spark session, a published run) in one process.

    `--dist loadgroup` would do the same with marks, but xdist 3.8 loses them under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        level, name = file.split("/")[1], Path(file).name
        if name == EACH_BY_ITSELF:
            return nodeid
        return level if level in {"e2e", "spark"} and name not in PUBLISH_FOR_THEMSELVES else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LevelScheduling:
    """Tell xdist how to spread the tests."""
    return LevelScheduling(config, log)
