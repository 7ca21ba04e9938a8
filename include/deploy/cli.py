"""`python -m include.deploy`: checks the account, shows what it would do, asks, does it, and prints Airflow's settings.

Exit codes: 0 done or nothing to do, 1 could not be done, 2 the command line is wrong, 3 not done because nobody agreed.
"""

# ruff: noqa: T201 - printing is what a command line does

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from include.artifacts import bundle, wheelhouse
from include.deploy import certificates, preflight, uploads
from include.deploy.preflight import PreflightError
from include.deploy.problems import Deployment, table
from include.deploy.stack import Plan, Stack, StackError, settings
from include.emr.sizing import SIZES

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
    except PreflightError as error:
        print(table([error.problem]), file=sys.stderr)
        return 1
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
        "--subnets",
        metavar="ID,ID",
        default="",
        help="private subnets of the clusters, as in FRUITS_EMR_SUBNET_ID (default: the VPC's that are tagged for EMR)",
    )
    parser.add_argument(
        "--size",
        choices=SIZES,
        default="small",
        help="cluster that the account's quotas must allow (default: %(default)s)",
    )
    parser.add_argument("--ignore-problems", action="store_true", help="deploy whatever the checks find")
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
    """Check, plan, ask, do.

    Raises:
        PreflightError: the account cannot be asked.
        StackError: the stack cannot be deployed.
        include.artifacts.wheelhouse.WheelhouseError: wheels cannot be had.
    """
    if options.region not in IN_EUROPE and not options.allow_outside_europe:
        raise StackError(
            f"Region {options.region} is outside the European Union, and data are meant to stay inside: take one of "
            f"{', '.join(IN_EUROPE)}, or say --allow-outside-europe."
        )
    caller = preflight.identify(options.region)
    print(f"Stack {options.stack} in account {caller.account}, region {options.region}")
    stack = Stack(boto3.client("cloudformation", region_name=options.region), options.stack)
    problems = preflight.check(_deployment(options, stack, caller.account), caller)
    if problems:
        print(table(problems))
    if any(one.stops for one in problems) and not options.ignore_problems:
        return _fail("nothing was changed. Fix what the table says, or add --ignore-problems.")
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
    _tell(stack, options.subnets)
    return 0


def _deployment(options: argparse.Namespace, stack: Stack, account: str) -> Deployment:
    """Return what the command line asks for, completed from the stack that exists."""
    there, asked = stack.parameters(), _parameters(options)
    return Deployment(
        region=options.region,
        vpc=asked.get("VpcId") or there.get("VpcId"),
        subnets=tuple(filter(None, options.subnets.split(","))),
        size=options.size,
        bucket=stack.outputs().get("SettingBucket")
        or asked.get("BucketName")
        or f"fruits-image-features-{account}-{options.region}",
        exists="SettingBucket" in stack.outputs(),
    )


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
    """Return the bucket and what it lacks; without a bucket, that is everything."""
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


def _tell(stack: Stack, subnets: str) -> None:
    outputs = stack.outputs()
    print("\nAirflow's processes need these variables (docs/guides/aws.md):\n")
    for name, value in {**settings(outputs), "FRUITS_EMR_SUBNET_ID": subnets or "subnet-…"}.items():
        print(f"{name}={value}")
    print("\nThe DAG deletes runs after FRUITS_RETENTION_DAYS (90); it keeps the newest FRUITS_RETENTION_RUNS (3).")
    print(f"\nThe connection aws_default assumes {outputs['AirflowRoleArn']}.")


def _explained(error: ClientError) -> str:
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code in {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}:
        return f"AWS denies {error.operation_name}: {message} Deploy with a role that may change stacks and roles."
    if code in {"ExpiredToken", "ExpiredTokenException"}:
        return f"The AWS credentials have expired ({code}): sign in again, or choose another AWS_PROFILE."
    return f"AWS refuses {error.operation_name} ({code}): {message}"


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _fail(text: str) -> int:
    print(f"deploy: {text}", file=sys.stderr)
    return 1
