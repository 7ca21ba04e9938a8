"""docker-compose.yaml, as `docker-compose config` reads it. Nothing is started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.credentials import Credentials

from include.dev.local_aws.client import client_environment

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "include" / "dev" / "containers"
BOOTSTRAP = ROOT / "include" / "artifacts" / "bootstrap.sh"
SECRETS = ("POSTGRES_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_API_SECRET_KEY")
COMPOSE = shutil.which("docker-compose")

CLIENT_VARIABLES = ("AWS_", "AIRFLOW_CONN_AWS", "FRUITS_EMR_")
"""Beginnings of the names of the variables of `client_environment`."""

needs_compose = pytest.mark.skipif(COMPOSE is None, reason="docker-compose is not installed (Debian: docker-compose)")


def _config(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMPOSE), "--file", str(ROOT / "docker-compose.yaml"), "config"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the secrets of make-secrets.sh, run in a copy of its folders so that the checkout's secrets are kept."""
    checkout = tmp_path_factory.mktemp("checkout")
    script = shutil.copytree(CONTAINERS, checkout / "include" / "dev" / "containers") / "make-secrets.sh"
    subprocess.run([script], check=True, stdout=subprocess.DEVNULL)
    file = checkout / ".local" / "compose.env"
    once = file.read_text()
    subprocess.run([script], check=True, stdout=subprocess.DEVNULL)
    assert file.read_text() == once
    assert file.stat().st_mode & 0o077 == 0
    return dict(line.split("=", 1) for line in once.splitlines())


@pytest.fixture(scope="module")
def services(secrets: dict[str, str]) -> dict[str, Any]:
    result = _config(secrets)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = yaml.safe_load(result.stdout)["services"]
    return found


@needs_compose
def test_compose_has_all_services(services: dict[str, Any]) -> None:
    airflow = {"airflow-init", "api-server", "scheduler", "dag-processor", "triggerer"}
    spark = {"spark-master", "spark-worker-1", "spark-worker-2"}
    assert set(services) == airflow | spark | {"postgres", "local-aws", "sample-images"}


@needs_compose
def test_compose_publishes_on_loopback_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 4
    for port in published:
        host = port["host_ip"] if isinstance(port, dict) else port.rpartition(":")[0].rpartition(":")[0]
        assert host == "127.0.0.1"
    assert not [name for name, service in services.items() if service.get("network_mode") == "host"]


@needs_compose
@pytest.mark.parametrize("missing", [*SECRETS, "AIRFLOW_ADMIN_PASSWORD"])
def test_compose_without_a_secret_names_the_remedy(secrets: dict[str, str], missing: str) -> None:
    result = _config({name: value for name, value in secrets.items() if name != missing})

    assert result.returncode != 0
    assert "run include/dev/containers/make-secrets.sh first" in result.stderr


def test_compose_file_holds_no_secret() -> None:
    text = (ROOT / "docker-compose.yaml").read_text()

    assigned = re.findall(r"^ +(\w*(?:PASSWORD|SECRET|FERNET_KEY)\w*): *(.*)$", text, re.MULTILINE)
    literal = {name for name, value in assigned if not value.startswith("${")}
    assert len(assigned) == 6
    assert literal == set()
    assert re.findall(r"://\w+:(?!\$\{)[^@\s]*@", text) == []


@needs_compose
def test_airflow_services_share_secrets_database_and_api(services: dict[str, Any], secrets: dict[str, str]) -> None:
    for name in ("airflow-init", "api-server", "scheduler", "dag-processor", "triggerer"):
        environment = services[name]["environment"]
        assert environment["AIRFLOW__API_AUTH__JWT_SECRET"] == secrets["AIRFLOW_JWT_SECRET"]
        assert environment["AIRFLOW__CORE__FERNET_KEY"] == secrets["AIRFLOW_FERNET_KEY"]
        assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://api-server:8080/execution/"
        assert secrets["POSTGRES_PASSWORD"] in environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == secrets["POSTGRES_PASSWORD"]


@needs_compose
def test_both_dags_find_their_configuration(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

    scheduler, master, aws = services["scheduler"], services["spark-master"], services["local-aws"]
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", scheduler["environment"]["AIRFLOW_CONN_SPARK_DEFAULT"])
    connection = SparkSubmitHook(conn_id="spark_default")._resolve_connection()  # noqa: SLF001
    host, port = _option(master, "--host"), _option(master, "--port")
    assert connection["master"] == f"spark://{host}:{port}"
    assert host == "spark-master"
    assert connection["deploy_mode"] == "client"
    assert _option(scheduler, "--spark-driver-host") == "scheduler"

    folders = {name: _mounted(services[name])["s3"] for name in ("local-aws", "scheduler", "spark-worker-1")}
    assert set(folders.values()) == {"/opt/fruits/.local/aws/s3"}
    for name in ("scheduler", "triggerer", "spark-worker-1", "spark-worker-2", "sample-images"):
        assert services[name]["environment"]["AWS_ENDPOINT_URL_S3"] == "http://local-aws:4566"
        assert services[name]["environment"]["AWS_ENDPOINT_URL"] == "http://local-aws:4567"
    assert "--host=0.0.0.0" in aws["command"]


@needs_compose
def test_aws_clients_have_the_same_environment_in_containers_and_outside(
    services: dict[str, Any], secrets: dict[str, str]
) -> None:
    outside = client_environment(
        4566, 4567, Credentials(secrets["LOCAL_AWS_ACCESS_KEY_ID"], secrets["LOCAL_AWS_SECRET_ACCESS_KEY"])
    )
    for name in ("scheduler", "triggerer", "spark-worker-1", "spark-worker-2", "sample-images"):
        environment = services[name]["environment"]
        inside = {key: value for key, value in environment.items() if key.startswith(CLIENT_VARIABLES)}
        assert inside == {key: value.replace("127.0.0.1", "local-aws") for key, value in outside.items()}, (
            f"{name} would find the local AWS otherwise than `make up` does"
        )


@needs_compose
def test_two_workers_join_the_master(services: dict[str, Any]) -> None:
    for name in ("spark-worker-1", "spark-worker-2"):
        assert services[name]["command"][-1] == "spark://spark-master:7077"
        assert not [word for word in services[name]["command"] if word.startswith("--") and "=" in word]


@needs_compose
def test_every_own_service_runs_a_script_from_the_one_image(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name == "postgres":
            continue
        script = ROOT / service["command"][0]
        assert script.parent == CONTAINERS
        assert os.access(script, os.X_OK)
        assert service["image"] == "fruits-image-features:local"
        without_transient = service["restart"] != "no"
        assert without_transient == ("healthcheck" in service), f"{name}: a service that stays is watched"


def test_image_installs_the_lock_with_hashes_as_another_user() -> None:
    dockerfile = (CONTAINERS / "Dockerfile").read_text()

    assert "--require-hashes -r requirements.txt" in dockerfile
    assert dockerfile.rindex("\nUSER fruits") > dockerfile.rindex("\nRUN ")
    assert "spark" not in "".join(re.findall(r"^(?:FROM|ADD) .*$", dockerfile, re.MULTILINE)).lower()  # only the lock's


def test_lock_has_the_spark_of_emr_once() -> None:
    lock = (ROOT / "requirements.txt").read_text()
    assert set(re.findall(r"^pyspark(?:-client)?==([\d.]+)", lock, re.MULTILINE)) == {"4.1.1"}


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed (Debian: shellcheck)")
def test_scripts_are_clean_to_shellcheck() -> None:
    scripts = [
        *CONTAINERS.glob("*.sh"),
        *(ROOT / "tests" / "docker").rglob("*.sh"),
        ROOT / "include" / "dev" / "environment.sh",
        ROOT / ".ci" / "run",
        BOOTSTRAP,
    ]
    result = subprocess.run(["shellcheck", "-x", *scripts], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    assert result.returncode == 0, result.stdout


def _option(service: dict[str, Any], name: str) -> str:
    words: list[str] = service["command"]
    return words[words.index(name) + 1]


def _mounted(service: dict[str, Any]) -> dict[str, str]:
    """Return the folders by volume. Versions of compose print them differently."""
    pairs = [
        (volume["source"], volume["target"]) if isinstance(volume, dict) else tuple(volume.split(":")[:2])
        for volume in service["volumes"]
    ]
    return dict(pairs)
