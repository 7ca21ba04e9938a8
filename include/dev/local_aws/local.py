"""Start, find and stop a local AWS from Python: for the command line, the demo and the tests."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from include.dev.local_aws.emr.states import ACTIVE
from include.dev.local_aws.errors import LocalAwsError
from include.dev.local_aws.processes import MARK, Identity, end, end_marked, marked
from include.dev.local_aws.s3.server import BELIEF_S, create_bucket
from include.dev.local_aws.state import StateFolder

if TYPE_CHECKING:
    from types import TracebackType

    import psutil
    from mypy_boto3_emr import EMRClient
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).resolve().parents[3]
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 30.0


class LocalAws:
    """One local AWS, told apart by its folder.

    As a context manager it starts one that lives no longer than this process, whatever ends it::

        with LocalAws(folder) as aws:
            aws.s3().upload_file("photo.jpg", "fruits", "images/photo.jpg")

    Args:
        state_dir: Folder for all that it keeps; made where it is missing.
        s3_port: Port of S3 on loopback; 0 finds a free one.
        emr_port: Port of everything else; 0 finds a free one.
        state_s: Seconds that a cluster stays in each of STARTING, BOOTSTRAPPING and TERMINATING at least.
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
        """Start; stop again as soon as this process ends, even by SIGKILL."""
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
            detached: Go on when this process ends.

        Raises:
            LocalAwsError: It runs already, a port is taken, the folder cannot be written, or it did not come up.
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
                stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._await_report(self._supervisor)

    def stop(self) -> bool:
        """Stop what was started from this folder and wait until it is gone, clusters and steps too.

        Returns:
            Whether anything was there to stop.
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
        """Whether the supervisor that was started from this folder still runs."""
        record = self.state.read()
        return record is not None and Identity(record["pid"], record["started"]).process() is not None

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which AWS clients find it.

        Raises:
            LocalAwsError: It does not run.
        """
        environment: dict[str, str] = self._record()["environment"]
        return environment

    @property
    def s3_folder(self) -> Path:
        """The folder in which each bucket is a sub-folder and each object a file."""
        return self.state.s3

    def create_bucket(self, name: str) -> str:
        """Make a bucket, if it is not there, and return its name.

        Raises:
            ValueError: S3 would refuse the name.
        """
        create_bucket(self.state.s3, name)
        time.sleep(BELIEF_S)  # the server may have listed the buckets just before
        return name

    def s3(self) -> S3Client:
        """Return a client for S3."""
        client: S3Client = boto3.client("s3", **self.client_arguments("AWS_ENDPOINT_URL_S3"))
        return client

    def emr(self) -> EMRClient:
        """Return a client for EMR."""
        client: EMRClient = boto3.client("emr", **self.client_arguments("AWS_ENDPOINT_URL"))
        return client

    def client_arguments(self, endpoint: str) -> dict[str, Any]:
        """Give what boto3 needs to make a client; `endpoint` is the variable that names the service's address."""
        environment = self.environment
        return {
            "endpoint_url": environment[endpoint],
            "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
            "region_name": environment["AWS_REGION"],
        }

    def active_clusters(self) -> list[str]:
        """Return the ids of the clusters that have not ended."""
        pages = self.emr().get_paginator("list_clusters").paginate(ClusterStates=list(ACTIVE))
        return [cluster["Id"] for page in pages for cluster in page["Clusters"]]

    def answers(self) -> bool:
        """Whether both servers answer."""
        try:
            self.s3().list_buckets()
            self.active_clusters()
        except (BotoCoreError, ClientError):
            return False
        return True

    def processes(self) -> list[psutil.Process]:
        """Return the processes of all clusters, and S3's server: all that carries the run's mark."""
        return self.processes_of(self.run_id)

    @property
    def run_id(self) -> str:
        """The id of this start, which marks all of its processes."""
        run_id: str = self._record()["run_id"]
        return run_id

    @staticmethod
    def processes_of(run_id: str) -> list[psutil.Process]:
        """Return the processes of one start, be it over or not."""
        return marked(MARK, run_id)

    def _record(self) -> dict[str, Any]:
        record = self.state.read()
        if record is None:
            raise LocalAwsError(f"No local AWS runs from {self.state.folder}: `python -m include.dev.local_aws start`.")
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
        """Read the supervisor's one line; its standard output ends with the line or with the supervisor."""
        assert supervisor.stdout is not None  # noqa: S101 - opened above as a pipe
        report = json.loads(supervisor.stdout.readline() or "{}")
        if "pid" in report:
            return
        supervisor.wait()
        raise LocalAwsError(report.get("error") or f"Local AWS did not start; the reason is in {self.state.log}.")

    def _end_remains(self) -> bool:
        """End what a supervisor that was killed may have left, should its guardian have been killed too."""
        record = self.state.read()
        if record is None:
            return False
        until = time.monotonic() + STOP_DEADLINE_S
        remains = bool(marked(MARK, record["run_id"]))
        left = end_marked(MARK, record["run_id"], deadline_s=until - time.monotonic())
        if left:
            raise LocalAwsError(
                f"These processes could not be ended: {', '.join(str(process.pid) for process in left)}."
            )
        self.state.clear()
        return remains
