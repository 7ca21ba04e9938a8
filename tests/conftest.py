"""Shared fixtures and settings of all tests: a temporary Airflow home, and the local AWS."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer

ROOT = Path(__file__).parent.parent

# Airflow reads its home at its first import, so this precedes the imports of test modules.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="fruits-airflow-")
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(ROOT / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(ROOT / "plugins")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

# The user's AWS configuration is not that of the tests.
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]

pytest_plugins = [
    "include.dev.local_aws.pytest_plugin",
    "tests.support.browser",
    "tests.support.failures",
    "tests.support.service_models",
    "tests.support.skips",
    "tests.support.spark_cluster",
    "tests.support.wheels",
]

INDEPENDENT_FILES = {
    "test_airflow_faults.py",
    "test_airflow_reruns.py",
    "test_browser.py",
    "test_documented_commands.py",
    "test_mwaa_package_set.py",
    "test_real_photographs.py",
    "test_s3a.py",
    "test_wheel.py",
    "test_yarn.py",
}
"""Files that share no fixture with the other files of their level."""
INDEPENDENT_TESTS = "test_fault_matrix.py"
"""File of long tests that share little with each other."""


class LevelScheduling(LoadScopeScheduling):
    """Scheduling that keeps tests with an expensive shared fixture (Spark session, published run) in one process.

    `--dist loadgroup` would do the same with marks, but xdist 3.8 loses them with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        level, name = file.split("/")[1], Path(file).name
        if name == INDEPENDENT_TESTS:
            return nodeid
        return level if level in {"e2e", "spark"} and name not in INDEPENDENT_FILES else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LevelScheduling:
    """Return the scheduler of pytest-xdist."""
    return LevelScheduling(config, log)


def pytest_unconfigure() -> None:
    """Remove the temporary Airflow home of this process."""
    shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True)
