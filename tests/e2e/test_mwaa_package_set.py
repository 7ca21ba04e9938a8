"""Amazon MWAA's own packages run what `make mwaa` builds: Airflow 3.3.1 on Python 3.12 with its constraints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from include.deploy import mwaa
from include.dev.local_aws.deployment import deploy
from include.dev.sample_images import generate, make_plan
from tests.support.airflow.pipeline import DATE, Pipeline
from tests.support.mwaa.environment import CONSTRAINTS, MwaaEnvironment, mwaa_environment, versions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws

PROBE = CONSTRAINTS.with_name("probe.py")
NOT_INHERITED = ("AIRFLOW", "AWS", "FRUITS", "PYTHON", "VIRTUAL_ENV")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MWAA's Airflow home with the layout in it, unpacked as MWAA does."""
    layout, home = tmp_path_factory.mktemp("layout") / "mwaa", tmp_path_factory.mktemp("airflow")
    mwaa.build(layout)
    (layout / "dags").rename(home / "dags")
    (layout / "requirements.txt").rename(home / "requirements.txt")
    zipfile.ZipFile(layout / "plugins.zip").extractall(home / "plugins")  # our own archive
    return home


@pytest.fixture(scope="module")
def packages(home: Path) -> MwaaEnvironment:
    return mwaa_environment(home / "requirements.txt")


@pytest.fixture(scope="module")
def environment(home: Path, packages: MwaaEnvironment) -> Mapping[str, str]:
    """Environment of MWAA's processes. MWAA sets PYTHONPATH itself, so the test does not."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    return inherited | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__EXECUTE_TASKS_NEW_PYTHON_INTERPRETER": "True",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "PATH": f"{packages.python.parent}{os.pathsep}{os.environ['PATH']}",
    }


def test_requirements_change_nothing_that_the_image_brings(packages: MwaaEnvironment) -> None:
    assert packages.image["apache-airflow-providers-amazon"] == "9.34.0"
    assert packages.installed.items() >= packages.image.items()


def test_all_that_requirements_add_has_a_fixed_version(home: Path, packages: MwaaEnvironment) -> None:
    fixed = versions(CONSTRAINTS.read_text()) | versions((home / "requirements.txt").read_text())

    assert packages.installed.items() - packages.image.items() <= fixed.items()


@pytest.fixture(scope="module")
def seen(home: Path, packages: MwaaEnvironment, environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Results of parsing the layout, for MWAA's interpreter and for ours."""
    pythons = {"mwaa": str(packages.python), "here": sys.executable}
    return {
        where: _probe([python, "-P", str(PROBE), str(home / "dags")], environment) for where, python in pythons.items()
    }


@pytest.mark.parametrize(("where", "provider"), [("mwaa", "9.34.0"), ("here", "9.39.0")])
def test_dags_parse_and_triggers_survive_the_database(
    where: str, provider: str, home: Path, seen: dict[str, dict[str, Any]]
) -> None:
    here = seen[where]

    assert here["versions"]["-providers-amazon"] == provider
    assert (here["errors"], here["plugin_errors"], here["plugins"]) == ({}, {}, ["fruits"])
    assert here["dags"] == {file.stem: True for file in (home / "dags").glob("*.py")}
    assert [trigger["same"] for trigger in here["triggers"].values()] == [True] * 4


@pytest.mark.parametrize("where", ["mwaa", "here"])
def test_triggers_are_patient_with_either_provider(where: str, seen: dict[str, dict[str, Any]]) -> None:
    triggers = seen[where]["triggers"]

    patient = {"mode": "standard", "total_max_attempts": 10}
    assert {task_id: one["retries"] for task_id, one in triggers.items() if task_id != "wait_for_images"} == {
        "cluster_ready": patient,
        "featurize_and_reduce": patient,
        "terminate_cluster": patient,
    }


def test_application_is_the_same_whichever_python_builds_it(seen: dict[str, dict[str, Any]]) -> None:
    assert seen["mwaa"]["artifacts"] == seen["here"]["artifacts"]
    assert seen["mwaa"]["artifacts"]["compiled"] > 0


def test_run_of_the_dag_publishes(
    local_aws: LocalAws,
    packages: MwaaEnvironment,
    environment: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    deploy(local_aws.s3())
    images = tmp_path_factory.mktemp("images")
    generate(images, make_plan(["Avocado", "Banana"], 48), seed=0, jobs=1, progress=False)
    watched = {**environment, **local_aws.environment}
    pipeline = Pipeline(local_aws, local_aws.s3(), local_aws.create_bucket("mwaa"), watched)
    pipeline.put_folder(images)
    migrate = [packages.python.with_name("airflow"), "db", "migrate"]
    subprocess.run(migrate, env=watched, check=True, capture_output=True)

    run = pipeline.run_installed_command(DATE, k=8)

    assert run.ok, run.error
    assert "Task failed with exception" not in run.log, run.error
    assert "48 of 48 images are new: one node." in run.log, "MWAA's packages count the new images"
    assert "cannot be counted" not in run.log
    assert pipeline.published()["counts"] == {"inventory": 48, "features": 48, "quarantine": 0}
    not_passed = {check["name"]: check["severity"] for check in pipeline.record()["checks"] if not check["passed"]}
    assert not_passed == {
        "quarantine: values of all columns": "not checked",
        "recogniser: accuracy against the published run": "not checked",
        "drift: comparison with the published run": "not checked",
    }


def _probe(command: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    ran = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    seen: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return seen
