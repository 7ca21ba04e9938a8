"""Start and stop of the local Airflow: ports, leftover runs and an interrupted creation of the database."""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
from contextlib import closing
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING

import pytest

from include.dev import local_spark
from include.dev.local_airflow import __main__ as command
from include.dev.local_airflow import database
from include.dev.local_airflow.database import Run, ensure_database, left_by_dags_test, running
from include.dev.local_airflow.server import LocalAirflow, LocalAirflowError
from include.dev.local_aws.local import LocalAws

if TYPE_CHECKING:
    from pathlib import Path

TESTED = Run("fruits_features", "manual__1", "TEST")
SCHEDULED = Run("fruits_features", "scheduled__1", "TIMETABLE")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of Airflow with one run of each kind."""
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as connection, connection:
        connection.execute("CREATE TABLE dag_run (dag_id TEXT, run_id TEXT, triggered_by TEXT, state TEXT)")
        rows = [(*TESTED, "running"), (*SCHEDULED, "running"), ("fruits_features", "manual__0", "TEST", "success")]
        connection.executemany("INSERT INTO dag_run VALUES (?, ?, ?, ?)", rows)
    return tmp_path


@pytest.fixture
def folders(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of the command in a temporary directory."""
    monkeypatch.setattr(command, "HOME", home)
    monkeypatch.setattr(command, "AWS_STATE", home / "aws")
    return home


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the programs that the command starts. None of them is really started."""
    programs: list[str] = []
    monkeypatch.setattr(LocalAws, "start", lambda _: programs.append("local AWS"))
    return programs


def test_active_runs_of_a_home_are_found_by_their_state(home: Path, tmp_path: Path) -> None:
    assert running(home) == [TESTED, SCHEDULED]
    assert running(tmp_path / "elsewhere") == []


def test_run_of_dags_test_is_left_when_no_such_process_uses_the_database(home: Path) -> None:
    assert left_by_dags_test(home) == [TESTED]

    program = "import sys; print(flush=True); sys.stdin.read()"
    environment = os.environ | {"AIRFLOW_HOME": str(home)}
    with Popen([sys.executable, "-c", program, "dags", "test"], env=environment, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert left_by_dags_test(home) == []


def test_interrupted_creation_of_the_database_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object) -> None:
        (tmp_path / "airflow.db").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(database, "_run", interrupted)

    with pytest.raises(KeyboardInterrupt):
        ensure_database(tmp_path, os.environ)

    assert not (tmp_path / "airflow.db").exists()


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize("port", [0, 80, 99_999])
def test_port_out_of_range_is_refused_with_the_limits(port: int, started: list[str]) -> None:
    with pytest.raises(LocalAirflowError, match=rf"^Port {port} is outside 1024 to 65535; .*make up PORT="):
        command.start(port)

    assert not started


@pytest.mark.usefixtures("folders")
def test_port_in_use_is_refused_with_a_remedy(started: list[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(LocalAirflowError, match=r"is not free .*make up PORT="):
            command.start(other.getsockname()[1])

    assert not started


def test_port_that_is_no_number_is_refused_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["start", "--port", "eighty"]) == 1
    assert capsys.readouterr().err == "Port 'eighty' is not a number; choose another: `make up PORT=…`.\n"


@pytest.mark.usefixtures("folders")
def test_stop_warns_of_active_runs_and_closes_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[object] = []
    monkeypatch.setattr(LocalAirflow, "address", lambda _: "http://127.0.0.1:8080")
    monkeypatch.setattr(LocalAirflow, "stop", lambda _: order.append("airflow"))
    monkeypatch.setattr(LocalAws, "stop", lambda _: order.append("aws"))
    monkeypatch.setattr(database, "close", lambda runs, *_: order.append(runs))

    command.stop()

    assert order == ["airflow", [TESTED, SCHEDULED], "aws"]
    assert "Run scheduled__1 of fruits_features is active; it ends now" in capsys.readouterr().out


def test_start_while_it_runs_reports_where(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "simple_auth_manager_passwords.json.generated").write_text('{"admin": "secret"}')
    monkeypatch.setattr(command, "ROOT", folders)
    monkeypatch.setattr(LocalAirflow, "address", lambda _: "http://127.0.0.1:8181")
    monkeypatch.setattr(LocalAws, "running", lambda _: True)
    monkeypatch.setattr(LocalAws, "environment", {})
    monkeypatch.setattr(LocalAws, "s3", lambda _: None)
    monkeypatch.setattr(command, "deploy", lambda _: None)
    monkeypatch.setattr(LocalAws, "emr", lambda _: None)
    monkeypatch.setattr(command, "prepare_nodes", lambda _: None)
    monkeypatch.setattr(local_spark, "driver_environment", lambda *_: {})

    assert command.main(["start", "--port", "9090"]) == 0

    shown = capsys.readouterr().out
    assert "Airflow already runs at http://127.0.0.1:8181." in shown
    assert "9090" not in shown
