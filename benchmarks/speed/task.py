"""What every candidate is asked to do, and what it answers.

Standard library only, as candidates run in environments of their own.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

READY = "ready"
"""What a candidate's process says once its session has started."""


@dataclass(frozen=True)
class Task:
    """Images in S3 to be turned into features.

    Args:
        bucket: holds the images.
        inventory: folder of the inventory's Parquet file, on disk.
        folder: what the S3 server serves as the bucket, for those who cannot read from S3.
        output: folder on disk for what comes out, and scratch; the candidate's own.
        images: how many there are.
        cores: how many processors may be used.
    """

    bucket: str
    inventory: str
    folder: str
    output: str
    images: int
    cores: int

    def to_json(self) -> str:
        """Write, for the command line of a candidate's process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Done:
    """What a candidate has done.

    Args:
        images: how many it has described.
        described_s: seconds of its work after which they were, the Parquet closed, where it went on with them.
    """

    images: int
    described_s: float | None = None

    def to_json(self) -> str:
        """Write, as a line of a candidate's process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))
