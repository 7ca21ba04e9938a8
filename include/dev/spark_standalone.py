"""A Spark standalone cluster on this machine, and the settings under which drivers use it with the local AWS.

The cluster is what `include/dev/containers/spark.sh` starts in containers too: a master and workers from PySpark's own
distribution. As a context manager it serves the tests; as a command it writes the settings of the containers' drivers.
What `s3://` is to Spark is told by `include.dev.local_aws.node.spark_conf`.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.error import URLError
from urllib.request import urlopen

from include.dev.local_aws.node.spark_conf import spark_settings, write_spark_conf
from include.dev.local_aws.processes import Identity, end, tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

LAUNCHER = Path(__file__).parent / "containers" / "spark.sh"
WORKERS = 2
WORKER_OPTIONS = ("--cores", "1", "--memory", "1g", "--webui-port", "0")
START_DEADLINE_S = 120.0
LOCALHOST = "127.0.0.1"


class SparkClusterError(Exception):
    """The cluster does not come up; the message names the log that says why."""


class StandaloneCluster:
    """A master and two workers of one core and 1 GB each, on free ports of loopback.

    As a context manager::

        with StandaloneCluster(folder, os.environ | aws.environment) as cluster:
            conf = write_driver_conf(folder / "conf", aws.s3_folder, master=cluster.url)
            subprocess.run(["spark-submit", "job.py"], env=os.environ | {"SPARK_CONF_DIR": str(conf)}, check=True)

    Args:
        folder: For logs and what executors leave; made where it is missing.
        environment: Of the workers, which executors inherit: how their S3 clients find the local AWS.

    Attributes:
        url: The master's, `spark://…`; that of connection `spark_default`.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {**environment, "SPARK_LOCAL_IP": LOCALHOST, "SPARK_CONF_DIR": str(folder / "daemon-conf")}
        # A port that somebody takes meanwhile is an error here; by default Spark tries the next one and tells nobody.
        self.environment["SPARK_DAEMON_JAVA_OPTS"] = "-Dspark.port.maxRetries=0"
        self._processes: list[tuple[Identity, subprocess.Popen[bytes]]] = []
        self.url = ""
        self._status_url = ""

    def __enter__(self) -> Self:
        """Start, and return when both workers are registered.

        Raises:
            SparkClusterError: they are not, after two minutes, or one has ended; then nothing is left running.
        """
        (self.folder / "daemon-conf").mkdir(parents=True, exist_ok=True)
        port, status_port = _free_ports(2)
        self.url, self._status_url = f"spark://{LOCALHOST}:{port}", f"http://{LOCALHOST}:{status_port}/json/"
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._start("master", "--port", str(port), "--webui-port", str(status_port))
            self._await_workers(0)
            for number in range(1, WORKERS + 1):
                self._start(f"worker-{number}", *WORKER_OPTIONS, "--work-dir", str(self.folder / "work"), self.url)
            self._await_workers(WORKERS)
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def stop(self) -> None:
        """Stop master, workers and executors, and wait until they are gone."""
        end([process for identity, _ in reversed(self._processes) for process in tree(identity.process())], grace_s=10)
        for _, process in self._processes:
            process.wait()
        self._processes.clear()

    def status(self) -> dict[str, Any]:
        """Return what the master tells of itself: `workers`, `activeapps` and `completedapps` among it.

        Raises:
            OSError: it does not answer.
        """
        with urlopen(self._status_url, timeout=5) as response:  # noqa: S310 - our own address
            status: dict[str, Any] = json.load(response)
        return status

    def _start(self, name: str, *options: str) -> None:
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own script
                [str(LAUNCHER), name.partition("-")[0], "--host", LOCALHOST, *options],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append((Identity.of(process.pid), process))

    def _await_workers(self, wanted: int) -> None:
        """Wait until the master answers and knows so many workers."""
        until = time.monotonic() + START_DEADLINE_S
        while self._alive_workers() < wanted:
            ended = any(process.poll() is not None for _, process in self._processes)
            if ended or time.monotonic() > until:
                what = "a process of it ended" if ended else f"after {START_DEADLINE_S:.0f} s it is not complete"
                raise SparkClusterError(f"The Spark cluster did not come up: {what}; see the logs {self._log('*')}.")
            time.sleep(0.2)

    def _alive_workers(self) -> int:
        """Workers that the master counts on, -1 while it does not answer."""
        try:
            return sum(worker["state"] == "ALIVE" for worker in self.status()["workers"])
        except (URLError, OSError, ValueError):
            return -1

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def write_driver_conf(folder: Path, s3_folder: Path, *, master: str, driver_host: str = LOCALHOST) -> Path:
    """Write the settings of drivers on this machine, to be named by `SPARK_CONF_DIR`.

    Spark hands on to the executors what the driver knows of `s3://`. That is the buckets which exist now: write anew
    after making a bucket.

    Args:
        folder: Where to; below it the driver keeps its temporary files.
        s3_folder: The folder that the local S3 serves, the same one for the driver and all executors.
        master: The master's URL.
        driver_host: The name by which executors reach the driver.

    Returns:
        The folder.
    """
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    settings = spark_settings(s3_folder, scratch=scratch, master=master)
    settings |= {"spark.pyspark.python": sys.executable, "spark.executor.memory": "1g"}
    if driver_host != LOCALHOST:
        settings |= {"spark.driver.host": driver_host, "spark.driver.bindAddress": "0.0.0.0"}  # noqa: S104 - a container's
    return write_spark_conf(folder, settings)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind((LOCALHOST, 0))
        return [bound.getsockname()[1] for bound in sockets]


def main(argv: list[str] | None = None) -> int:
    """Write the settings of a driver; which master it uses is told to `spark-submit`."""
    parser = argparse.ArgumentParser(prog="python -m include.dev.spark_standalone", description=main.__doc__)
    parser.add_argument("--conf", type=Path, required=True, help="the folder to write, for SPARK_CONF_DIR")
    parser.add_argument("--s3-folder", type=Path, required=True, help="the folder that the local S3 serves")
    parser.add_argument(
        "--driver-host", default=LOCALHOST, help="name by which executors reach the driver (%(default)s)"
    )
    arguments = parser.parse_args(argv)
    write_driver_conf(
        arguments.conf.resolve(), arguments.s3_folder, master="local[*,4]", driver_host=arguments.driver_host
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
