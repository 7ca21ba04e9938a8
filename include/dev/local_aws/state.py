"""What local AWS keeps in its folder, and the environment by which clients find it.

<state>/s3/<bucket>/…      the objects: they stay over restarts
<state>/clusters/          the clusters' disks: gone when local AWS stops, as EMR's are
<state>/local_aws.json     pid, start time, run id and environment of what runs
<state>/environment.sh     the same environment, to be sourced
<state>/local_aws.log      what the servers complain about
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from include.dev.local_aws.s3.server import ACCESS_KEY_ID, SECRET_ACCESS_KEY

NODES = Path(__file__).resolve().parents[3] / ".local" / "nodes"
"""The clusters' Pythons: shared by every local AWS of this checkout, since each is named after what made it."""
DEFAULT_BUCKET = "fruits"
REGION = "eu-west-1"


def aws_environment(s3_port: int, emr_port: int) -> dict[str, str]:
    """Return the variables by which boto3, Airflow's hooks, the AWS CLI and obstore find local AWS.

    botocore takes `AWS_ENDPOINT_URL_S3` for S3 and `AWS_ENDPOINT_URL` for all else (AWS SDKs and Tools Reference
    Guide, "Service-specific endpoints").
    """
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{emr_port}",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3_port}",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
        # rclone answers a GET of a range with the checksum of the whole object, which SDKs compare with the range's
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


class StateFolder:
    """The folder's paths, and the record of what runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.s3 = self.folder / "s3"
        self.clusters = self.folder / "clusters"
        self.record = self.folder / "local_aws.json"
        self.exports = self.folder / "environment.sh"
        self.log = self.folder / "local_aws.log"
        self.lock = self.folder / "lock"

    def publish(self, report: dict[str, Any]) -> None:
        """Write the record and the exports; each is there as a whole or not at all."""
        lines = [f"export {key}={shlex.quote(value)}\n" for key, value in report["environment"].items()]
        _write(self.exports, "".join(["unset AWS_PROFILE AWS_SESSION_TOKEN\n", *lines]))
        _write(self.record, json.dumps(report, indent=2))

    def read(self) -> dict[str, Any] | None:
        """Return the record of what was started last and not cleared."""
        try:
            record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return record

    def clear(self) -> None:
        """Forget what ran."""
        self.record.unlink(missing_ok=True)
        self.exports.unlink(missing_ok=True)


def _write(file: Path, text: str) -> None:
    half = file.with_suffix(f".{os.getpid()}")
    half.write_text(text, encoding="utf-8")
    half.replace(file)
