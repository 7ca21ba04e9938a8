"""Spark standalone cluster on this machine, and the settings of drivers that use it with the local AWS.

The cluster has a master and workers from PySpark's distribution, started by `include/dev/containers/spark.sh` as in
containers. Tests use the context manager. The command writes the settings of the containers' drivers.
`include.dev.local_aws.node.spark_conf` configures `s3://`.
"""

from __future__ import annotations

import argparse
import json
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
from include.dev.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

LAUNCHER = Path(__file__).parent / "containers" / "spark.sh"
WORKERS = 2
WORKER_OPTIONS = ("--cores", "1", "--memory", "1g", "--webui-port", "0")
START_DEADLINE_S = 120.0
LOCALHOST = "127.0.0.1"


class SparkClusterError(Exception):
    """The cluster did not start. The message names the logs."""


class StandaloneCluster:
    """Master and two workers of one core and 1 GB each, on free ports of loopback.

    As a context manager::

        with StandaloneCluster(folder, aws.process_environment) as cluster:
            conf = write_driver_conf(folder / "conf", aws.s3_folder, master=cluster.url)
            subprocess.run(["spark-submit", "job.py"], env=os.environ | {"SPARK_CONF_DIR": str(conf)}, check=True)

    Args:
        folder: Folder for logs and executors' files, created if missing.
        environment: Environment of the workers, which executors inherit, so that S3 clients find the local AWS.
        port: Port of the master on loopback; 0 selects a free one.

    Attributes:
        url: URL of the master, `spark://…`, for the connection `spark_default`.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *, port: int = 0) -> None:
        self.folder, self._port = folder, port
        self.environment = {**environment, "SPARK_LOCAL_IP": LOCALHOST, "SPARK_CONF_DIR": str(folder / "daemon-conf")}
        # Fail on a port that is in use. By default Spark silently tries the next one.
        self.environment["SPARK_DAEMON_JAVA_OPTS"] = "-Dspark.port.maxRetries=0"
        self._processes: list[tuple[Identity, subprocess.Popen[bytes]]] = []
        self.url = ""
        self._status_url = ""

    def __enter__(self) -> Self:
        """Start the cluster."""
        self.start()
        return self

    def start(self) -> None:
        """Start the cluster and return when both workers are registered.

        Raises:
            SparkClusterError: A process ended, or the workers were not registered in time. No process is left running.
        """
        (self.folder / "daemon-conf").mkdir(parents=True, exist_ok=True)
        free_port, status_port = free_ports(2)
        port = self._port or free_port
        self.url, self._status_url = f"spark://{LOCALHOST}:{port}", f"http://{LOCALHOST}:{status_port}/json/"
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._start("master", "--port", str(port), "--webui-port", str(status_port))
            self._await_workers(0)
            for number in range(1, WORKERS + 1):
                self._start(f"worker-{number}", *WORKER_OPTIONS, "--work-dir", str(self.folder / "work"), self.url)
            self._await_workers(WORKERS)
            undo.pop_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the cluster."""
        self.stop()

    def stop(self) -> None:
        """Stop master, workers and executors, and wait until they have ended."""
        end([process for identity, _ in reversed(self._processes) for process in tree(identity.process())], grace_s=10)
        for _, process in self._processes:
            process.wait()
        self._processes.clear()

    def status(self) -> dict[str, Any]:
        """Return the master's status, with `workers`, `activeapps` and `completedapps`.

        Raises:
            OSError: The master does not answer.
        """
        with urlopen(self._status_url, timeout=5) as response:  # noqa: S310 - loopback
            status: dict[str, Any] = json.load(response)
        return status

    def _start(self, name: str, *options: str) -> None:
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - a script of this project
                [str(LAUNCHER), name.partition("-")[0], "--host", LOCALHOST, *options],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append((Identity.of(process.pid), process))

    def _await_workers(self, count: int) -> None:
        """Wait until the master answers and has at least `count` workers.

        Raises:
            SparkClusterError: A process ended, or the time is over.
        """
        until = time.monotonic() + START_DEADLINE_S
        while self._alive_workers() < count:
            ended = any(process.poll() is not None for _, process in self._processes)
            if ended or time.monotonic() > until:
                reason = "a process ended" if ended else f"workers are missing after {START_DEADLINE_S:.0f} s"
                raise SparkClusterError(f"The Spark cluster did not start: {reason}; see the logs {self._log('*')}.")
            time.sleep(0.2)

    def _alive_workers(self) -> int:
        """Return the number of live workers, or -1 while the master does not answer."""
        try:
            return sum(worker["state"] == "ALIVE" for worker in self.status()["workers"])
        except (URLError, OSError, ValueError):
            return -1

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def write_driver_conf(folder: Path, s3_folder: Path, *, master: str, driver_host: str = LOCALHOST) -> Path:
    """Write the settings of drivers on this machine into a folder for `SPARK_CONF_DIR`, and return the folder.

    Spark passes the driver's settings of `s3://` to the executors. They contain the existing buckets, so write them
    again after the creation of a bucket.

    Args:
        folder: Folder of the settings and of the driver's temporary files.
        s3_folder: Folder that the local S3 serves, with the same path for the driver and all executors.
        master: URL of the master.
        driver_host: Host name with which executors reach the driver.
    """
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    settings = spark_settings(s3_folder, scratch=scratch, master=master)
    settings |= {"spark.pyspark.python": sys.executable, "spark.executor.memory": "1g"}
    if driver_host != LOCALHOST:
        settings |= {"spark.driver.host": driver_host, "spark.driver.bindAddress": "0.0.0.0"}  # noqa: S104 - inside a container
    return write_spark_conf(folder, settings)


def main(argv: list[str] | None = None) -> int:
    """Write the settings of a driver. The option `--master` of `spark-submit` selects the cluster."""
    parser = argparse.ArgumentParser(prog="python -m include.dev.spark_standalone", description=main.__doc__)
    parser.add_argument("--conf", type=Path, required=True, help="folder to write, for SPARK_CONF_DIR")
    parser.add_argument("--s3-folder", type=Path, required=True, help="folder that the local S3 serves")
    parser.add_argument(
        "--driver-host",
        default=LOCALHOST,
        help="host name with which executors reach the driver (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    write_driver_conf(
        arguments.conf.resolve(), arguments.s3_folder, master="local[*,4]", driver_host=arguments.driver_host
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
