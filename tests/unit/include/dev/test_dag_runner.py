"""Parsing of the output of `airflow dags test`, written by a substitute program."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest

from include.dev import dag_runner
from include.dev.dag_runner import DagsTestError, dags_test

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "airflow.log"


def says(folder: Path, script: str) -> dict[str, str]:
    """Put an `airflow` first on the path."""
    program = folder / "airflow"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def interrupt_after_first_task(environment: dict[str, str], log: Path) -> None:
    for _ in dags_test({}, environment, log):
        raise KeyboardInterrupt


def test_seconds_of_a_deferred_task_count_from_its_first_start(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter((10.0, 50.0, 70.0, 71.0))  # a second start of the task must not read it
    monkeypatch.setattr(dag_runner, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    environment = says(
        tmp_path,
        """
        echo "$@"
        echo 'Task started  x'; echo 'Task started  x'; echo '[DAG TEST] end task task_id=wait'
        echo 'Task started  x'; echo '[DAG TEST] end task task_id=publish'
        """,
    )

    assert list(dags_test({"k": 8}, environment, log)) == [("wait", 40.0), ("publish", 1.0)]
    assert log.read_text().startswith('dags test fruits_features --conf {"k": 8}\n')


def test_skipped_tasks_are_left_out(tmp_path: Path, log: Path) -> None:
    environment = says(
        tmp_path,
        """
        echo 'Task started  x'; echo 'Task instance state updated  [x] new_state=skipped rows_affected=1'
        echo '[DAG TEST] end task task_id=create_cluster'
        echo 'Task started  x'; echo 'Task instance state updated  [x] new_state=success rows_affected=1'
        echo '[DAG TEST] end task task_id=publish'
        """,
    )

    assert [task for task, _ in dags_test({}, environment, log)] == ["publish"]


def test_failed_run_is_reported_with_its_first_error_and_its_log(tmp_path: Path, log: Path) -> None:
    environment = says(tmp_path, "echo 'x [error    ] No images. [task] loc=a.py:1'; echo '[error] later'; exit 1")

    with pytest.raises(DagsTestError, match=rf"^the run failed: No images\.\nAirflow's complete log is {log}\.$"):
        list(dags_test({}, environment, log))


def test_failed_task_is_reported_with_the_message_of_its_exception(tmp_path: Path, log: Path) -> None:
    output = tmp_path / "output.txt"
    output.write_text(
        """\
2026-11-30T09:30:31.592127Z [error    ] XCom not found                 [airflow.sdk.api.client] key=run loc=client.py
2026-11-30T09:30:35.456356Z [error    ] Last lines of the step's stderr:
Error: A JNI error has occurred [fruits_airflow.emr.diagnosis] loc=diagnosis.py:105
2026-11-30T09:30:35.457062Z [error    ] Task failed with exception     [task] loc=task_runner.py:1639
Traceback (most recent call last):
  File "hook.py", line 1, in list
    raise error_class(parsed_response, operation_name)
          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
botocore.errorfactory.NoSuchBucket: The specified bucket does not exist

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "sensors.py", line 2, in execute
    raise AirflowFailException(message) from error
airflow.sdk.exceptions.AirflowFailException: Bucket 'fruit' does not exist. Create it.
Remedy: a second line of the message
2026-11-30T09:30:36.000000Z [info     ] ::endgroup::                   [task] loc=task_runner.py:2379
2026-11-30T09:30:37.457062Z [error    ] Task failed with exception     [task] loc=task_runner.py:1639
Traceback (most recent call last):
  File "teardown.py", line 3, in execute
    raise ValueError("later")
ValueError: later
""",
        encoding="utf-8",
    )

    with pytest.raises(DagsTestError, match=r"^the run failed: Bucket 'fruit' does not exist\. Create it\.\n"):
        list(dags_test({}, says(tmp_path, f"cat {output}; exit 1"), log))


def test_interrupted_caller_waits_until_airflow_has_closed_the_run(tmp_path: Path, log: Path) -> None:
    environment = says(
        tmp_path,
        """
        trap 'echo closing; sleep 0.2; echo closed; exit 130' INT
        echo 'Task started  x'; echo '[DAG TEST] end task task_id=wait'
        while true; do sleep 0.05; done
        """,
    )

    with pytest.raises(KeyboardInterrupt):
        interrupt_after_first_task(environment, log)

    assert log.read_text().endswith("closing\nclosed\n")


def test_airflow_that_ignores_the_interruption_is_ended(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dag_runner, "CLOSING_S", 0.1)
    environment = says(
        tmp_path,
        """
        trap '' INT
        echo "pid $$"; echo '[DAG TEST] end task task_id=wait'
        while true; do sleep 0.05; done
        """,
    )

    with pytest.raises(KeyboardInterrupt):
        interrupt_after_first_task(environment, log)

    assert not psutil.pid_exists(int(log.read_text().split()[1]))
