"""Check the account, show the plan, ask for confirmation, deploy, and print Airflow's settings.

Exit codes: 0 deployed or nothing to do, 1 failed, 2 wrong command line, 3 not confirmed.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
from pydantic import ValidationError

from include.artifacts import bundle, wheelhouse
from include.deploy import certificates, uploads
from include.deploy.model.build import ModelError
from include.deploy.preflight.caller import PreflightError, identify, require_region
from include.deploy.preflight.checks import check
from include.deploy.preflight.problems import DENIED, EXPIRED, Deployment, code, table
from include.deploy.stack import Plan, Stack, StackError, settings
from include.emr.prices import PricesError
from include.emr.sizing import SIZES, ClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_s3 import S3Client

    from include.deploy.uploads import Upload

REGION = "eu-west-1"
EU_REGIONS = ("eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3")
"""Regions in the European Union. London (eu-west-2) and Zurich (eu-central-2) are outside."""
NODE_GROUPS = ("SettingEmrPrimarySecurityGroup", "SettingEmrCoreSecurityGroup")
"""Outputs of the stack with the security groups of the clusters' nodes."""
EXIT_DECLINED = 3


@dataclass(frozen=True)
class Bucket:
    """The stack's bucket and the objects that are missing in it.

    Args:
        s3: Client in the bucket's region.
        name: Name of the bucket; empty if it does not exist yet.
        region: Region of the bucket.
        missing: Objects to upload.
        certificate_is_due: Whether the nodes' certificate has to be created or renewed.
    """

    s3: S3Client
    name: str
    region: str
    missing: Sequence[Upload]
    certificate_is_due: bool


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(argv)
    try:
        return deploy(options)
    except PreflightError as error:
        print(table([error.problem]), file=sys.stderr)
        return 1
    except ClientError as error:
        return _fail(_explain(error))
    except (ValidationError, PricesError, ClusterError) as error:
        return _fail(f"the settings of Airflow (FRUITS_…) are invalid: {error}")
    except (StackError, ModelError, wheelhouse.WheelhouseError, BotoCoreError, NoRegionError) as error:
        return _fail(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.deploy", description=__doc__)
    parser.add_argument("--stack", default="fruits", help="name of the stack (default: %(default)s)")
    parser.add_argument("--region", default=REGION, help="AWS region (default: %(default)s)")
    parser.add_argument("--allow-outside-europe", action="store_true", help="allow a region outside the European Union")
    parser.add_argument("--vpc", metavar="ID", help="VPC of the clusters; required for a new stack")
    parser.add_argument(
        "--subnets",
        metavar="ID,ID",
        default="",
        help="private subnets of the clusters, as in FRUITS_EMR_SUBNET_ID (default: the VPC's subnets tagged for EMR)",
    )
    parser.add_argument(
        "--size",
        choices=SIZES,
        default="small",
        help="cluster size that the account's quotas must allow (default: %(default)s)",
    )
    parser.add_argument("--ignore-problems", action="store_true", help="deploy even if checks fail")
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=_pair,
        metavar="NAME=VALUE",
        help="parameter of include/deploy/fruits.yaml; an existing stack keeps parameters that are not given",
    )
    parser.add_argument("--yes", action="store_true", help="deploy without confirmation")
    return parser


def deploy(options: argparse.Namespace) -> int:
    """Check the account, plan, ask for confirmation and deploy.

    Raises:
        PreflightError: The account cannot be checked.
        StackError: The stack cannot be deployed.
        ModelError: The network that ships cannot be built.
        include.artifacts.wheelhouse.WheelhouseError: Wheels cannot be downloaded.
    """
    require_region(options.region)
    if options.region not in EU_REGIONS and not options.allow_outside_europe:
        raise StackError(
            f"Region {options.region} is outside the European Union. Choose one of {', '.join(EU_REGIONS)}, or add "
            "--allow-outside-europe."
        )
    caller = identify(options.region)
    print(f"Stack {options.stack} in account {caller.account}, region {options.region}")
    stack = Stack(boto3.client("cloudformation", region_name=options.region), options.stack)
    problems = check(_deployment(options, stack, caller.account), caller)
    if problems:
        print(table(problems))
    if any(problem.stops for problem in problems) and not options.ignore_problems:
        return _fail("nothing was changed. Fix the problems above, or add --ignore-problems.")
    plan = stack.plan(_parameters(options))
    _show_stack(plan)
    try:
        print("Downloading wheels …", flush=True)
        built = uploads.build(bundle.application_folder(), wheelhouse.EMR)
        bucket = _bucket(stack, options.region, built)
        _show_bucket(bucket)
        confirmed = _confirm(plan, bucket, yes=options.yes)
    except BaseException:
        _drop(stack, plan)
        raise
    if not confirmed:
        _drop(stack, plan)
        print("Nothing was changed.")
        return EXIT_DECLINED
    _apply(stack, plan, options.region, built)
    _show_settings(stack, options.subnets)
    return 0


def _deployment(options: argparse.Namespace, stack: Stack, account: str) -> Deployment:
    """Return the deployment of the command line, completed from an existing stack."""
    current, given, outputs = stack.parameters(), _parameters(options), stack.outputs()
    return Deployment(
        account=account,
        region=options.region,
        vpc=given.get("VpcId") or current.get("VpcId"),
        subnets=tuple(filter(None, map(str.strip, options.subnets.split(",")))),
        size=options.size,
        bucket=outputs.get("SettingBucket")
        or given.get("BucketName")
        or f"fruits-image-features-{account}-{options.region}",
        exists="SettingBucket" in outputs,
        node_groups=tuple(outputs[name] for name in NODE_GROUPS if name in outputs),
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
        end = "kept outside of the stack" if change.is_kept else "deleted"
        replaced = f"  REPLACED: the old one is {end}" if change.replacement else ""
        print(f"  {change.action.lower():<8}{change.resource:<26}{change.kind}{replaced}")


def _bucket(stack: Stack, region: str, built: Sequence[Upload]) -> Bucket:
    """Return the bucket and its missing objects. In a new bucket, all are missing."""
    s3 = boto3.client("s3", region_name=region)
    name = stack.outputs().get("SettingBucket", "")
    missing = uploads.missing(s3, name, built) if name else built
    return Bucket(s3, name, region, missing, certificate_is_due=not name or certificates.is_due(s3, name))


def _show_bucket(bucket: Bucket) -> None:
    print(f"Bucket {bucket.name or '(new)'}")
    for upload in bucket.missing:
        print(f"  upload  {upload.key}  {upload.size_bytes / 1e6:.1f} MB")
    if bucket.certificate_is_due:
        print(f"  create  {certificates.KEY}  certificate for the encryption between nodes")
    if not bucket.missing and not bucket.certificate_is_due:
        print("  nothing to upload")


def _confirm(plan: Plan | None, bucket: Bucket, *, yes: bool) -> bool:
    if yes or (plan is None and not bucket.missing and not bucket.certificate_is_due):
        return True
    try:
        return input("Deploy? [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        print("No answer on standard input; add --yes to deploy without confirmation.")
        return False


def _drop(stack: Stack, plan: Plan | None) -> None:
    if plan is not None:
        stack.drop(plan)


def _apply(stack: Stack, plan: Plan | None, region: str, built: Sequence[Upload]) -> None:
    if plan is not None:
        print("Changing the stack …", flush=True)
        stack.apply(plan)
    bucket = _bucket(stack, region, built)
    if bucket.certificate_is_due:
        certificates.put(bucket.s3, bucket.name, region)
    for upload in bucket.missing:
        print(f"  {upload.key}", flush=True)
        uploads.send(bucket.s3, bucket.name, upload)


def _show_settings(stack: Stack, subnets: str) -> None:
    outputs = stack.outputs()
    print("\nSet these variables for Airflow's processes (docs/guides/aws.md):\n")
    for name, value in {**settings(outputs), "FRUITS_EMR_SUBNET_ID": subnets or "subnet-…"}.items():
        print(f"{name}={value}")
    print("\nThe DAG deletes runs after FRUITS_RETENTION_DAYS (90); it keeps the newest FRUITS_RETENTION_RUNS (3).")
    print(f"\nThe connection aws_default assumes {outputs['AirflowRoleArn']}.")


def _explain(error: ClientError) -> str:
    reason, message = code(error), error.response["Error"].get("Message", "")
    if reason in DENIED:
        return f"AWS denies {error.operation_name}: {message} Deploy with a role that may change stacks and roles."
    if reason in EXPIRED:
        return f"The AWS credentials have expired ({reason}). Sign in again, or choose another AWS_PROFILE."
    return f"AWS refuses {error.operation_name} ({reason}): {message}"


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _fail(text: str) -> int:
    print(f"deploy: {text}", file=sys.stderr)
    return 1
