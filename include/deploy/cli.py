"""`python -m include.deploy`: shows what it would do, asks, does it, and tells what Airflow has to know.

Exit codes: 0 done or nothing to do, 1 could not be done, 2 the command line is wrong, 3 not done because nobody agreed.
"""

# ruff: noqa: T201 - printing is what a command line does

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from include.artifacts import bundle, wheelhouse
from include.deploy import certificates, uploads
from include.deploy.stack import Plan, Stack, StackError, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_s3 import S3Client

    from include.deploy.uploads import Upload

REGION = "eu-west-1"
IN_EUROPE = ("eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3")
"""Regions in the European Union: London (eu-west-2) and Zurich (eu-central-2) are not."""
PREFIX = "artifacts/"
NOT_AGREED = 3


@dataclass(frozen=True)
class Bucket:
    """The stack's bucket, and what is missing in it."""

    s3: S3Client
    name: str
    region: str
    missing: Sequence[Upload]
    certificate_is_due: bool


def main(argv: list[str] | None = None) -> int:
    """Deploy, and return the exit code."""
    options = _parser().parse_args(argv)
    try:
        return deploy(options)
    except NoCredentialsError:
        return _fail("no AWS credentials were found: set AWS_PROFILE, or the variables of your access key.")
    except ClientError as error:
        return _fail(_explained(error))
    except (StackError, wheelhouse.WheelhouseError, BotoCoreError, NoRegionError) as error:
        return _fail(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.deploy", description=__doc__)
    parser.add_argument("--stack", default="fruits", help="its name (default: %(default)s)")
    parser.add_argument("--region", default=REGION, help="where (default: %(default)s)")
    parser.add_argument(
        "--allow-outside-europe", action="store_true", help="data may be kept in a region outside the European Union"
    )
    parser.add_argument("--vpc", metavar="ID", help="where clusters run; needed for a new stack")
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=_pair,
        metavar="NAME=VALUE",
        help="another parameter of include/deploy/fruits.yaml; an existing stack keeps those not given",
    )
    parser.add_argument("--yes", action="store_true", help="do it without asking")
    return parser


def deploy(options: argparse.Namespace) -> int:
    """Plan, ask, do.

    Raises:
        StackError: the stack cannot be deployed.
        include.artifacts.wheelhouse.WheelhouseError: wheels cannot be had.
    """
    if options.region not in IN_EUROPE and not options.allow_outside_europe:
        raise StackError(
            f"Region {options.region} is outside the European Union, and data are meant to stay inside: take one of "
            f"{', '.join(IN_EUROPE)}, or say --allow-outside-europe."
        )
    account = boto3.client("sts", region_name=options.region).get_caller_identity()["Account"]
    print(f"Stack {options.stack} in account {account}, region {options.region}")
    stack = Stack(boto3.client("cloudformation", region_name=options.region), options.stack)
    plan = stack.plan(_parameters(options))
    _show_stack(plan)
    try:
        print("Looking for wheels …", flush=True)
        built = uploads.build(bundle.application_folder(), wheelhouse.EMR)
        bucket = _bucket(stack, options.region, built)
        _show_bucket(bucket)
        agreed = _agreed(plan, bucket, yes=options.yes)
    except BaseException:
        _drop(stack, plan)
        raise
    if not agreed:
        _drop(stack, plan)
        print("Nothing was changed.")
        return NOT_AGREED
    _do(stack, plan, options.region, built)
    _tell(stack)
    return 0


def _parameters(options: argparse.Namespace) -> dict[str, str]:
    given = dict(options.parameter)
    if options.vpc:
        given["VpcId"] = options.vpc
    if options.allow_outside_europe:
        given["AllowOutsideEurope"] = "yes"
    return given


def _show_stack(plan: Plan | None) -> None:
    if plan is None:
        print("  nothing to change")
        return
    for change in plan.changes:
        replaced = "  REPLACED: what it held is not carried over" if change.replacement else ""
        print(f"  {change.action.lower():<8}{change.resource:<26}{change.kind}{replaced}")


def _bucket(stack: Stack, region: str, built: Sequence[Upload]) -> Bucket:
    """What the bucket lacks: everything, where there is none yet."""
    s3 = boto3.client("s3", region_name=region)
    name = stack.outputs().get("SettingBucket", "")
    missing = uploads.missing(s3, name, PREFIX, built) if name else built
    return Bucket(s3, name, region, missing, certificate_is_due=not name or certificates.is_due(s3, name))


def _show_bucket(bucket: Bucket) -> None:
    print(f"Bucket {bucket.name or '(new)'}")
    for upload in bucket.missing:
        print(f"  upload  {PREFIX}{upload.name}  {upload.size_bytes / 1e6:.1f} MB")
    if bucket.certificate_is_due:
        print(f"  make    {certificates.KEY}  with which a cluster's nodes encrypt what they send each other")
    if not bucket.missing and not bucket.certificate_is_due:
        print("  nothing to upload")


def _agreed(plan: Plan | None, bucket: Bucket, *, yes: bool) -> bool:
    if yes or (plan is None and not bucket.missing and not bucket.certificate_is_due):
        return True
    try:
        return input("Do this? [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        print("Nobody answers; --yes says so beforehand.")
        return False


def _drop(stack: Stack, plan: Plan | None) -> None:
    if plan is not None:
        stack.drop(plan)


def _do(stack: Stack, plan: Plan | None, region: str, built: Sequence[Upload]) -> None:
    if plan is not None:
        print("Changing the stack …", flush=True)
        stack.apply(plan)
    bucket = _bucket(stack, region, built)
    if bucket.certificate_is_due:
        certificates.put(bucket.s3, bucket.name, region)
    for upload in bucket.missing:
        print(f"  {upload.name}", flush=True)
        uploads.send(bucket.s3, bucket.name, PREFIX, upload)


def _tell(stack: Stack) -> None:
    outputs = stack.outputs()
    print("\nAirflow's processes need these variables, and FRUITS_EMR_SUBNET_ID (docs/guides/aws.md):\n")
    for name, value in settings(outputs).items():
        print(f"{name}={value}")
    print("\nRuns stay for ever unless FRUITS_RETENTION_DAYS is set too.")
    print(f"\nThe connection aws_default assumes {outputs['AirflowRoleArn']}.")


def _explained(error: ClientError) -> str:
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code in {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}:
        return f"AWS denies {error.operation_name}: {message} Deploy with a role that may change stacks and roles."
    if code in {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}:
        return f"AWS does not take these credentials ({code}): sign in again, or choose another AWS_PROFILE."
    if code == "ValidationError" and "VpcId" in message:
        return f"{message}. Say in which network clusters run: --vpc vpc-…"
    return f"AWS refuses {error.operation_name} ({code}): {message}"


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _fail(text: str) -> int:
    print(f"deploy: {text}", file=sys.stderr)
    return 1
