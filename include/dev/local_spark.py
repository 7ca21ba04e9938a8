"""Spark cluster of `make up SPARK=1`, for `fruits_features_spark`.

Its processes carry the mark of the local AWS, so that they end with it. Its port is chosen once per checkout, so that a
running Airflow finds a cluster that is started later.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from include.dev.local_aws.processes import MARK
from include.dev.ports import free_ports
from include.dev.spark_standalone import LOCALHOST, StandaloneCluster, write_driver_conf

if TYPE_CHECKING:
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws

_LOCALE = {"LC_ALL": "C.UTF-8"}
"""The JVM encodes file names, which are the keys of the local S3, by locale."""


def driver_environment(folder: Path, aws: LocalAws) -> dict[str, str]:
    """Return the variables with which Airflow submits to the cluster, whether it runs or not.

    Args:
        folder: Folder of the cluster.
        aws: Running local AWS.
    """
    url = f"spark://{LOCALHOST}:{_port(folder)}"
    conf = write_driver_conf(folder / "conf", aws.s3_folder, master=url)
    connection = {"AIRFLOW_CONN_SPARK_DEFAULT": f"{url}?deploy-mode=client"}
    return {"SPARK_CONF_DIR": str(conf), **connection, **_LOCALE}


def start(folder: Path, aws: LocalAws) -> None:
    """Start the cluster, unless it runs.

    Args:
        folder: Folder of the cluster.
        aws: Running local AWS, with which the cluster ends.

    Raises:
        SparkClusterError: A process ended, or the workers were not registered in time.
    """
    if not _answers(_port(folder)):
        environment = aws.process_environment | {MARK: aws.run_id} | _LOCALE
        StandaloneCluster(folder, environment, port=_port(folder)).start()


def _port(folder: Path) -> int:
    """Return the port of the master, which is stored in the folder."""
    stored = folder / "port"
    if not stored.exists():
        folder.mkdir(parents=True, exist_ok=True)
        stored.write_text(str(free_ports(1)[0]))
    return int(stored.read_text())


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOCALHOST, port)) == 0
