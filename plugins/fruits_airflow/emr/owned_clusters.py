"""Active EMR clusters that belong to this deployment."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_emr import EMRClient
    from mypy_boto3_emr.literals import ClusterStateType
    from mypy_boto3_emr.type_defs import ClusterTypeDef

    from include.emr.tags import ClusterOwner

log = logging.getLogger(__name__)

ACTIVE_STATES: Sequence[ClusterStateType] = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
"""States in which a cluster can run steps and causes cost. In any other state it is ending or terminated."""

DENIED = {"AccessDeniedException", "AccessDenied"}


class OwnedCluster(NamedTuple):
    """An active cluster and the run that owns it."""

    id: str
    name: str
    owner: ClusterOwner


def owned(emr: EMRClient, deployment: str) -> Iterator[OwnedCluster]:
    """Yield the deployment's active clusters, oldest first.

    Clusters are filtered by name, then confirmed by their exact name and all tags. Tags alone prove nothing, because a
    cluster of another application can be tagged later. A cluster cannot be renamed. ListClusters returns no tags (EMR
    API reference), so the tags need one DescribeCluster per cluster.

    Args:
        emr: EMR client.
        deployment: Name of the deployment. Clusters of other deployments are ignored.
    """
    from include.emr.tags import NAME_PREFIX, ClusterOwner

    pages = emr.get_paginator("list_clusters").paginate(ClusterStates=ACTIVE_STATES)
    listed = [cluster for page in pages for cluster in page["Clusters"] if cluster["Name"].startswith(NAME_PREFIX)]
    for cluster in sorted(listed, key=lambda cluster: cluster["Status"]["Timeline"]["CreationDateTime"]):
        described = _describe(emr, cluster["Id"])
        owner = ClusterOwner.of(described["Tags"]) if described else None
        if owner and owner.deployment == deployment and owner.cluster_name == cluster["Name"]:
            yield OwnedCluster(cluster["Id"], cluster["Name"], owner)


def _describe(emr: EMRClient, cluster_id: str) -> ClusterTypeDef | None:
    """Return a cluster's description, or `None` if this role may not read it."""
    try:
        return emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED:
            raise
        log.warning("Ignoring cluster %s, because DescribeCluster is not allowed for it: %s", cluster_id, error)
        return None
