"""Checks of the clusters' VPC and subnets. Only reads."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from ipaddress import IPv4Network
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from include.deploy.preflight.problems import Deployment, Problem, code, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import (
        FilterTypeDef,
        IpPermissionOutputTypeDef,
        RouteTableTypeDef,
        RouteTypeDef,
        SubnetTypeDef,
        VpcEndpointTypeDef,
        VpcTypeDef,
    )

EMR_TAG: Final = "for-use-with-amazon-emr-managed-policies"
"""EMR's managed policy allows only networks with this tag (`AmazonEMRServicePolicy_v2`)."""
HTTPS_PORT: Final = 443


def network(ec2: EC2Client, deployment: Deployment) -> Iterator[Problem]:
    """Yield the problems of the VPC, its subnets and their routes to S3 and KMS."""
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
    if found["OwnerId"] != deployment.account:
        yield _shared(found, deployment)
        return
    yield from _untagged(vpc, "VPC", found.get("Tags", []), region)
    yield from _dns(ec2, vpc, region)
    yield from _name_servers(ec2, found, region)
    subnets, problems = cluster_subnets(ec2, deployment, vpc)
    yield from problems
    if subnets:
        yield from _routes(ec2, subnets, vpc, deployment)


def _untagged(resource: str, kind: str, tags: Sequence[Any], region: str) -> Iterator[Problem]:
    if {"Key": EMR_TAG, "Value": "true"} not in [{"Key": tag["Key"], "Value": tag["Value"]} for tag in tags]:
        yield Problem(
            f"{kind} {resource} lacks the tag {EMR_TAG}=true.",
            f"aws ec2 create-tags --region {region} --resources {resource} --tags Key={EMR_TAG},Value=true",
        )


def _dns(ec2: EC2Client, vpc: str, region: str) -> Iterator[Problem]:
    """Check the attributes that private names of endpoints need (VPC User Guide, "DNS attributes for your VPC")."""
    support = ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsSupport")["EnableDnsSupport"]
    names = ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"]
    for name, attribute, option in (
        ("DNS support", support, "--enable-dns-support"),
        ("DNS host names", names, "--enable-dns-hostnames"),
    ):
        if not attribute.get("Value"):
            yield Problem(
                f"VPC {vpc} has {name} switched off; EMR's endpoint needs it.",
                f"aws ec2 modify-vpc-attribute --region {region} --vpc-id {vpc} {option}",
            )


def _shared(vpc: VpcTypeDef, deployment: Deployment) -> Problem:
    """Return the problem of a VPC that another account shares.

    A participant account cannot create interface endpoints (AWS Knowledge Center,
    `vpc-interface-endpoint-creation-errors`), but EMR creates one on `emr-spark-8.x`. The policies of its service role
    name a VPC and subnets of this account.
    """
    return Problem(
        f"VPC {vpc['VpcId']} belongs to account {vpc['OwnerId']}; clusters need a VPC of account {deployment.account}.",
        'make deploy DEPLOY="--vpc vpc-…"',
    )


def _name_servers(ec2: EC2Client, vpc: VpcTypeDef, region: str) -> Iterator[Problem]:
    """Check that nodes use Amazon's DNS server.

    The nodes' security groups let only HTTPS out. They do not filter requests to Amazon's DNS server. Its addresses are
    169.254.169.253 and the VPC's network address plus two (VPC User Guide, "Control traffic to your AWS resources using
    security groups" and "Understanding Amazon DNS").
    """
    by_id: list[FilterTypeDef] = [{"Name": "dhcp-options-id", "Values": [vpc["DhcpOptionsId"]]}]
    sets = ec2.describe_dhcp_options(Filters=by_id)["DhcpOptions"]
    options = [option for one in sets for option in one["DhcpConfigurations"]]
    used = [item["Value"] for option in options if option["Key"] == "domain-name-servers" for item in option["Values"]]
    amazons = {"AmazonProvidedDNS", "169.254.169.253", str(IPv4Network(vpc["CidrBlock"])[2])}
    if used and amazons.isdisjoint(used):
        yield Problem(
            f"VPC {vpc['VpcId']} uses the DNS servers {joined(used)}, which the nodes' security groups block; use "
            "AmazonProvidedDNS.",
            f"aws ec2 associate-dhcp-options --region {region} --vpc-id {vpc['VpcId']} --dhcp-options-id dopt-…",
        )


def cluster_subnets(ec2: EC2Client, deployment: Deployment, vpc: str) -> tuple[list[SubnetTypeDef], list[Problem]]:
    """Return the subnets to check: those named, or else the VPC's subnets that are tagged for EMR."""
    region = deployment.region
    pages = ec2.get_paginator("describe_subnets").paginate(Filters=[{"Name": "vpc-id", "Values": [vpc]}])
    of_vpc = [net for page in pages for net in page["Subnets"]]
    if not deployment.subnets:
        tagged = [net for net in of_vpc if not list(_untagged(net["SubnetId"], "", net.get("Tags", []), region))]
        if tagged:
            return tagged, []
        return [], [
            Problem(
                f"No subnet of VPC {vpc} is named (--subnets) or carries the tag {EMR_TAG}=true.",
                f"aws ec2 create-tags --region {region} --resources subnet-… --tags Key={EMR_TAG},Value=true",
            )
        ]
    by_id = {net["SubnetId"]: net for net in of_vpc}
    problems = [
        Problem(
            f"VPC {vpc} has no subnet {name} in {region}.",
            f"aws ec2 describe-subnets --region {region} --filters Name=vpc-id,Values={vpc} --query Subnets[].SubnetId",
        )
        for name in deployment.subnets
        if name not in by_id
    ]
    named = [by_id[name] for name in deployment.subnets if name in by_id]
    for net in named:
        problems += _untagged(net["SubnetId"], "Subnet", net.get("Tags", []), region)
    return named, problems


def _routes(ec2: EC2Client, subnets: Sequence[SubnetTypeDef], vpc: str, deployment: Deployment) -> Iterator[Problem]:
    """Check that each subnet is private and that its nodes reach S3 and KMS."""
    of_vpc: list[FilterTypeDef] = [{"Name": "vpc-id", "Values": [vpc]}]
    of_tables = ec2.get_paginator("describe_route_tables").paginate(Filters=of_vpc)
    tables = [table for page in of_tables for table in page["RouteTables"]]
    of_endpoints = ec2.get_paginator("describe_vpc_endpoints").paginate(Filters=of_vpc)
    endpoints = [endpoint for page in of_endpoints for endpoint in page["VpcEndpoints"]]
    region, create = deployment.region, f"aws ec2 create-vpc-endpoint --region {deployment.region} --vpc-id {vpc}"
    for net in subnets:
        name = net["SubnetId"]
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
        if s3:
            yield from _restrictive_policy(s3, deployment)
            yield from _closed_endpoint(ec2, s3, net, deployment)
        else:
            gateway = f"--service-name com.amazonaws.{region}.s3 --route-table-ids {table.get('RouteTableId')}"
            yield from _without_s3_endpoint(name, default, f"{create} {gateway}")
        kms = _endpoint(endpoints, f"com.amazonaws.{region}.kms", table)
        if kms:
            yield from _closed_endpoint(ec2, kms, net, deployment)
        elif not default:
            yield Problem(
                f"Nodes in subnet {name} do not reach KMS.",
                f"{create} --vpc-endpoint-type Interface --service-name com.amazonaws.{region}.kms --subnet-ids {name} "
                "--security-group-ids sg-… --private-dns-enabled",
            )


def _without_s3_endpoint(subnet: str, default: RouteTypeDef | None, command: str) -> Iterator[Problem]:
    """Check how a subnet without an endpoint of S3 reaches it.

    A NAT gateway processes each image for a price per GB (VPC pricing, "NAT Gateway"). EMR recommends an endpoint (EMR
    Management Guide, "Amazon VPC options when you launch a cluster").

    Args:
        subnet: ID of the subnet.
        default: Default route of the subnet.
        command: Command that creates a gateway endpoint.
    """
    if not default:
        yield Problem(f"Nodes in subnet {subnet} do not reach S3.", command)
    elif nat := default.get("NatGatewayId"):
        yield Problem(
            f"Nodes in subnet {subnet} reach S3 through {nat}, which costs money per GB; a gateway endpoint is free.",
            command,
            stops=False,
        )


def _route_table(tables: Sequence[RouteTableTypeDef], subnet: str) -> RouteTableTypeDef:
    """Return the table that is associated with a subnet, or else the VPC's main one."""
    none: RouteTableTypeDef = {}
    pairs = [(table, association) for table in tables for association in table.get("Associations", [])]
    main = next((table for table, association in pairs if association.get("Main")), none)
    return next((table for table, association in pairs if association.get("SubnetId") == subnet), main)


def _default_route(table: RouteTableTypeDef) -> RouteTypeDef | None:
    routes = table.get("Routes", [])
    usable = (route for route in routes if route.get("State") != "blackhole")
    return next((route for route in usable if route.get("DestinationCidrBlock") == "0.0.0.0/0"), None)


def _endpoint(
    endpoints: Sequence[VpcEndpointTypeDef], service: str, table: RouteTableTypeDef
) -> VpcEndpointTypeDef | None:
    """Return the endpoint through which the subnets of a route table reach a service, without changes of its name.

    The private name of an interface endpoint leads all subnets of its VPC to it, whatever their routes. S3's may have
    the name for inbound endpoints of Route 53 Resolver only: then nodes use the gateway endpoint (EC2 API Reference,
    "DnsOptionsSpecification").
    """
    available = [
        endpoint
        for endpoint in endpoints
        if endpoint.get("ServiceName") == service and endpoint.get("State", "").lower() == "available"
    ]
    by_name = (
        endpoint
        for endpoint in available
        if endpoint.get("VpcEndpointType") == "Interface"
        and endpoint.get("PrivateDnsEnabled")
        and not endpoint.get("DnsOptions", {}).get("PrivateDnsOnlyForInboundResolverEndpoint")
    )
    by_route = (
        endpoint
        for endpoint in available
        if endpoint.get("VpcEndpointType") == "Gateway"
        and table.get("RouteTableId") in endpoint.get("RouteTableIds", [])
    )
    return next(chain(by_name, by_route), None)


def _closed_endpoint(
    ec2: EC2Client, endpoint: VpcEndpointTypeDef, subnet: SubnetTypeDef, deployment: Deployment
) -> Iterator[Problem]:
    """Check that the security groups of an interface endpoint admit the nodes on port 443.

    The service's name leads to the endpoint even if the subnet has a NAT gateway. An endpoint that was created without
    a group has the VPC's default group (EC2 API Reference, "CreateVpcEndpoint"), which admits only its own members (VPC
    User Guide, "Default security groups"). The addresses of prefix lists are not read.

    Args:
        ec2: Client in the region of the clusters.
        endpoint: Endpoint of a service that nodes call. A gateway endpoint has no groups.
        subnet: Subnet of the nodes.
        deployment: Deployment with the nodes' groups, which a new stack does not have yet.
    """
    groups = [group["GroupId"] for group in endpoint.get("Groups", [])]
    if not groups:
        return
    found = ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]
    rules = [rule for group in found for rule in group["IpPermissions"] if _is_for_https(rule)]
    nodes, name, addresses = deployment.node_groups, subnet["SubnetId"], subnet["CidrBlock"]
    members = {pair["GroupId"] for rule in rules for pair in rule["UserIdGroupPairs"]}
    if (
        (nodes and members.issuperset(nodes))
        or any(rule["PrefixListIds"] for rule in rules)
        or any(_covers(one["CidrIp"], addresses) for rule in rules for one in rule["IpRanges"])
    ):
        return
    yield Problem(
        f"Endpoint {endpoint['VpcEndpointId']} of {endpoint['ServiceName']} does not admit subnet {name} ({addresses}) "
        f"on port {HTTPS_PORT}.",
        f"aws ec2 authorize-security-group-ingress --region {deployment.region} --group-id {groups[0]} --protocol tcp "
        f"--port {HTTPS_PORT} --cidr {addresses}",
    )


def _covers(addresses: str, subnet: str) -> bool:
    return IPv4Network(subnet).subnet_of(IPv4Network(addresses))


def _is_for_https(rule: IpPermissionOutputTypeDef) -> bool:
    """Return whether a rule includes tcp 443. Rules for all protocols have no ports (EC2 API, "IpPermission")."""
    return rule["IpProtocol"] == "-1" or (
        rule["IpProtocol"] == "tcp" and rule["FromPort"] <= HTTPS_PORT <= rule["ToPort"]
    )


def endpoint_buckets(region: str, bucket: str) -> tuple[str, ...]:
    """Return the buckets that the policy of an S3 endpoint must allow.

    Source: EMR Management Guide, "Sample policies for private subnets that access Amazon S3".

    Args:
        region: Region of the clusters.
        bucket: Name of the deployment's bucket.
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


def _restrictive_policy(endpoint: VpcEndpointTypeDef, deployment: Deployment) -> Iterator[Problem]:
    """Compare an S3 endpoint's policy with the buckets that EMR needs. Conditions and actions are not checked."""
    statements = _as_list(json.loads(endpoint.get("PolicyDocument") or "{}").get("Statement", []))
    allowed = [
        pattern
        for statement in statements
        if statement.get("Effect") == "Allow"
        for pattern in _as_list(statement.get("Resource", []))
    ]
    needed = endpoint_buckets(deployment.region, deployment.bucket)
    blocked = [
        name for name in needed if not any(fnmatchcase(f"arn:aws:s3:::{name}/key", pattern) for pattern in allowed)
    ]
    if statements and blocked:
        name = endpoint.get("VpcEndpointId")
        yield Problem(
            f"The policy of S3 endpoint {name} does not allow {joined(blocked)}.",
            f"aws ec2 modify-vpc-endpoint --region {deployment.region} --vpc-endpoint-id {name} "
            "--policy-document file://…",
        )


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401 - in a policy, each is one value or a list
    return value if isinstance(value, list) else [value]
