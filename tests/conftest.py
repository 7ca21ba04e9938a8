"""What all tests share: an Airflow home of their own, and the local AWS."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Airflow reads its home when it is first imported: before any test module is.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="fruits-airflow-")
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(ROOT / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(ROOT / "plugins")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

pytest_plugins = ["include.local_aws.pytest_plugin", "tests.spark_cluster"]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of a level that share something costly (a Spark session, a published run) in one process."""
    level = item.path.relative_to(ROOT / "tests").parts[0]
    if level != "unit":
        item.add_marker(pytest.mark.xdist_group(level))
