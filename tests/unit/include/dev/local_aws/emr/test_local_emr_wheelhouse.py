"""Clusters install from a wheelhouse in S3 with the bootstrap script of EMR, without a package index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from include.artifacts import bundle, wheelhouse
from include.deploy import uploads
from include.deploy.uploads import Upload
from include.dev.local_aws.deployment import prepare_nodes
from include.dev.local_aws.emr.states import ACTIVE
from include.dev.local_aws.state import DEFAULT_BUCKET
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.include.dev.local_aws.conftest import Emr

SHOW = "import sys, stone; print(stone.TAG, sys.prefix)"


class Deployed:
    """A lock of one small wheel, its wheelhouse and its bootstrap script, in a bucket."""

    def __init__(self, emr: Emr, index: Path, tmp_path: Path, version: str, *, bucket: str = "") -> None:
        self.emr, self.bucket = emr, bucket or emr.bucket
        self.lock = f"stone=={version} --hash=sha256:{make_wheel(index, 'stone', version)}"
        self.house = wheelhouse.gather([self.lock], [wheelhouse.LOCAL], tmp_path / "wheels")
        self.list = wheelhouse.name_of(self.lock)
        script = bundle.BOOTSTRAP.read_text().replace("@REQUIREMENTS@", self.lock)
        for wheel in self.house.wheels:
            uploads.send(emr.s3, self.bucket, Upload(f"artifacts/{wheel.name}", wheel.path))
        self.put(self.list, self.house.lists[self.list].encode())
        self.put("bootstrap.sh", script.encode())

    def put(self, name: str, content: bytes) -> None:
        self.emr.s3.put_object(Bucket=self.bucket, Key=f"artifacts/{name}", Body=content)

    def cluster(self) -> str:
        base = f"s3://{self.bucket}/artifacts/"
        action = {"Path": f"{base}bootstrap.sh", "Args": [f"{base}{self.list}"]}
        return self.emr.create(BootstrapActions=[{"Name": "wheels", "ScriptBootstrapAction": action}])

    def bootstrap_log(self, cluster: str, stream: str) -> str:
        node = self.emr.api.list_instances(ClusterId=cluster)["Instances"][0]["Ec2InstanceId"]
        return self.emr.log(f"{cluster}/node/{node}/bootstrap-actions/1/{stream}.gz")

    def failure(self) -> str:
        """Return the output of a new cluster's failed bootstrap."""
        cluster = self.cluster()
        status = self.emr.wait(cluster, "TERMINATED_WITH_ERRORS", "WAITING")
        assert status["StateChangeReason"]["Code"] == "BOOTSTRAP_FAILURE"
        return self.bootstrap_log(cluster, "stderr")


def _run(emr: Emr, cluster: str, program: str) -> tuple[str, str]:
    """Return state and output of a step that runs a Python program."""
    (step,) = emr.add(cluster, emr.step("python3.11", "-c", program))
    status: dict[str, Any] = emr.wait_step(cluster, step, "COMPLETED", "FAILED")
    stream = "stdout" if status["State"] == "COMPLETED" else "stderr"
    return status["State"], emr.log(f"{cluster}/steps/{step}/{stream}.gz")


def test_node_has_installed_packages_and_nothing_of_this_machine(emr: Emr, index: Path, tmp_path: Path) -> None:
    deployed = Deployed(emr, index, tmp_path, "1.0")
    cluster = deployed.cluster()
    emr.wait(cluster, "WAITING")

    assert _run(emr, cluster, SHOW)[0] == "COMPLETED"
    assert "py3-none-any" in _run(emr, cluster, SHOW)[1]
    assert "No module named 'numpy'" in _run(emr, cluster, "import numpy")[1]
    assert _run(emr, cluster, "import pyspark")[0] == "COMPLETED"


def test_nodes_are_prepared_before_the_first_cluster(
    emr: Emr, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed = Deployed(emr, index, tmp_path, "1.2", bucket=DEFAULT_BUCKET)
    (tmp_path / "requirements.txt").write_text(deployed.lock)
    script = bundle.bootstrap(tmp_path)
    deployed.put(script.name, script.content)
    monkeypatch.setattr(bundle, "application_folder", lambda: tmp_path)

    prepare_nodes(emr.api)

    (preparing,) = emr.api.list_clusters(ClusterStates=[*ACTIVE])["Clusters"]
    status = emr.wait(preparing["Id"], "TERMINATED", "TERMINATED_WITH_ERRORS")
    assert status["StateChangeReason"]["Code"] == "ALL_STEPS_COMPLETED"
    for wheel in deployed.house.wheels:
        deployed.put(wheel.name, b"no longer needed")
    cluster = deployed.cluster()
    emr.wait(cluster, "WAITING")
    assert _run(emr, cluster, SHOW)[0] == "COMPLETED"


def test_second_cluster_reuses_the_packages_of_the_first(emr: Emr, index: Path, tmp_path: Path) -> None:
    deployed = Deployed(emr, index, tmp_path, "1.1")
    emr.wait(deployed.cluster(), "WAITING")
    for wheel in deployed.house.wheels:
        deployed.put(wheel.name, b"no longer needed")

    second = deployed.cluster()
    emr.wait(second, "WAITING")

    assert "installed already" in deployed.bootstrap_log(second, "stdout")


@pytest.fixture
def fresh(emr: Emr, index: Path, tmp_path: Path) -> Deployed:
    """Wheelhouse that is never installed, because its bootstraps fail and their environment is deleted."""
    return Deployed(emr, index, tmp_path, "2.0")


def test_wheel_that_is_not_the_locked_one_is_rejected(fresh: Deployed, index: Path) -> None:
    make_wheel(index, "stone", "2.0")
    other = next(index.iterdir()).read_bytes() + b"\0"
    fresh.put(fresh.house.wheels[0].name, other)

    assert "DO NOT MATCH THE HASHES" in fresh.failure()


def test_machine_without_wheels_is_named(fresh: Deployed) -> None:
    fresh.put(fresh.list, b"riscv64 wheels/0123/stone.whl\n")

    assert f"lists no wheel for {wheelhouse.LOCAL.machine}. Deploy again" in fresh.failure()


def test_missing_wheelhouse_is_named(fresh: Deployed) -> None:
    fresh.emr.s3.delete_object(Bucket=fresh.emr.bucket, Key=f"artifacts/{fresh.list}")

    assert f"download failed: s3://{fresh.emr.bucket}/artifacts/{fresh.list}" in fresh.failure()
