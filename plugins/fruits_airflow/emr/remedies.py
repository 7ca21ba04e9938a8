"""Remedies for known failures, found by the words of EMR, EC2, Spark or the application.

`tests/unit/fruits_airflow/emr/test_diagnosis.py` contains each recognised message as its source writes it.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Remedy(NamedTuple):
    """Instruction for failures whose text matches a pattern."""

    pattern: re.Pattern[str]
    sentence: str


def _remedy(pattern: str, sentence: str) -> Remedy:
    return Remedy(re.compile(pattern, re.IGNORECASE), sentence)


REMEDIES = (
    _remedy(
        r"images were quarantined",
        "Read the reasons in the run's quarantine table. Then fix the images, or raise the parameter "
        "`max_quarantine_share`.",
    ),
    _remedy(
        r"VcpuLimitExceeded|InstanceLimitExceeded|LimitExceededException|limit exceeded|\bquota\b",
        "The account's quota is used up. End unused clusters, request fewer nodes, or raise the quota in AWS Service "
        "Quotas.",
    ),
    _remedy(
        r"insufficient.?(instance.?)?capacity|out of capacity|SPOT_NO_CAPACITY|INSTANCE_FLEET_TIMEOUT",
        "EC2 has no capacity for these instance types at the moment. Run again later, or choose other instance types "
        "or another subnet (settings FRUITS_EMR_*).",
    ),
    _remedy(
        r"iam:PassRole|service role .*(invalid|permissions)|invalid instanceprofile",
        "Check FRUITS_EMR_SERVICE_ROLE and FRUITS_EMR_INSTANCE_PROFILE. Both must exist and trust EMR and EC2. "
        "Airflow's role must be allowed to pass them (iam:PassRole).",
    ),
    _remedy(
        r"release label is invalid",
        "FRUITS_EMR_RELEASE is not an EMR release of this region. Choose a release from the EMR Release Guide.",
    ),
    _remedy(
        r"instance type \S+ is not supported|INSTANCE_TYPE_NOT_SUPPORTED",
        "EMR does not offer this instance type in the region, or in the Availability Zone of the subnet. Remove it "
        "from the table of prices (FRUITS_PRICES), or choose another subnet (FRUITS_EMR_SUBNET_ID).",
    ),
    _remedy(
        r"enough free addresses|InsufficientFreeAddresses",
        "The subnet has too few free addresses for the nodes. End unused clusters, or choose a larger subnet, or "
        "several subnets (FRUITS_EMR_SUBNET_ID).",
    ),
    _remedy(
        r"BOOTSTRAP_FAILURE",
        "The nodes could not be prepared. The end of the bootstrap action's output is in this log. Usually its script, "
        "a wheel, or the network route to S3 is missing.",
    ),
    _remedy(
        r"INSTANCE_FAILURE|node was terminated|instances .* are terminated|SPOT_PRICE_INCREASE",
        "EC2 terminated an instance, as it may do with spot instances. Run again. On-demand primary and core nodes are "
        "not interrupted.",
    ),
    _remedy(
        r"ExpiredToken|security token included in the request is expired",
        "Airflow's AWS credentials expired. Configure its connection to assume a role, which renews them, and run "
        "again.",
    ),
    _remedy(
        r"OutOfMemoryError|MemoryError|exceeding (physical )?memory limits|exit ?code:? ?137|Exit code is 137",
        "Memory ran out. Turn off `include_pixels`, lower FRUITS_MAX_IMAGE_PIXELS, use a smaller ONNX model, or read "
        "fewer images (`image_prefix`).",
    ),
    _remedy(
        r"AccessDenied|access denied|not authorized to perform|\(403\)|status code: 403",
        "A role lacks a permission. The instance profile reads and writes S3. Airflow's role calls EMR. The message "
        "names the role and the action.",
    ),
    _remedy(
        r"ThrottlingException|Rate exceeded|SlowDown|RequestLimitExceeded",
        "AWS throttled requests for longer than they were retried. Run again later, at another minute than other "
        "pipelines.",
    ),
)


def remedy_for(text: str) -> str:
    """Return the remedy for a failure message, or an empty string if the failure is unknown.

    >>> remedy_for("VALIDATION_ERROR: EMR service role arn:aws:iam::1:role/EMR_DefaultRole is invalid")[:35]
    'Check FRUITS_EMR_SERVICE_ROLE and F'
    >>> remedy_for("never seen before")
    ''
    """
    return next((remedy.sentence for remedy in REMEDIES if remedy.pattern.search(text)), "")
