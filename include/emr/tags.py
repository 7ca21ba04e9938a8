"""Tags that identify the owner of a cluster. No AWS call.

RunJobFlow has no idempotency token (EMR's API Reference). So the tags contain one, and a retry searches for it before
it requests a cluster. Clusters with other tags are never changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

APPLICATION_TAG = "fruits-image-features"
NAME_PREFIX = "fruits "
"""Prefix of the clusters' names, since ListClusters returns names and no tags."""


@dataclass(frozen=True)
class ClusterOwner:
    """The DAG run that a cluster belongs to.

    Args:
        deployment: Name of the Airflow deployment, unique in the AWS account (`Settings.deployment_name`).
        dag_id: ID of the DAG.
        run_id: ID of the DAG run.
    """

    deployment: str
    dag_id: str
    run_id: str

    @property
    def token(self) -> str:
        """Hash of the three fields, which is the same in each attempt of a run.

        >>> ClusterOwner("orchard", "fruits_features", "manual__1").token
        'ecca18cae620d001'
        """
        return sha256(f"{self.deployment}\n{self.dag_id}\n{self.run_id}".encode()).hexdigest()[:16]

    @property
    def cluster_name(self) -> str:
        """Name of the cluster in the console, within EMR's limit of 256 characters."""
        return f"{NAME_PREFIX}{self.dag_id} {self.run_id}"[:256]

    def tags(self) -> list[dict[str, str]]:
        """Return the tags of the run's cluster."""
        values = {
            "application": APPLICATION_TAG,
            "deployment": self.deployment,
            "dag": self.dag_id,
            "dag_run": self.run_id,
            "token": self.token,
        }
        return [{"Key": key, "Value": value} for key, value in values.items()]

    @classmethod
    def of(cls, tags: Iterable[Mapping[str, Any]]) -> ClusterOwner | None:
        """Return the owner in a cluster's tags; None if the tags are incomplete, inconsistent or another application's.

        >>> owner = ClusterOwner("orchard", "fruits_features", "manual__1")
        >>> ClusterOwner.of(owner.tags()) == owner, ClusterOwner.of([{"Key": "application", "Value": "another"}])
        (True, None)
        """
        values = {tag["Key"]: tag.get("Value", "") for tag in tags}
        if values.get("application") != APPLICATION_TAG or not {"deployment", "dag", "dag_run"} <= set(values):
            return None
        owner = cls(values["deployment"], values["dag"], values["dag_run"])
        return owner if values.get("token") == owner.token else None
