"""What to do about failures that are known: one line each, found by the words of EMR, EC2, Spark or the application.

Each message that is recognised stands in `tests/unit/fruits_airflow/emr/test_diagnosis.py` as its source gives it.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Remedy(NamedTuple):
    """A way out of failures whose text matches a pattern."""

    pattern: re.Pattern[str]
    sentence: str


def _advice(pattern: str, sentence: str) -> Remedy:
    return Remedy(re.compile(pattern, re.IGNORECASE), sentence)


KNOWN = (
    _advice(
        r"images were quarantined",
        "Look at the run's quarantine for the reasons; then mend the images, or raise the parameter "
        "`max_quarantine_share`.",
    ),
    _advice(
        r"VcpuLimitExceeded|InstanceLimitExceeded|LimitExceededException|limit exceeded|\bquota\b",
        "The account's quota is used up: end what nobody needs, ask for fewer nodes, or have the quota raised in "
        "AWS's Service Quotas.",
    ),
    _advice(
        r"insufficient.?(instance.?)?capacity|out of capacity|SPOT_NO_CAPACITY|INSTANCE_FLEET_TIMEOUT",
        "EC2 has no such machines there at the moment: run again later, or choose other instance types or another "
        "subnet (settings FRUITS_EMR_*).",
    ),
    _advice(
        r"iam:PassRole|service role .*(invalid|permissions)|invalid instanceprofile",
        "Check FRUITS_EMR_SERVICE_ROLE and FRUITS_EMR_INSTANCE_PROFILE: both must exist and trust EMR and EC2, and "
        "Airflow's own role must be allowed to pass them (iam:PassRole).",
    ),
    _advice(
        r"release label is invalid",
        "FRUITS_EMR_RELEASE names no release of EMR in this region: see EMR's release guide.",
    ),
    _advice(
        r"BOOTSTRAP_FAILURE",
        "The machines could not be prepared: the end of the bootstrap action's output is in this log; most often its "
        "script, a wheel, or the way to S3 is missing.",
    ),
    _advice(
        r"INSTANCE_FAILURE|node was terminated|instances .* are terminated|SPOT_PRICE_INCREASE",
        "EC2 took a machine away, as it may with spot instances: run again; primary and core nodes on demand are "
        "not taken.",
    ),
    _advice(
        r"ExpiredToken|security token included in the request is expired",
        "Airflow's AWS credentials expired: let its connection assume a role, which renews them, and run again.",
    ),
    _advice(
        r"OutOfMemoryError|MemoryError|exceeding (physical )?memory limits|exit ?code:? ?137|Exit code is 137",
        "Memory ran out: take nodes with more memory, or give Spark's executors fewer cores each.",
    ),
    _advice(
        r"AccessDenied|access denied|not authorized to perform|\(403\)|status code: 403",
        "A role lacks a right: reading and writing S3 is the instance profile's, EMR's own calls are Airflow's role's; "
        "the message names which.",
    ),
    _advice(
        r"ThrottlingException|Rate exceeded|SlowDown|RequestLimitExceeded",
        "AWS refused too many requests for longer than they were repeated: run again later, at another minute than "
        "other pipelines.",
    ),
)


def advice_for(text: str) -> str:
    """The advice for a failure; empty where none is known.

    >>> advice_for("VALIDATION_ERROR: EMR service role arn:aws:iam::1:role/EMR_DefaultRole is invalid")[:35]
    'Check FRUITS_EMR_SERVICE_ROLE and F'
    >>> advice_for("never seen before")
    ''
    """
    return next((known.sentence for known in KNOWN if known.pattern.search(text)), "")
