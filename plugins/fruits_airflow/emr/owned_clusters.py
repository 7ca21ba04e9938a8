"""Our clusters as EMR knows them: those of one run, and those of a whole deployment."""

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
"""A cluster in another state is ending or over: it takes no step, and its bill is ending."""

DENIED = {"AccessDeniedException", "AccessDenied"}


class OwnedCluster(NamedTuple):
    """An active cluster, and the run it works for."""

    id: str
    name: str
    origin: ClusterOwner


def owned(emr: EMRClient, deployment: str) -> Iterator[OwnedCluster]:
    """Find the deployment's active clusters, the oldest first.

    ListClusters tells no tags, and DescribeCluster one cluster's: names decide who is asked, tags who is ours.

    Args:
        emr: an EMR client.
        deployment: the deployment's name; clusters of others are left out.
    """
    from include.emr.tags import NAME_PREFIX, ClusterOwner

    pages = emr.get_paginator("list_clusters").paginate(ClusterStates=ACTIVE_STATES)
    listed = [cluster for page in pages for cluster in page["Clusters"] if cluster["Name"].startswith(NAME_PREFIX)]
    for cluster in sorted(listed, key=lambda one: one["Status"]["Timeline"]["CreationDateTime"]):
        described = _described(emr, cluster["Id"])
        origin = ClusterOwner.of(described["Tags"]) if described else None
        if origin and origin.deployment == deployment:
            yield OwnedCluster(cluster["Id"], cluster["Name"], origin)


def _described(emr: EMRClient, cluster_id: str) -> ClusterTypeDef | None:
    try:
        return emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED:
            raise
        log.warning("Cluster %s may not be described, so it is taken for another's: %s", cluster_id, error)
        return None
