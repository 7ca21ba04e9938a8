"""Whose a cluster is, told by its tags: the one way to find the cluster of a run, and to leave others' alone.

EMR has no idempotency token for RunJobFlow (API reference, RunJobFlow), so the tags of the request carry one: a retry
looks for it before it asks for a cluster. Pure: whoever looks calls AWS.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

APPLICATION_TAG = "fruits-image-features"
NAME_PREFIX = "fruits "
"""Begins the name of each of our clusters: ListClusters tells names but no tags."""


@dataclass(frozen=True)
class ClusterOwner:
    """The run that a cluster works for.

    Args:
        deployment: tells apart the Airflows that share an AWS account (`Settings.deployment_name`).
        dag_id: its DAG.
        run_id: its DAG run.
    """

    deployment: str
    dag_id: str
    run_id: str

    @property
    def token(self) -> str:
        """One word for all three, the same at each try of the same run.

        >>> ClusterOwner("orchard", "fruits_features", "manual__1").token
        'ecca18cae620d001'
        """
        return sha256(f"{self.deployment}\n{self.dag_id}\n{self.run_id}".encode()).hexdigest()[:16]

    @property
    def cluster_name(self) -> str:
        """What people read in the console; EMR takes 256 characters."""
        return f"{NAME_PREFIX}{self.dag_id} {self.run_id}"[:256]

    def tags(self) -> list[dict[str, str]]:
        """The tags of the run's cluster."""
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
        """Read a cluster's origin from its tags; `None` where it is none of ours, or its tags do not agree.

        >>> origin = ClusterOwner("orchard", "fruits_features", "manual__1")
        >>> ClusterOwner.of(origin.tags()) == origin, ClusterOwner.of([{"Key": "application", "Value": "another"}])
        (True, None)
        """
        values = {tag["Key"]: tag.get("Value", "") for tag in tags}
        if values.get("application") != APPLICATION_TAG or not {"deployment", "dag", "dag_run"} <= set(values):
            return None
        origin = cls(values["deployment"], values["dag"], values["dag_run"])
        return origin if values.get("token") == origin.token else None
