"""The network of clusters: what EMR and the nodes need of a VPC and its subnets. Only reads."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from include.deploy.problems import Deployment, Problem, code, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import (
        FilterTypeDef,
        RouteTableTypeDef,
        RouteTypeDef,
        SubnetTypeDef,
        VpcEndpointTypeDef,
    )

EMR_TAG: Final = "for-use-with-amazon-emr-managed-policies"
"""EMR's managed policy lets the service use only networks that carry it (`AmazonEMRServicePolicy_v2`)."""


def network(ec2: EC2Client, deployment: Deployment) -> Iterator[Problem]:
    """Check the VPC, its subnets and their ways out."""
    region, vpc = deployment.region, deployment.vpc
    if vpc is None:
        yield Problem("A new stack needs a VPC for its clusters.", 'make deploy DEPLOY="--vpc vpc-…"')
        return
    try:
        (found,) = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]
    except ClientError as error:
        if code(error) not in {"InvalidVpcID.NotFound", "InvalidVpcID.Malformed"}:
            raise
        yield Problem(
            f"There is no VPC {vpc} in {region}.", f"aws ec2 describe-vpcs --region {region} --query Vpcs[].VpcId"
        )
        return
    yield from _untagged(vpc, "VPC", found.get("Tags", []), region)
    yield from _dns(ec2, vpc, region)
    subnets, problems = _subnets(ec2, deployment, vpc)
    yield from problems
    if subnets:
        yield from _ways_out(ec2, subnets, vpc, deployment)


def _untagged(resource: str, kind: str, tags: Sequence[Any], region: str) -> Iterator[Problem]:
    if {"Key": EMR_TAG, "Value": "true"} not in [{"Key": tag["Key"], "Value": tag["Value"]} for tag in tags]:
        yield Problem(
            f"{kind} {resource} lacks the tag {EMR_TAG}=true.",
            f"aws ec2 create-tags --region {region} --resources {resource} --tags Key={EMR_TAG},Value=true",
        )


def _dns(ec2: EC2Client, vpc: str, region: str) -> Iterator[Problem]:
    """Both attributes are required for private names of endpoints (VPC User Guide, "DNS attributes for your VPC")."""
    support = ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsSupport")["EnableDnsSupport"]
    names = ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"]
    for what, attribute, option in (
        ("DNS support", support, "--enable-dns-support"),
        ("DNS host names", names, "--enable-dns-hostnames"),
    ):
        if not attribute.get("Value"):
            yield Problem(
                f"VPC {vpc} has {what} switched off; EMR's endpoint needs it.",
                f"aws ec2 modify-vpc-attribute --region {region} --vpc-id {vpc} {option}",
            )


def _subnets(ec2: EC2Client, deployment: Deployment, vpc: str) -> tuple[list[SubnetTypeDef], list[Problem]]:
    """Return the subnets to look at: those named, or else the VPC's that are tagged for EMR."""
    region = deployment.region
    of_vpc = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    if not deployment.subnets:
        tagged = [one for one in of_vpc if not list(_untagged(one["SubnetId"], "", one.get("Tags", []), region))]
        if tagged:
            return tagged, []
        return [], [
            Problem(
                f"No subnet of VPC {vpc} is named (--subnets) or carries the tag {EMR_TAG}=true.",
                f"aws ec2 create-tags --region {region} --resources subnet-… --tags Key={EMR_TAG},Value=true",
            )
        ]
    found = {one["SubnetId"]: one for one in of_vpc}
    problems = [
        Problem(
            f"VPC {vpc} has no subnet {name} in {region}.",
            f"aws ec2 describe-subnets --region {region} --filters Name=vpc-id,Values={vpc} --query Subnets[].SubnetId",
        )
        for name in deployment.subnets
        if name not in found
    ]
    named = [found[name] for name in deployment.subnets if name in found]
    for one in named:
        problems += _untagged(one["SubnetId"], "Subnet", one.get("Tags", []), region)
    return named, problems


def _ways_out(ec2: EC2Client, subnets: Sequence[SubnetTypeDef], vpc: str, deployment: Deployment) -> Iterator[Problem]:
    """Check that nodes in each subnet reach S3 and KMS, and that EMR takes the subnet for a private one."""
    of_vpc: list[FilterTypeDef] = [{"Name": "vpc-id", "Values": [vpc]}]
    tables = ec2.describe_route_tables(Filters=of_vpc)["RouteTables"]
    endpoints = ec2.describe_vpc_endpoints(Filters=of_vpc)["VpcEndpoints"]
    region, create = deployment.region, f"aws ec2 create-vpc-endpoint --region {deployment.region} --vpc-id {vpc}"
    for name in (one["SubnetId"] for one in subnets):
        table = _route_table(tables, name)
        default = _default_route(table)
        if default and default.get("GatewayId", "").startswith("igw-"):
            # "You cannot specify a ServiceAccessSecurityGroup for a cluster launched in public subnet": an answer of
            # RunJobFlow that public Terraform modules quote.
            yield Problem(
                f"Subnet {name} is public; EMR refuses a service access group there.",
                'make deploy DEPLOY="--subnets subnet-…"',
            )
            continue
        s3 = _endpoint(endpoints, f"com.amazonaws.{region}.s3", table)
        if not default and not s3:
            yield Problem(
                f"Nodes in subnet {name} do not reach S3.",
                f"{create} --service-name com.amazonaws.{region}.s3 --route-table-ids {table.get('RouteTableId')}",
            )
        if s3:
            yield from _closed_endpoint(s3, deployment)
        if not default and not _endpoint(endpoints, f"com.amazonaws.{region}.kms", table):
            yield Problem(
                f"Nodes in subnet {name} do not reach KMS.",
                f"{create} --vpc-endpoint-type Interface --service-name com.amazonaws.{region}.kms --subnet-ids {name} "
                "--security-group-ids sg-… --private-dns-enabled",
            )


def _route_table(tables: Sequence[RouteTableTypeDef], subnet: str) -> RouteTableTypeDef:
    """Return the table that is associated with a subnet, or else the VPC's main one."""
    none: RouteTableTypeDef = {}
    pairs = [(table, one) for table in tables for one in table.get("Associations", [])]
    main = next((table for table, one in pairs if one.get("Main")), none)
    return next((table for table, one in pairs if one.get("SubnetId") == subnet), main)


def _default_route(table: RouteTableTypeDef) -> RouteTypeDef | None:
    routes = table.get("Routes", [])
    usable = (one for one in routes if one.get("State") != "blackhole")
    return next((one for one in usable if one.get("DestinationCidrBlock") == "0.0.0.0/0"), None)


def _endpoint(
    endpoints: Sequence[VpcEndpointTypeDef], service: str, table: RouteTableTypeDef
) -> VpcEndpointTypeDef | None:
    """Return the endpoint through which the subnets of a route table reach a service under its own name."""
    for one in endpoints:
        if one.get("ServiceName") != service or one.get("State", "").lower() != "available":
            continue
        if one.get("VpcEndpointType") == "Gateway" and table.get("RouteTableId") in one.get("RouteTableIds", []):
            return one
        # An interface endpoint serves all subnets of its VPC.
        if one.get("VpcEndpointType") == "Interface" and one.get("PrivateDnsEnabled"):
            return one
    return None


def endpoint_buckets(region: str, bucket: str) -> tuple[str, ...]:
    """Return the buckets that the policy of an S3 endpoint must allow.

    Source: EMR Management Guide, "Sample policies for private subnets that access Amazon S3".

    Args:
        region: Where clusters run.
        bucket: The deployment's own.
    """
    data = "aws157-instance-data-bucket" if region == "ap-southeast-2" else "aws157-instance-data"
    logs = "aws157-logs-prod" if region == "us-east-1" else f"aws157-logs-prod-{region}"
    return (
        bucket,
        f"al2023-repos-{region}-de612dc2",
        f"repo.{region}.emr.amazonaws.com",
        f"{data}-0-prod-{region}",
        f"{data}-1-prod-{region}",
        logs,
        f"prod.{region}.appinfo.src",
    )


def _closed_endpoint(endpoint: VpcEndpointTypeDef, deployment: Deployment) -> Iterator[Problem]:
    """Compare an S3 endpoint's policy with the buckets that EMR needs; conditions and actions are not looked at."""
    statements = _listed(json.loads(endpoint.get("PolicyDocument") or "{}").get("Statement", []))
    allowed = [
        pattern for one in statements if one.get("Effect") == "Allow" for pattern in _listed(one.get("Resource", []))
    ]
    needed = endpoint_buckets(deployment.region, deployment.bucket)
    closed = [
        name for name in needed if not any(fnmatchcase(f"arn:aws:s3:::{name}/key", pattern) for pattern in allowed)
    ]
    if statements and closed:
        name = endpoint.get("VpcEndpointId")
        yield Problem(
            f"The policy of S3 endpoint {name} does not allow {joined(closed)}.",
            f"aws ec2 modify-vpc-endpoint --region {deployment.region} --vpc-endpoint-id {name} "
            "--policy-document file://…",
        )


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - policies hold one or a list of each
    return value if isinstance(value, list) else [value]
