"""Task and result of a candidate.

This module uses the standard library only, since some candidates run in separate environments.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

READY = "ready"
"""Line that a candidate's process writes when its session has started."""


@dataclass(frozen=True)
class Task:
    """Images in S3 from which features are extracted.

    Args:
        bucket: Bucket of the images.
        inventory: Folder of the inventory's Parquet file on disk.
        folder: Folder that the S3 server serves as the bucket, for candidates that cannot read from S3.
        output: Folder on disk for results and temporary files of the candidate.
        images: Number of images.
        cores: Number of cores to use.
        model: Path of the model of the family `onnx`, which is then the only family; `None` for the default families.
    """

    bucket: str
    inventory: str
    folder: str
    output: str
    images: int
    cores: int
    model: str | None = None

    def to_json(self) -> str:
        """Return the task as JSON, for the command line of a candidate's process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the task of a JSON text."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Done:
    """Result of a job.

    Args:
        images: Number of images whose features were extracted.
        extracted_s: Seconds until then, with the Parquet closed, if the candidate continued after that.
    """

    images: int
    extracted_s: float | None = None

    def to_json(self) -> str:
        """Return the result as JSON, for a line of a candidate's process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the result of a JSON text."""
        return cls(**json.loads(text))
