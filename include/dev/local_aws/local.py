"""Start, find and stop a local AWS from Python. The command line, the demo and the tests use this module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from include.dev.local_aws import client
from include.dev.local_aws.emr.states import ACTIVE
from include.dev.local_aws.errors import LocalAwsError
from include.dev.local_aws.processes import MARK, Identity, end, end_marked, marked
from include.dev.local_aws.s3.server import DIR_CACHE_S, create_bucket
from include.dev.local_aws.state import StateFolder

if TYPE_CHECKING:
    from types import TracebackType

    from mypy_boto3_emr import EMRClient
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).resolve().parents[3]
STOP_DEADLINE_S = 30.0


@cache  # creating a client takes longer than most requests
def _connect_once(service: str, *environment: tuple[str, str]) -> Any:  # noqa: ANN401 - boto3's client of any service
    return client.connect(service, dict(environment))


class LocalAws:
    """One local AWS, identified by its folder.

    As a context manager it starts a local AWS that ends with this process, even if the process is killed::

        with LocalAws(folder) as aws:
            aws.s3().upload_file("photo.jpg", "fruits", "images/photo.jpg")

    Args:
        state_dir: Folder of its state, created if missing.
        s3_port: Port of S3 on loopback; 0 selects a free one.
        emr_port: Port of all other services; 0 selects a free one.
        state_s: Minimum seconds of a cluster in each of STARTING, BOOTSTRAPPING and TERMINATING.
        interrupt_grace_s: Seconds between SIGTERM and SIGKILL when a running step is cancelled with SEND_INTERRUPT.
    """

    def __init__(
        self,
        state_dir: Path | str,
        *,
        s3_port: int = 0,
        emr_port: int = 0,
        state_s: float = 0.3,
        interrupt_grace_s: float = 30.0,
    ) -> None:
        self.state = StateFolder(Path(state_dir))
        self._options = {
            "--s3-port": s3_port,
            "--emr-port": emr_port,
            "--state-seconds": state_s,
            "--interrupt-grace-seconds": interrupt_grace_s,
        }
        self._supervisor: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start. The local AWS ends with this process, even after a SIGKILL."""
        self.start(detached=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def start(self, *, detached: bool = True) -> None:
        """Start, and return when S3 and EMR answer.

        Args:
            detached: Keep running when this process ends.

        Raises:
            LocalAwsError: It already runs, a port is in use, the folder is not writable, or a server did not start.
        """
        if self.running():
            raise LocalAwsError(f"Local AWS already runs from {self.state.folder}.")
        self._end_remains()
        command = [sys.executable, "-m", "include.dev.local_aws.supervisor", "--state", str(self.state.folder)]
        command += [word for option, value in self._options.items() for word in (option, str(value))]
        log = self._open_log()
        with log:
            self._supervisor = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
                command if detached else [*command, "--lifeline"],
                cwd=ROOT,
                env=client.without_accounts(os.environ),
                stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        try:
            self._await_report(self._supervisor)
        except KeyboardInterrupt:
            end([psutil.Process(self._supervisor.pid)], grace_s=STOP_DEADLINE_S)
            raise

    def stop(self) -> bool:
        """Stop the local AWS of this folder and wait until its clusters and steps have ended.

        Returns:
            Whether any process was running.
        """
        record = self.state.read()
        if record is None:
            return False
        supervisor = Identity(record["pid"], record["started"]).process()
        if supervisor is not None:
            end([supervisor], grace_s=STOP_DEADLINE_S)
        if self._supervisor is not None:
            self._supervisor.wait()
            for stream in (self._supervisor.stdin, self._supervisor.stdout):
                if stream is not None:
                    stream.close()
        remains = self._end_remains()
        return supervisor is not None or remains

    def running(self) -> bool:
        """Return whether the supervisor that was started from this folder still runs."""
        record = self.state.read()
        return record is not None and Identity(record["pid"], record["started"]).process() is not None

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which AWS clients find it.

        Raises:
            LocalAwsError: It does not run.
        """
        environment: dict[str, str] = self._record()["environment"]
        return environment

    @property
    def process_environment(self) -> dict[str, str]:
        """Environment of a process that uses it: this process's variables without the user's AWS configuration.

        Raises:
            LocalAwsError: It does not run.
        """
        return client.without_accounts(os.environ) | self.environment

    @property
    def s3_folder(self) -> Path:
        """Folder with one sub-folder per bucket and one file per object."""
        return self.state.s3

    def create_bucket(self, name: str) -> str:
        """Create a bucket if it does not exist, and return its name.

        Raises:
            ValueError: S3 would reject the name.
        """
        create_bucket(self.state.s3, name)
        time.sleep(DIR_CACHE_S)  # the server may have cached the list of buckets just before
        return name

    def s3(self) -> S3Client:
        """Return a client for S3."""
        s3: S3Client = _connect_once("s3", *self.environment.items())
        return s3

    def emr(self) -> EMRClient:
        """Return a client for EMR."""
        emr: EMRClient = _connect_once("emr", *self.environment.items())
        return emr

    def active_clusters(self) -> list[str]:
        """Return the ids of the clusters that have not ended."""
        pages = self.emr().get_paginator("list_clusters").paginate(ClusterStates=list(ACTIVE))
        return [cluster["Id"] for page in pages for cluster in page["Clusters"]]

    def answers(self) -> bool:
        """Return whether both servers answer."""
        try:
            self.s3().list_buckets()
            self.active_clusters()
        except (BotoCoreError, ClientError):
            return False
        return True

    def processes(self) -> list[psutil.Process]:
        """Return the processes of all clusters and of the S3 server: all processes that carry the run's mark."""
        return self.processes_of(self.run_id)

    @property
    def run_id(self) -> str:
        """Id of this start, which marks all of its processes."""
        run_id: str = self._record()["run_id"]
        return run_id

    @staticmethod
    def processes_of(run_id: str) -> list[psutil.Process]:
        """Return the processes of one start, running or ended."""
        return marked(MARK, run_id)

    def _record(self) -> dict[str, Any]:
        record = self.state.read()
        if record is None:
            raise LocalAwsError(
                f"No local AWS runs from {self.state.folder}; start it: `python -m include.dev.local_aws start`."
            )
        return record

    def _open_log(self) -> Any:  # noqa: ANN401 - a file
        try:
            self.state.folder.mkdir(parents=True, exist_ok=True)
            return self.state.log.open("wb")
        except OSError as error:
            raise LocalAwsError(
                f"Cannot write to {self.state.folder}: {error.strerror}. Choose another --state."
            ) from None

    def _await_report(self, supervisor: subprocess.Popen[str]) -> None:
        """Read the supervisor's report, which is one line of standard output.

        Raises:
            LocalAwsError: The supervisor could not start.
        """
        assert supervisor.stdout is not None  # noqa: S101 - opened above as a pipe
        report = json.loads(supervisor.stdout.readline() or "{}")
        if "pid" in report:
            return
        supervisor.wait()
        raise LocalAwsError(report.get("error") or f"Local AWS did not start; see {self.state.log}.")

    def _end_remains(self) -> bool:
        """End the processes that remain if the supervisor and the reaper were both killed.

        Raises:
            LocalAwsError: Some processes could not be ended.
        """
        record = self.state.read()
        if record is None:
            return False
        until = time.monotonic() + STOP_DEADLINE_S
        remains = bool(marked(MARK, record["run_id"]))
        left = end_marked(MARK, record["run_id"], deadline_s=until - time.monotonic())
        if left:
            raise LocalAwsError(
                f"Could not end the processes {', '.join(str(process.pid) for process in left)}; end them by hand."
            )
        self.state.clear()
        return remains
