"""Release labels and instance types of EMR. A cluster with another one is rejected.

Evidence for the messages: public issues quote RunJobFlow's responses with the code ValidationException. "The supplied
release label is invalid: emr-5.3.1." is in a tutorial's transcript and in mrjob's copy of EMR. "Instance type
'r5b.xlarge' is not supported." is in boto3 3418, and in terraform-provider-aws 33998 for a type that is too small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.emr.exceptions import ValidationException

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RELEASES: Final = frozenset({"emr-spark-8.0.0", "emr-spark-8.1.0", *(f"emr-7.{minor}.0" for minor in range(15))})
"""Releases of the EMR Release Guide on 2026-11-29 that can run the application. EMR also has older ones."""
SMALL_SIZES: Final = frozenset({"nano", "micro", "small", "medium", "large"})
"""Sizes of current generations that EMR does not support (EMR Management Guide, "Supported instance types")."""
UNSUPPORTED_FAMILIES: Final = ("mac", "t1", "t2", "t3", "t4")
"""Families of EC2 that EMR does not support (the same page)."""


def require_known(request: Mapping[str, Any]) -> None:
    """Raise EMR's error for a RunJobFlow request with an unknown release label or instance type.

    Raises:
        ValidationException: The release label or an instance type is unknown.
    """
    label = request.get("ReleaseLabel")
    if label is not None and label not in RELEASES:
        raise ValidationException(f"The supplied release label is invalid: {label}.")
    for name in _instance_types(request.get("Instances", {})):
        if not is_instance_type(name):
            raise ValidationException(f"Instance type '{name}' is not supported.")


def is_instance_type(name: str) -> bool:
    """Return whether EMR supports an instance type. moto has a copy of EC2's types.

    >>> [is_instance_type(name) for name in ("m7g.2xlarge", "m7g.large", "t3.xlarge", "m77g.2xlarge")]
    [True, False, False, False]
    """
    family, _, size = name.partition(".")
    return name in INSTANCE_TYPES and size not in SMALL_SIZES and not family.startswith(UNSUPPORTED_FAMILIES)


def _instance_types(instances: Mapping[str, Any]) -> Iterator[str]:
    """Yield the instance types of a request, which has one of three formats."""
    yield from (instances[key] for key in ("MasterInstanceType", "SlaveInstanceType") if key in instances)
    yield from (group["InstanceType"] for group in instances.get("InstanceGroups", []))
    for fleet in instances.get("InstanceFleets", []):
        yield from (config["InstanceType"] for config in fleet.get("InstanceTypeConfigs", []))
