"""Processes of steps: failure, cancellation, logs and end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from include.dev.local_aws.state import NODES
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws
    from tests.unit.include.dev.local_aws.conftest import Emr

ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")

# Leaves a child in the session, a grandchild in a separate session, and one whose parent has ended.
FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
orphan = subprocess.run(
    [sys.executable, "-c", "import subprocess,sys;print(subprocess.Popen(sys.argv[1:],start_new_session=True,stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL).pid)", *sleep],
    capture_output=True, text=True, check=True,
)
pids = [os.getpid(), *[child.pid for child in children], int(orphan.stdout)]
with open(sys.argv[1] + ".half", "w") as file:
    file.write(" ".join(map(str, pids)))
os.rename(sys.argv[1] + ".half", sys.argv[1])
time.sleep(600)
"""  # noqa: E501


def family_step(emr: Emr, file: Path, **more: str) -> dict[str, Any]:
    return emr.step(sys.executable, "-c", FAMILY, str(file), **more)


def wait_for_family(file: Path) -> list[psutil.Process]:
    wait_for(file.exists)
    return [psutil.Process(int(pid)) for pid in file.read_text().split()]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_steps_run_one_after_the_other(emr: Emr, tmp_path: Path) -> None:
    record = tmp_path / "order"
    commands = [f"echo begin {n} >> '{record}'; sleep 0.2; echo end {n} >> '{record}'" for n in range(3)]
    cluster = emr.create(keep=False, Steps=[emr.step("bash", "-c", command) for command in commands])
    emr.wait(cluster, "TERMINATED")
    assert record.read_text().split() == ["begin", "0", "end", "0", "begin", "1", "end", "1", "begin", "2", "end", "2"]


def until_exists(file: Path) -> tuple[str, ...]:
    """Return the command of a step that runs until a file exists."""
    return "bash", "-c", f"until [ -e '{file}' ]; do sleep 0.05; done"


def test_step_of_waiting_cluster_makes_it_run_and_wait_again(emr: Emr, tmp_path: Path) -> None:
    cluster = emr.create()
    emr.wait(cluster, "WAITING")
    (step,) = emr.add(cluster, emr.step(*until_exists(tmp_path / "seen")))
    assert emr.wait(cluster, "RUNNING")["StateChangeReason"] == {"Message": "Running step"}
    (tmp_path / "seen").touch()
    status = emr.wait_step(cluster, step, "COMPLETED")
    assert status["Timeline"]["StartDateTime"] <= status["Timeline"]["EndDateTime"]
    reason = emr.wait(cluster, "WAITING")["StateChangeReason"]
    assert reason == {"Message": "Cluster ready after last step completed."}


def test_step_logs_are_in_s3_once_the_step_has_ended(emr: Emr) -> None:
    cluster = emr.create()
    (step,) = emr.add(cluster, emr.step("bash", "-c", "echo Grüße; echo trouble >&2; exit 4"))
    status = emr.wait_step(cluster, step, "FAILED")
    assert emr.log(f"{cluster}/steps/{step}/stdout.gz") == "Grüße\n"
    assert emr.log(f"{cluster}/steps/{step}/stderr.gz") == "trouble\n"
    assert "exitCode 4" in emr.log(f"{cluster}/steps/{step}/controller.gz")
    log_file = f"s3://{emr.bucket}/logs/emr/{cluster}/steps/{step}/stderr.gz"
    assert status["FailureDetails"] == {"Reason": "Unknown Error.", "Message": "trouble", "LogFile": log_file}


@pytest.mark.parametrize(
    "step", [{"jar": "command-runner.jar", "command": ["no-such-program"]}, {"jar": "s3://b/x.jar", "command": ["x"]}]
)
def test_step_that_cannot_run_fails_with_the_reason(emr: Emr, step: dict[str, Any]) -> None:
    cluster = emr.create()
    (step_id,) = emr.add(cluster, emr.step(*step["command"], jar=step["jar"]))
    message = emr.wait_step(cluster, step_id, "FAILED")["FailureDetails"]["Message"]
    assert ("no-such-program" in message) or ("only has command-runner.jar" in message)


@pytest.mark.parametrize(
    ("action", "states", "ending"),
    [
        ("CONTINUE", ["FAILED", "COMPLETED"], None),
        ("CANCEL_AND_WAIT", ["FAILED", "CANCELLED"], None),
        ("TERMINATE_CLUSTER", ["FAILED", "CANCELLED"], "STEP_FAILURE"),
        ("TERMINATE_JOB_FLOW", ["FAILED", "CANCELLED"], "STEP_FAILURE"),
    ],
)
def test_failed_step_is_followed_by_its_action(emr: Emr, action: str, states: list[str], ending: str | None) -> None:
    cluster = emr.create(Steps=[emr.step("false", on_failure=action), emr.step("true")])
    status = emr.wait(cluster, "WAITING", *ENDED)
    assert emr.step_states(cluster) == states
    assert status["StateChangeReason"].get("Code") == ending
    assert status["State"] == ("TERMINATED_WITH_ERRORS" if ending else "WAITING")


def test_failed_step_of_protected_cluster_does_not_terminate_it(emr: Emr) -> None:
    steps = [emr.step("false", on_failure="TERMINATE_CLUSTER"), emr.step("true")]
    cluster = emr.create(Steps=steps, Instances={"TerminationProtected": True})
    assert emr.wait(cluster, "WAITING", *ENDED)["State"] == "WAITING"
    assert emr.step_states(cluster) == ["FAILED", "CANCELLED"]


def test_cancelled_pending_step_never_runs(emr: Emr, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    cluster = emr.create()
    steps = emr.step(*until_exists(tmp_path / "cancelled")), emr.step("touch", str(ran))
    first, second = emr.add(cluster, *steps)
    (answer,) = emr.api.cancel_steps(ClusterId=cluster, StepIds=[second])["CancelStepsInfoList"]
    assert answer == {"StepId": second, "Status": "SUBMITTED"}
    (tmp_path / "cancelled").touch()
    emr.wait_step(cluster, first, "COMPLETED")
    emr.wait(cluster, "WAITING")
    assert (emr.step_states(cluster), ran.exists()) == (["COMPLETED", "CANCELLED"], False)
    (answer,) = emr.api.cancel_steps(ClusterId=cluster, StepIds=[first])["CancelStepsInfoList"]
    assert answer["Status"] == "FAILED"


@pytest.mark.parametrize("option", ["SEND_INTERRUPT", "TERMINATE_PROCESS"])
def test_cancelled_running_step_ends_and_the_next_one_runs(emr: Emr, tmp_path: Path, option: str) -> None:
    cluster = emr.create()
    step = emr.step("bash", "-c", f"trap 'echo tidy; exit 0' TERM; touch '{tmp_path}/up'; sleep 600 & wait")
    first, second = emr.add(cluster, step | {"ActionOnFailure": "TERMINATE_CLUSTER"}, emr.step("true"))
    wait_for((tmp_path / "up").exists)
    emr.api.cancel_steps(ClusterId=cluster, StepIds=[first], StepCancellationOption=option)
    emr.wait_step(cluster, first, "CANCELLED")
    emr.wait_step(cluster, second, "COMPLETED")
    assert emr.wait(cluster, "WAITING", *ENDED)["State"] == "WAITING"
    assert ("tidy" in emr.log(f"{cluster}/steps/{first}/stdout.gz")) == (option == "SEND_INTERRUPT")


def test_interrupted_step_that_will_not_end_is_killed_after_the_grace(emr: Emr, tmp_path: Path) -> None:
    cluster = emr.create()
    command = f"trap '' TERM; touch '{tmp_path}/up'; while true; do sleep 0.1; done"
    (step,) = emr.add(cluster, emr.step("bash", "-c", command))
    wait_for((tmp_path / "up").exists)
    emr.api.cancel_steps(ClusterId=cluster, StepIds=[step])
    assert emr.step_status(cluster, step)["State"] == "CANCEL_PENDING"
    emr.wait_step(cluster, step, "CANCELLED")


def test_terminated_cluster_ends_complete_process_tree(emr: Emr, tmp_path: Path) -> None:
    cluster = emr.create()
    (step,) = emr.add(cluster, family_step(emr, tmp_path / "pids"))
    family = wait_for_family(tmp_path / "pids")
    assert len(alive(family)) == 4
    emr.api.terminate_job_flows(JobFlowIds=[cluster])
    emr.wait(cluster, "TERMINATED")
    assert alive(family) == []
    assert emr.step_status(cluster, step)["State"] == "CANCELLED"


def test_process_left_by_completed_step_does_not_survive_its_cluster(emr: Emr, tmp_path: Path) -> None:
    steps = [emr.step("bash", "-c", f"setsid sleep 600 & echo $! > '{tmp_path}/pid'")]
    cluster = emr.create(keep=False, Steps=steps)
    emr.wait(cluster, "TERMINATED")
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_step_environment_is_the_clusters_and_not_the_callers(emr: Emr, local_aws: LocalAws, tmp_path: Path) -> None:
    show = "import json,os,sys; json.dump([dict(os.environ),sys.executable,os.getcwd()],open(sys.argv[1],'w'))"
    file = tmp_path / "shown"
    cluster = emr.create()
    (step,) = emr.add(cluster, emr.step("python3.11", "-c", show, str(file)))
    emr.wait_step(cluster, step, "COMPLETED")
    environment, interpreter, folder = json.loads(file.read_text())
    assert Path(interpreter).is_relative_to(NODES)
    assert folder.endswith(f"{cluster}/steps/{step}")
    client = {name: value for name, value in local_aws.environment.items() if not name.startswith("AIRFLOW_")}
    assert client.items() <= environment.items()
    assert environment["PYSPARK_PYTHON"] == interpreter
    leaks = [key for key in environment if key.startswith(("AIRFLOW", "PIP_", "PYTHON")) or key == "AWS_PROFILE"]
    assert leaks == []


def test_steps_are_listed_last_first_and_by_id_and_state(emr: Emr) -> None:
    cluster = emr.create()
    ids = emr.add(cluster, emr.step("true"), emr.step("false"), emr.step("true"))
    emr.wait_step(cluster, ids[-1], "COMPLETED")
    listed = [step["Id"] for step in emr.api.list_steps(ClusterId=cluster)["Steps"]]
    assert listed == ids[::-1]
    failed = emr.api.list_steps(ClusterId=cluster, StepStates=["FAILED"])["Steps"]
    assert [step["Id"] for step in failed] == [ids[1]]
    one = emr.api.list_steps(ClusterId=cluster, StepIds=[ids[0]])["Steps"]
    assert [step["Id"] for step in one] == [ids[0]]


def test_missing_log_bucket_loses_logs_and_nothing_else(emr: Emr) -> None:
    cluster = emr.create(keep=False, LogUri="s3://no-such-bucket/x/", Steps=[emr.step("true")])
    assert emr.wait(cluster, *ENDED)["State"] == "TERMINATED"
    assert emr.step_states(cluster) == ["COMPLETED"]
