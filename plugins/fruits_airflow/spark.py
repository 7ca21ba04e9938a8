"""The Spark cluster of `fruits_features_spark`, which is not created by the DAG."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

if TYPE_CHECKING:
    from airflow.sdk import Context

CONNECTION_ID: Final = "spark_default"
CONNECT_TIMEOUT_S = 10.0
"""Longest wait for the answer of a master, in seconds."""
_FIX = (
    "start a local cluster with `make up SPARK=1`, or define the connection of an existing one, for example "
    "spark://host:7077."
)


def require_cluster(context: Context) -> None:  # noqa: ARG001 - Airflow's signature of `pre_execute`
    """Check that there is a cluster. Without a connection, the provider submits to YARN, which fails with its errors.

    Only a standalone master is asked for an answer. Other cluster managers have addresses of their own.

    Raises:
        AirflowFailException: The connection is not defined, or the master does not answer.
    """
    try:
        connection = Connection.get(CONNECTION_ID)
    except AirflowNotFoundException as error:
        raise AirflowFailException(
            f"There is no Spark cluster, because the connection `{CONNECTION_ID}` is not defined: {_FIX}"
        ) from error
    # A connection of the form has the URL as its host. One of a URI is split.
    host = connection.host or ""
    url = urlsplit(host if "://" in host else f"{connection.conn_type}://{host}:{connection.port}")
    if url.scheme != "spark" or "," in url.netloc or not url.port:  # "," separates several masters
        return
    try:
        socket.create_connection((url.hostname, url.port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise AirflowFailException(
            f"The Spark master spark://{url.netloc} of the connection `{CONNECTION_ID}` does not answer "
            f"({error.strerror or error}): {_FIX}"
        ) from error
