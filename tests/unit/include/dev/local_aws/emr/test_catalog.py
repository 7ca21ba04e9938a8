"""Release labels and instance types that EMR does not support."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.unit.include.dev.local_aws.conftest import Emr


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"ReleaseLabel": "emr-spark-9.0.0"}, "The supplied release label is invalid: emr-spark-9.0.0."),
        ({"ReleaseLabel": "emr-5.3.1"}, "The supplied release label is invalid: emr-5.3.1."),
        (
            {
                "ReleaseLabel": "emr-spark-8.1.0",
                "Instances": {
                    "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m77g.xlarge", "InstanceCount": 1}]
                },
            },
            "Instance type 'm77g.xlarge' is not supported.",
        ),
        (
            {
                "Instances": {
                    "InstanceGroups": [],
                    "InstanceFleets": [
                        {
                            "InstanceFleetType": "MASTER",
                            "TargetOnDemandCapacity": 1,
                            "InstanceTypeConfigs": [{"InstanceType": "m7g.xlarge"}, {"InstanceType": "m7g.large"}],
                        }
                    ],
                }
            },
            "Instance type 'm7g.large' is not supported.",
        ),
    ],
)
def test_unknown_release_or_instance_type_is_rejected(emr: Emr, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError) as raised:
        emr.create(**request_)

    error = raised.value.response["Error"]
    assert (error["Code"], error["Message"]) == ("ValidationException", message)
    assert emr.api.list_clusters(ClusterStates=["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"])["Clusters"] == []


@pytest.mark.parametrize("label", ["emr-spark-8.1.0", "emr-spark-8.0.0", "emr-7.9.0"])
def test_cluster_of_a_known_release_is_created(emr: Emr, label: str) -> None:
    cluster = emr.create(ReleaseLabel=label)

    assert emr.api.describe_cluster(ClusterId=cluster)["Cluster"]["ReleaseLabel"] == label
