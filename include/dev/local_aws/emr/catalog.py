"""What EMR knows by name: release labels and instance types. A cluster that names another one is refused.

Evidence for the messages: answers of RunJobFlow, code ValidationException, that public issues quote: "The supplied
release label is invalid: emr-5.3.1." (a tutorial's transcript, and mrjob's own copy of EMR) and "Instance type
'r5b.xlarge' is not supported." (boto3 3418; terraform-provider-aws 33998 for a type that is too small).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.emr.exceptions import ValidationException

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RELEASES: Final = frozenset({"emr-spark-8.0.0", "emr-spark-8.1.0", *(f"emr-7.{minor}.0" for minor in range(15))})
"""Those of the EMR Release Guide on 2026-11-29 that the application can run on. EMR has older ones too."""
TOO_SMALL: Final = frozenset({"nano", "micro", "small", "medium", "large"})
"""Sizes that EMR does not take of the present generations (EMR Management Guide, "Supported instance types")."""
NOT_OF_EMR: Final = ("mac", "t1", "t2", "t3", "t4")
"""Families that EC2 has and EMR does not (the same page)."""


def require_known(request: Mapping[str, Any]) -> None:
    """Raise an error for a RunJobFlow request that names what EMR does not have.

    Raises:
        ValidationException: As EMR says it.
    """
    label = request.get("ReleaseLabel")
    if label is not None and label not in RELEASES:
        raise ValidationException(f"The supplied release label is invalid: {label}.")
    for name in _instance_types(request.get("Instances", {})):
        if not is_instance_type(name):
            raise ValidationException(f"Instance type '{name}' is not supported.")


def is_instance_type(name: str) -> bool:
    """Return whether EMR takes a type: EC2 has it, by moto's copy of its catalogue, and it is large enough.

    >>> [is_instance_type(name) for name in ("m7g.2xlarge", "m7g.large", "t3.xlarge", "m77g.2xlarge")]
    [True, False, False, False]
    """
    family, _, size = name.partition(".")
    return name in INSTANCE_TYPES and size not in TOO_SMALL and not family.startswith(NOT_OF_EMR)


def _instance_types(instances: Mapping[str, Any]) -> Iterator[str]:
    """Yield the types of a request's nodes, in whichever of the three forms it names them."""
    yield from (instances[key] for key in ("MasterInstanceType", "SlaveInstanceType") if key in instances)
    yield from (group["InstanceType"] for group in instances.get("InstanceGroups", []))
    for fleet in instances.get("InstanceFleets", []):
        yield from (config["InstanceType"] for config in fleet.get("InstanceTypeConfigs", []))
