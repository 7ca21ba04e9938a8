"""The files for MWAA: the DAGs parse and the tasks find their files without the rest of the checkout."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from include.artifacts import bundle
from include.deploy import mwaa
from tests.support.mwaa.environment import CONSTRAINTS, versions

ROOT = Path(__file__).parents[4]
MWAA_PROVIDES = {
    *("apache-airflow", "boto3", "botocore"),
    *("asgiref", "fastapi", "markupsafe", "packaging", "psutil", "pydantic"),
    *("sqlalchemy", "starlette", "tenacity", "uvicorn"),  # all of them Airflow's own
}
ON_CLUSTERS_ONLY = {"pyspark", "py4j", "onnx"}

PROBE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow import plugins_manager

bag = DagBag(sys.argv[1])
import fruits_airflow, fruits_features, include
from include.artifacts import bundle
plugins, errors = plugins_manager._get_plugins()
print(json.dumps({
    "errors": bag.import_errors,
    "dags": sorted(bag.dags),
    "files": [module.__file__ for module in (fruits_airflow, fruits_features, include)],
    "artifacts": sorted(bundle.build(bundle.application_folder())),
    "wheelhouse": bundle.wheelhouse_name(bundle.application_folder(), onnx=True),
    "plugins": [plugin.name for plugin in plugins if plugin.name == "fruits"],
    "plugin_errors": errors,
    "report": [name for name in sys.modules if name == "include.report.build"],
}))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Airflow home that MWAA creates from the files."""
    layout, home = tmp_path_factory.mktemp("layout"), tmp_path_factory.mktemp("airflow")
    mwaa.build(layout / "mwaa")
    (layout / "mwaa" / "dags").rename(home / "dags")
    (layout / "mwaa" / "requirements.txt").rename(home / "requirements.txt")
    zipfile.ZipFile(layout / "mwaa" / "plugins.zip").extractall(home / "plugins")  # our own archive
    return home


def test_dags_parse_from_the_layout_alone(home: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON"))}
    environment |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": f"{home / 'plugins'}:{home / 'dags'}",
    }

    parsed = subprocess.run(
        [sys.executable, "-c", PROBE, str(home / "dags")],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert parsed.returncode == 0, parsed.stderr[-3000:]
    found = json.loads(parsed.stdout.splitlines()[-1])
    assert found["errors"] == {}
    assert found["dags"] == sorted({file.stem for file in (home / "dags").glob("*.py")})
    assert "fruits_features" in found["dags"]
    assert [Path(file).is_relative_to(home / "plugins") for file in found["files"]] == [True, True, True]
    assert found["artifacts"] == ["application", "bootstrap", "launcher", "validation", "validator"]
    assert found["wheelhouse"].startswith("wheelhouse-")
    assert found["plugins"] == ["fruits"]
    assert found["plugin_errors"] == {}
    assert found["report"] == [], "looking for plugins must not import the rest"


def test_requirements_name_all_that_the_code_imports(home: Path) -> None:
    wanted = {line.partition("==")[0] for line in (home / "requirements.txt").read_text().splitlines()}
    distributions = packages_distributions()
    ours = {path.name.removesuffix(".py") for path in (home / "plugins").iterdir()}
    imported = {name for file in (home / "plugins").rglob("*.py") for name in _imported(file)} - ours
    third = {
        distributions[name][0].lower() for name in imported - set(sys.stdlib_module_names) if name in distributions
    }
    provided = {name for name in third if name.startswith("apache-airflow")} | MWAA_PROVIDES | ON_CLUSTERS_ONLY

    assert {name.replace("_", "-") for name in third} - provided <= wanted
    assert {"numpy", "polars", "obstore"} <= third


def _imported(file: Path) -> set[str]:
    """Return the top-level modules that a file imports when it runs, without those for types."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_requirements_leave_the_constraints_to_mwaa(home: Path) -> None:
    """Check the rule of MWAA's image (`mwaa/utils/user_requirements.py`), which also matches comments."""
    text = (home / "requirements.txt").read_text()

    assert not re.search(r"-c |--constraint ", text)
    assert versions(text).keys().isdisjoint(versions(CONSTRAINTS.read_text()))


def test_layout_holds_the_archive_that_mwaas_python_cannot_make(home: Path) -> None:
    archive = bundle.build(home / "plugins")["application"]

    assert (home / "plugins" / archive.name).read_bytes() == archive.content


def test_layout_excludes_deployment_and_development(home: Path) -> None:
    parts = {file.relative_to(home / "plugins").parts for file in (home / "plugins").rglob("*") if file.is_file()}

    assert ("include", "artifacts", "bootstrap.sh") in parts
    assert ("include", "report", "page", "page.html.j2") in parts
    assert not [one for one in parts if one[:2] in {("include", "dev"), ("include", "deploy")}]
    assert not (home / "dags" / "fruits_features_spark.py").exists()


def test_layout_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    mwaa.build(tmp_path / "a")
    mwaa.build(tmp_path / "b")

    assert (tmp_path / "a" / "plugins.zip").read_bytes() == (tmp_path / "b" / "plugins.zip").read_bytes()
    assert (ROOT / "dags" / "fruits_features.py").exists()
