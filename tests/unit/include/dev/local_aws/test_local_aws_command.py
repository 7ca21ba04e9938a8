"""`python -m include.dev.local_aws`: output, exit codes, and that no process remains."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from include.dev.local_aws.local import LocalAws
from include.dev.local_aws.processes import Identity
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[5]


def run(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    ports = ["--s3-port", "0", "--emr-port", "0"] if arguments[0] == "start" and "--s3-port" not in arguments else []
    command = [sys.executable, "-m", "include.dev.local_aws", *arguments, *ports, "--state", str(state)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    LocalAws(tmp_path / "state").stop()


def test_start_status_stop_report_their_result_and_are_idempotent(state: Path) -> None:
    assert run("status", state=state).returncode == 3
    first = run("start", state=state)
    assert (first.returncode, first.stderr) == (0, "")
    record = json.loads((state / "local_aws.json").read_text())
    assert record["environment"]["AWS_ENDPOINT_URL_S3"] in first.stdout
    assert (
        f"export AWS_ENDPOINT_URL={record['environment']['AWS_ENDPOINT_URL']}" in (state / "environment.sh").read_text()
    )
    again = run("start", state=state)
    assert (again.returncode, "already runs" in again.stdout) == (0, True)
    status = run("status", state=state)
    assert (status.returncode, "active clusters: none" in status.stdout) == (0, True)
    (state / "s3" / "fruits" / "kept").write_text("x")
    assert run("stop", state=state).returncode == 0
    assert LocalAws.processes_of(record["run_id"]) == []
    assert not psutil.pid_exists(record["pid"])
    assert run("stop", state=state).returncode == 0
    assert run("status", state=state).returncode == 3
    assert (state / "s3" / "fruits" / "kept").exists()


def test_keys_are_random_at_each_start_and_readable_by_their_owner_only(state: Path) -> None:
    keys = []
    for _ in range(2):
        assert run("start", state=state).returncode == 0
        keys.append(json.loads((state / "local_aws.json").read_text())["environment"]["AWS_SECRET_ACCESS_KEY"])
        for name in ("local_aws.json", "environment.sh"):
            assert (state / name).stat().st_mode & 0o777 == 0o600
        assert keys[-1] not in " ".join(
            word for p in psutil.process_iter(["cmdline"]) for word in p.info["cmdline"] or []
        )
        assert run("stop", state=state).returncode == 0

    assert len(set(keys)) == 2
    assert all(len(key) >= 32 for key in keys)


def test_proxy_of_the_network_is_not_used_for_local_aws(state: Path) -> None:
    nobody = "http://127.0.0.1:9"
    proxies = {name: nobody for variable in ("HTTP_PROXY", "HTTPS_PROXY") for name in (variable, variable.lower())}
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"} | proxies
    command = f"{sys.executable} -m include.dev.local_aws start --s3-port 0 --emr-port 0 --state {state}"
    start = f"source include/dev/environment.sh && {command}"
    listing = "import boto3; print(boto3.client('s3').list_buckets()['Buckets'][0]['Name'])"
    client = f'source {state}/environment.sh && {sys.executable} -c "{listing}" && echo "$NO_PROXY"'

    started, listed = (
        subprocess.run(["/bin/bash", "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        for script, env in ((start, environment), (client, environment | {"NO_PROXY": "example.com"}))
    )

    assert started.returncode == 0, started.stderr
    assert listed.stdout.splitlines() == ["fruits", "127.0.0.1,localhost,example.com"], listed.stderr


NOBODY = "http://127.0.0.1:9"
OF_ANOTHER_ACCOUNT = {
    "AWS_PROFILE": "nobody",
    "AWS_DEFAULT_PROFILE": "nobody",
    "AWS_SESSION_TOKEN": "token",
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/nobody",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": NOBODY,
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/nowhere",
    "AWS_ENDPOINT_URL": NOBODY,
    "AWS_ENDPOINT_URL_S3": NOBODY,
    "AWS_ENDPOINT_URL_EMR": NOBODY,
    "AWS_ENDPOINT_URL_IAM": NOBODY,
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_CA_BUNDLE": "/nowhere",
    "AWS_RETRY_MODE": "of another version",
    "RCLONE_READ_ONLY": "true",
}
CLIENTS = """
import boto3
from fruits_features.io import object_store, s3_access
print(boto3.client("emr").list_clusters()["Clusters"], len(boto3.client("iam").list_roles()["Roles"]) > 0)
print(boto3.client("s3").get_object(Bucket="fruits", Key="a")["Body"].read())
print(object_store.read_bytes("s3://fruits", "a"))
print(s3_access.open_filesystem("fruits").get_file_info("fruits/a").size)
"""


@pytest.mark.parametrize("kind", ["variables", "files"])
def test_aws_configuration_of_the_user_has_no_effect(
    kind: str, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home" / ".aws"
    folder.mkdir(parents=True)
    for name in ("config", "credentials"):
        (folder / name).write_text("[default")
    for name, value in {"HOME": str(folder.parent), **(OF_ANOTHER_ACCOUNT if kind == "variables" else {})}.items():
        monkeypatch.setenv(name, value)

    started = run("start", state=state)
    aws = LocalAws(state)
    assert started.returncode == 0, started.stderr
    assert (aws.answers(), run("status", state=state).returncode) == (True, 0)
    aws.s3().put_object(Bucket="fruits", Key="a", Body=b"pear")

    script = shlex.join([sys.executable, "-c", CLIENTS])
    shells = ((script, aws.process_environment), (f"set -euo pipefail; . {state}/environment.sh; {script}", os.environ))
    for command, environment in shells:
        ran = subprocess.run(
            ["/bin/bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.stdout == "[] True\nb'pear'\nb'pear'\n4\n", ran.stderr


@pytest.mark.parametrize("option", ["--s3-port", "--emr-port"])
def test_start_on_used_port_fails_in_one_line_and_leaves_nothing(state: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        other = {"--s3-port": "--emr-port", "--emr-port": "--s3-port"}[option]
        result = run("start", option, port, other, "0", state=state)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert f"Port {port} is not free" in result.stderr
    assert option in result.stderr
    assert not (state / "local_aws.json").exists()
    assert [p for p in psutil.process_iter(["cmdline"]) if str(state) in " ".join(p.info["cmdline"] or [])] == []


@pytest.mark.parametrize("option", ["--s3-port", "--emr-port"])
def test_start_on_port_out_of_range_fails_in_one_line(state: Path, option: str) -> None:
    other = {"--s3-port": "--emr-port", "--emr-port": "--s3-port"}[option]
    result = run("start", option, "99999", other, "0", state=state)
    assert result.returncode == 1
    assert result.stderr == f"local AWS: Port 99999 is outside 0 to 65535; choose another with {option}.\n"


def test_start_in_unusable_folder_fails_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("start", state=tmp_path / "file" / "state")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "Cannot write to" in result.stderr


def test_killed_supervisor_leaves_no_process_of_its_clusters(state: Path, tmp_path: Path) -> None:
    aws = LocalAws(state, state_s=0.05)
    aws.start()
    pids = tmp_path / "pids"
    command = f"setsid sleep 600 & echo $! > '{pids}.half'; mv '{pids}.half' '{pids}'; sleep 600"
    step = {"Name": "s", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["bash", "-c", command]}}
    aws.emr().run_job_flow(Name="c", Instances={"KeepJobFlowAliveWhenNoSteps": True}, Steps=[step])
    wait_for(pids.exists)
    run_id, pid = aws.run_id, json.loads((state / "local_aws.json").read_text())["pid"]
    assert len(aws.processes()) >= 3  # rclone and the two that sleep
    sleeper = Identity.of(int(pids.read_text()))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not LocalAws.processes_of(run_id), pause_s=0.1)
    if process := sleeper.process():  # it has ended, but may still be a zombie
        process.wait(timeout=60)
    assert run("status", state=state).returncode == 3
    assert run("start", state=state).returncode == 0


def test_local_aws_of_killed_test_run_ends_by_itself(state: Path) -> None:
    code = (
        "import sys,time; from include.dev.local_aws.local import LocalAws\n"
        f"with LocalAws({str(state)!r}) as aws:\n print(aws.run_id, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        run_id = owner.stdout.readline().strip()
        assert LocalAws.processes_of(run_id)
        owner.kill()
    wait_for(lambda: not LocalAws.processes_of(run_id), pause_s=0.1)


def test_recycled_pid_is_not_taken_for_the_process_that_had_it() -> None:
    own = Identity.of(os.getpid())
    assert own.process() is not None
    assert Identity(own.pid, own.started - 60).process() is None
