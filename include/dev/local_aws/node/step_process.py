"""Processes of a cluster, which are bootstrap actions and steps: environment, start, end and logs.

`emr.lifecycle` decides when they start and stop. This module does not use moto.
"""

from __future__ import annotations

import gzip
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from include.dev.local_aws.processes import CLUSTER_MARK, Identity, end, tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psutil
    from mypy_boto3_s3 import S3Client

    from include.dev.local_aws.node.python import NodePython
    from include.dev.local_aws.node.spark import NodeSpark

INHERITED_VARIABLES = ("HOME", "USER", "LOGNAME", "SHELL", "TZ", "JAVA_HOME", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""Variables of this machine that a cluster inherits. They hold locations. Settings of package indexes are excluded."""


def cluster_environment(
    cluster_id: str, folder: Path, python: NodePython, spark: NodeSpark, added: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of a cluster's processes, as on a new machine.

    The caller's `PYTHONPATH`, `AIRFLOW_*`, `SPARK_*` and `AWS_PROFILE` are not inherited, so that the application must
    come from its copy in S3. `python3` and `python3.11` are the Python of the nodes, which is PySpark's, as on EMR. The
    commands `aws` and `sudo` exist, too.

    Args:
        cluster_id: Id of the cluster.
        folder: Folder of the cluster.
        python: Python of the nodes.
        spark: Spark of the nodes.
        added: Variables with which AWS clients find local AWS, and the run's mark. Those for Airflow are omitted.
    """
    inherited = {key: value for key, value in os.environ.items() if key in INHERITED_VARIABLES}
    path = [
        _commands(folder / "bin", python.executable),
        spark.commands,
        sysconfig.get_path("scripts"),
        os.environ.get("PATH", os.defpath),
    ]
    return inherited | {
        "PATH": os.pathsep.join(map(str, path)),
        "LC_ALL": "C.UTF-8",  # the JVM encodes file names by the locale, and keys may contain accents
        "TMPDIR": str(folder / "tmp"),
        **spark.environment(python.executable),
        CLUSTER_MARK: cluster_id,
        **{name: value for name, value in added.items() if not name.startswith("AIRFLOW_")},
    }


@dataclass
class StepProcess:
    """A command that runs in a separate session, and so in a separate process group, with its output in files.

    Attributes:
        command: Program and arguments.
        folder: Working directory. `stdout`, `stderr` and `controller` are written to its sibling `<folder>.logs`.
        environment: Complete environment of the process.
    """

    command: list[str]
    folder: Path
    environment: dict[str, str]
    exit_code: int | None = None
    _process: subprocess.Popen[bytes] | None = None
    _identity: Identity | None = None
    _began: float = field(default_factory=time.monotonic)

    @property
    def logs(self) -> Path:
        """Folder with `controller`, `stdout` and `stderr`."""
        return self.folder.with_name(f"{self.folder.name}.logs")

    @property
    def running_s(self) -> float:
        """Seconds since this object was created."""
        return time.monotonic() - self._began

    def family(self) -> list[psutil.Process]:
        """Return the process and all its descendants."""
        return tree(self._identity.process() if self._identity else None)

    def start(self) -> None:
        """Start the command.

        Raises:
            OSError: The program does not exist or cannot be executed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        (self.logs / "stdout").touch()
        (self.logs / "stderr").touch()
        self.note(f"INFO startExec '{shlex.join(self.command)}'")
        self.note(f"INFO Working dir {self.folder}")
        with (self.logs / "stdout").open("ab") as stdout, (self.logs / "stderr").open("ab") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - EMR runs the commands that clients submit
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._identity = Identity.of(self._process.pid)
        self.note(f"INFO ProcessRunner started child process {self._process.pid}")

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or `None` while the process runs."""
        if self.exit_code is None and self._process is not None:
            self.exit_code = self._process.poll()
            if self.exit_code is not None:
                took_s = round(self.running_s)
                self.note(f"INFO waitProcessCompletion ended with exit code {self.exit_code} after {took_s} seconds")
        return self.exit_code

    def interrupt(self) -> None:
        """Send SIGTERM to the process group without waiting for its end."""
        self.note("INFO sending SIGTERM to the step's process group")
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)

    def kill(self, *, grace_s: float = 0.0) -> None:
        """End the process and all its descendants."""
        self.note("INFO ending the step's process and all its descendants")
        end(self.family(), grace_s=grace_s)
        if self._process is not None:
            self._process.wait()

    def note(self, line: str) -> None:
        """Append a line to the controller's log."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / "controller").open("a", encoding="utf-8") as log:
            log.write(f"{now} {line}\n")

    def last_line_of_stderr(self) -> str:
        """Return the last line that is not blank, cut to 256 characters, or an empty string."""
        stderr = self.logs / "stderr"
        tail = stderr.read_bytes()[-8192:].decode("utf-8", errors="replace") if stderr.exists() else ""
        lines = [line.strip() for line in tail.splitlines() if line.strip()]
        return lines[-1][:256] if lines else ""


def upload_logs(s3: S3Client, logs: Path, bucket: str, prefix: str) -> None:
    """Upload each log as `<prefix><name>.gz`, as EMR does.

    Raises:
        botocore.exceptions.ClientError: The upload failed, for example because the bucket does not exist.
    """
    for log in sorted(logs.iterdir()):
        s3.put_object(Bucket=bucket, Key=f"{prefix}{log.name}.gz", Body=gzip.compress(log.read_bytes(), mtime=0))


def _commands(folder: Path, python: Path) -> Path:
    """Write the commands of a node: `python3` and `python3.11` start its Python, `sudo` runs its arguments.

    The commands are scripts, because a link outside of a virtual environment starts the interpreter without the
    environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    interpreter = [str(python)]
    commands = {
        "python3": interpreter,
        f"python3.{sys.version_info.minor}": interpreter,
        "python3.11": interpreter,
        "aws": [sys.executable, str(Path(__file__).with_name("aws_command.py"))],
        "sudo": [],
    }
    for name, command in commands.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder
