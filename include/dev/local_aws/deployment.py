"""Upload the application, its wheels and the network to a local AWS, as `make deploy` does to an AWS account.

`python -m include.dev.local_aws.deployment` uploads to the local AWS that the environment variables name.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import boto3

from include.artifacts import bundle, wheelhouse
from include.deploy import uploads
from include.deploy.model.build import ModelError
from include.dev.local_aws.errors import LocalAwsError
from include.dev.local_aws.state import DEFAULT_BUCKET

if TYPE_CHECKING:
    from mypy_boto3_emr import EMRClient
    from mypy_boto3_emr.type_defs import ScriptBootstrapActionConfigUnionTypeDef
    from mypy_boto3_s3 import S3Client


def main(argv: list[str] | None = None) -> int:
    """Build and upload the artifacts; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m include.dev.local_aws.deployment",
        description="Upload what clusters install and run to the local AWS of the environment variables AWS_*.",
    )
    parser.add_argument(
        "--download-only", action="store_true", help="download the wheels, build the network and upload nothing"
    )
    options = parser.parse_args(argv)
    try:
        built = build()
        if not options.download_only:
            _put(boto3.client("s3"), built)
    except LocalAwsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 1
    return 0


def deploy(s3: S3Client) -> None:
    """Upload application, wheels for this machine and network to the default bucket.

    Existing objects are skipped, except for lists of wheels.

    Args:
        s3: Client of the local S3.

    Raises:
        LocalAwsError: Wheels are missing and cannot be downloaded, or the network cannot be built.
    """
    _put(s3, build())


def build() -> list[uploads.Upload]:
    """Return the artifacts to upload.

    Raises:
        LocalAwsError: Wheels are missing and cannot be downloaded, or the network cannot be built.
    """
    try:
        return uploads.build(bundle.application_folder(), [wheelhouse.LOCAL])
    except (ModelError, wheelhouse.WheelhouseError) as error:
        raise LocalAwsError(f"{error} They are downloaded once and then kept in {uploads.WHEELS}.") from None


def prepare_nodes(emr: EMRClient) -> None:
    """Start a cluster that ends after its bootstrap action, so that later clusters find the packages installed.

    A cluster that starts before its end waits for the packages. Call `deploy` first.
    """
    folder, base = bundle.application_folder(), f"s3://{DEFAULT_BUCKET}/{uploads.PREFIX}"
    action: ScriptBootstrapActionConfigUnionTypeDef = {
        "Path": base + bundle.bootstrap(folder).name,
        "Args": [base + bundle.wheelhouse_name(folder)],
    }
    emr.run_job_flow(
        Name="local AWS: install the application's requirements",
        Instances={"KeepJobFlowAliveWhenNoSteps": False},
        BootstrapActions=[{"Name": "install", "ScriptBootstrapAction": action}],
    )


def _put(s3: S3Client, built: list[uploads.Upload]) -> None:
    """Upload the objects that the bucket lacks, and the lists of wheels, whose keys are the same for all Pythons."""
    folder, missing = bundle.application_folder(), uploads.missing(s3, DEFAULT_BUCKET, built)
    lists = {uploads.PREFIX + bundle.wheelhouse_name(folder, onnx=onnx) for onnx in (False, True)}
    for upload in built:
        if upload in missing or upload.key in lists:
            uploads.send(s3, DEFAULT_BUCKET, upload)


if __name__ == "__main__":
    sys.exit(main())
