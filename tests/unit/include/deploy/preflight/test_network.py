"""Checks of a network, against moto's EC2."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from include.deploy.preflight.network import EMR_TAG, endpoint_buckets, network
from include.deploy.preflight.problems import Problem
from tests.support.network import Network
from tests.support.stacks import REGION

if TYPE_CHECKING:
    from collections.abc import Callable


def _problems(there: Network, **changed: object) -> list[tuple[str, str]]:
    deployment = replace(there.deployment, **changed)
    return [(one.sentence, one.command) for one in network(there.ec2, deployment)]


@pytest.fixture
def there(aws: None) -> Network:  # noqa: ARG001 - moto must be active
    return Network()


def test_network_that_has_everything_has_no_problem(there: Network) -> None:
    assert _problems(there) == []


def test_subnets_that_are_not_named_are_those_that_are_tagged(there: Network) -> None:
    there.add_subnet("10.0.1.0/24")

    assert _problems(there, subnets=()) == []


def test_missing_vpc_is_a_problem(there: Network) -> None:
    assert _problems(there, vpc=None) == [
        ("A new stack needs a VPC for its clusters.", 'make deploy DEPLOY="--vpc vpc-…"')
    ]


def test_vpc_of_another_region_is_not_found(there: Network) -> None:
    elsewhere = boto3.client("ec2", region_name="eu-west-3").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]

    assert _problems(there, vpc=elsewhere) == [
        (
            f"There is no VPC {elsewhere} in {REGION}.",
            f"aws ec2 describe-vpcs --region {REGION} --query Vpcs[].VpcId",
        )
    ]


def test_untagged_vpc_and_subnet_are_each_a_problem(there: Network) -> None:
    there.untag(there.vpc)
    there.untag(there.subnet)

    tag = f"--tags Key={EMR_TAG},Value=true"
    assert _problems(there) == [
        (
            f"VPC {there.vpc} lacks the tag {EMR_TAG}=true.",
            f"aws ec2 create-tags --region {REGION} --resources {there.vpc} {tag}",
        ),
        (
            f"Subnet {there.subnet} lacks the tag {EMR_TAG}=true.",
            f"aws ec2 create-tags --region {REGION} --resources {there.subnet} {tag}",
        ),
    ]


def test_neither_named_nor_tagged_subnets_are_one_problem(there: Network) -> None:
    there.untag(there.subnet)

    ((sentence, command),) = _problems(there, subnets=())

    assert sentence == f"No subnet of VPC {there.vpc} is named (--subnets) or carries the tag {EMR_TAG}=true."
    assert command.startswith(f"aws ec2 create-tags --region {REGION} --resources subnet-…")


def test_subnet_of_another_vpc_is_not_found(there: Network) -> None:
    ((sentence, command),) = _problems(there, subnets=("subnet-0123",))

    assert sentence == f"VPC {there.vpc} has no subnet subnet-0123 in {REGION}."
    assert command.startswith("aws ec2 describe-subnets")


@pytest.mark.parametrize(
    ("off", "option"), [("DNS support", "--enable-dns-support"), ("DNS host names", "--enable-dns-hostnames")]
)
def test_dns_that_is_switched_off_is_a_problem(there: Network, off: str, option: str) -> None:
    there.dns(support=off != "DNS support", names=off != "DNS host names")

    assert _problems(there) == [
        (
            f"VPC {there.vpc} has {off} switched off; EMR's endpoint needs it.",
            f"aws ec2 modify-vpc-attribute --region {REGION} --vpc-id {there.vpc} {option}",
        )
    ]


def test_vpc_of_another_account_is_refused(there: Network) -> None:
    assert _problems(there, account="210987654321") == [
        (
            f"VPC {there.vpc} belongs to account 123456789012; clusters need a VPC of account 210987654321.",
            'make deploy DEPLOY="--vpc vpc-…"',
        )
    ]


def test_name_servers_that_the_nodes_cannot_reach_are_a_problem(there: Network) -> None:
    there.name_servers("10.1.0.53", "10.2.0.53")

    ((sentence, command),) = _problems(there)

    assert sentence == (
        f"VPC {there.vpc} uses the DNS servers 10.1.0.53 and 10.2.0.53, which the nodes' security groups block; "
        "use AmazonProvidedDNS."
    )
    assert command == f"aws ec2 associate-dhcp-options --region {REGION} --vpc-id {there.vpc} --dhcp-options-id dopt-…"


@pytest.mark.parametrize("server", ["AmazonProvidedDNS", "169.254.169.253", "10.0.0.2"])
def test_amazons_name_server_is_no_problem(there: Network, server: str) -> None:
    there.name_servers("10.1.0.53", server)

    assert _problems(there) == []


def test_subnet_without_routes_to_s3_and_kms_is_a_problem_with_the_commands(there: Network) -> None:
    there.remove(there.s3)
    there.remove(there.kms)

    create = f"aws ec2 create-vpc-endpoint --region {REGION} --vpc-id {there.vpc}"
    of_kms = f"--vpc-endpoint-type Interface --service-name com.amazonaws.{REGION}.kms --subnet-ids {there.subnet}"
    assert _problems(there) == [
        (
            f"Nodes in subnet {there.subnet} do not reach S3.",
            f"{create} --service-name com.amazonaws.{REGION}.s3 --route-table-ids {there.routes}",
        ),
        (
            f"Nodes in subnet {there.subnet} do not reach KMS.",
            f"{create} {of_kms} --security-group-ids sg-… --private-dns-enabled",
        ),
    ]


@pytest.fixture
def nat(there: Network) -> str:
    """The NAT gateway of the subnet's default route."""
    gateway = there.ec2.create_nat_gateway(SubnetId=there.subnet, ConnectivityType="private")["NatGateway"]
    name: str = gateway["NatGatewayId"]
    there.default_route(NatGatewayId=name)
    return name


@pytest.mark.usefixtures("nat")
def test_nat_gateway_reaches_kms(there: Network) -> None:
    there.remove(there.kms)

    assert _problems(there) == []


def test_images_that_would_pass_a_nat_gateway_are_a_problem_that_does_not_stop(there: Network, nat: str) -> None:
    there.remove(there.s3)

    (problem,) = network(there.ec2, there.deployment)

    assert problem == Problem(
        f"Nodes in subnet {there.subnet} reach S3 through {nat}, which costs money per GB; a gateway endpoint is free.",
        f"aws ec2 create-vpc-endpoint --region {REGION} --vpc-id {there.vpc} --service-name com.amazonaws.{REGION}.s3 "
        f"--route-table-ids {there.routes}",
        stops=False,
    )


def test_gateway_endpoint_of_another_route_table_does_not_count(there: Network) -> None:
    table = there.ec2.create_route_table(VpcId=there.vpc)["RouteTable"]["RouteTableId"]
    there.ec2.associate_route_table(RouteTableId=table, SubnetId=there.subnet)

    ((sentence, command),) = _problems(there)

    assert sentence == f"Nodes in subnet {there.subnet} do not reach S3."
    assert command.endswith(f"--route-table-ids {table}")


def test_endpoint_without_private_names_does_not_count(there: Network) -> None:
    there.remove(there.kms)
    there.endpoint("kms", VpcEndpointType="Interface", SubnetIds=[there.subnet], PrivateDnsEnabled=False)

    assert [sentence for sentence, _ in _problems(there)] == [f"Nodes in subnet {there.subnet} do not reach KMS."]


def test_endpoint_that_does_not_admit_the_nodes_is_a_problem_with_the_command(there: Network) -> None:
    there.close()

    ((sentence, command),) = _problems(there)

    kms = f"Endpoint {there.kms} of com.amazonaws.{REGION}.kms"
    assert sentence == f"{kms} does not admit subnet {there.subnet} (10.0.0.0/24) on port 443."
    assert command == (
        f"aws ec2 authorize-security-group-ingress --region {REGION} --group-id {there.group} --protocol tcp "
        "--port 443 --cidr 10.0.0.0/24"
    )


@pytest.mark.usefixtures("nat")
def test_nat_gateway_does_not_bypass_a_closed_endpoint(there: Network) -> None:
    there.close()

    ((sentence, _),) = _problems(there)

    assert sentence.startswith(f"Endpoint {there.kms} ")


def test_closed_interface_endpoint_of_s3_is_a_problem(there: Network) -> None:
    there.remove(there.s3)
    group = there.ec2.create_security_group(GroupName="s3", Description="S3", VpcId=there.vpc)["GroupId"]
    endpoint = there.interface("s3", group)

    ((sentence, command),) = _problems(there)

    assert sentence.startswith(f"Endpoint {endpoint} of com.amazonaws.{REGION}.s3 does not admit subnet")
    assert f"--group-id {group} " in command


@pytest.fixture
def s3_endpoints(there: Network) -> list[str]:
    """The gateway endpoint of S3, and an interface endpoint with private names that does not admit the nodes."""
    group = there.ec2.create_security_group(GroupName="s3", Description="S3", VpcId=there.vpc)["GroupId"]
    return [there.s3, there.interface("s3", group)]


def _change_endpoints(there: Network, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the answers of DescribeVpcEndpoints, in which moto has no DNS options."""

    def respond(parsed: dict[str, Any], **_: object) -> None:
        change(parsed["VpcEndpoints"])

    there.ec2.meta.events.register("after-call.ec2.DescribeVpcEndpoints", respond)


def test_private_names_lead_nodes_to_the_interface_endpoint_of_s3_in_spite_of_a_gateway(
    there: Network, s3_endpoints: list[str]
) -> None:
    ((sentence, _),) = _problems(there)

    assert sentence.startswith(f"Endpoint {s3_endpoints[1]} of com.amazonaws.{REGION}.s3 does not admit subnet")


@pytest.mark.usefixtures("s3_endpoints")
def test_private_names_for_inbound_resolvers_only_leave_nodes_to_the_gateway_endpoint(there: Network) -> None:
    def change(endpoints: list[dict[str, Any]]) -> None:
        endpoints.reverse()  # the interface endpoint first
        for endpoint in endpoints:
            is_s3 = endpoint["ServiceName"].endswith(".s3")
            endpoint["DnsOptions"] = {"PrivateDnsOnlyForInboundResolverEndpoint": is_s3}

    _change_endpoints(there, change)

    assert _problems(there) == []


@pytest.mark.parametrize(
    ("operation", "result"),
    [("DescribeSubnets", "Subnets"), ("DescribeRouteTables", "RouteTables"), ("DescribeVpcEndpoints", "VpcEndpoints")],
)
def test_all_pages_of_a_list_are_read(there: Network, operation: str, result: str) -> None:
    """Each of these responses may have a `NextToken` (EC2 API Reference)."""
    calls = []

    def respond(parsed: dict[str, Any], **_: object) -> None:
        calls.append(operation)
        if len(calls) == 1:
            parsed.update({result: [], "NextToken": "2"})

    there.ec2.meta.events.register(f"after-call.ec2.{operation}", respond)

    assert _problems(there) == []
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("rule", "admitted"),
    [
        ({"IpRanges": [{"CidrIp": "10.0.0.0/24"}]}, True),
        ({"IpRanges": [{"CidrIp": "10.0.0.0/25"}]}, False),
        ({"IpRanges": [{"CidrIp": "10.0.0.0/24"}], "FromPort": 0, "ToPort": 65535}, True),
        ({"IpRanges": [{"CidrIp": "10.0.0.0/24"}], "FromPort": 80, "ToPort": 80}, False),
        ({"IpRanges": [{"CidrIp": "10.0.0.0/24"}], "IpProtocol": "udp"}, False),
        ({"IpRanges": [{"CidrIp": "10.0.0.0/24"}], "IpProtocol": "-1", "FromPort": -1, "ToPort": -1}, True),
        ({"PrefixListIds": [{"PrefixListId": "pl-1"}]}, True),
    ],
)
def test_rules_that_admit_the_nodes_include_their_subnet_and_port(
    there: Network, rule: dict[str, object], *, admitted: bool
) -> None:
    there.close()
    there.admit(**rule)

    assert (_problems(there) == []) is admitted


@pytest.mark.parametrize(("count", "admitted"), [(1, False), (2, True)])
def test_endpoint_may_admit_both_groups_of_the_nodes_of_a_stack(there: Network, count: int, *, admitted: bool) -> None:
    groups = [
        there.ec2.create_security_group(GroupName=name, Description="nodes", VpcId=there.vpc)["GroupId"]
        for name in ("primary", "core")
    ]
    there.close()
    there.admit(UserIdGroupPairs=[{"GroupId": group} for group in groups[:count]])

    assert (_problems(there, node_groups=tuple(groups)) == []) is admitted
    assert len(_problems(there)) == 1


def test_public_subnet_is_refused(there: Network) -> None:
    there.default_route(GatewayId=there.gateway())

    assert _problems(there) == [
        (
            f"Subnet {there.subnet} is public; EMR refuses a service access group there.",
            'make deploy DEPLOY="--subnets subnet-…"',
        )
    ]


def _policy(*resources: str) -> str:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": list(resources)}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_restrictive_policy_of_an_s3_endpoint_names_the_blocked_buckets(there: Network) -> None:
    there.remove(there.s3)
    policy = _policy("arn:aws:s3:::orchard/*", f"arn:aws:s3:::al2023-repos-{REGION}-de612dc2/*")
    endpoint = there.endpoint("s3", RouteTableIds=[there.routes], PolicyDocument=policy)

    ((sentence, command),) = _problems(there)

    assert sentence == (
        f"The policy of S3 endpoint {endpoint} does not allow repo.{REGION}.emr.amazonaws.com, "
        f"aws157-instance-data-0-prod-{REGION}, aws157-instance-data-1-prod-{REGION}, aws157-logs-prod-{REGION} and "
        f"prod.{REGION}.appinfo.src."
    )
    assert command.startswith("aws ec2 modify-vpc-endpoint")


@pytest.mark.parametrize(
    "resources", [["*"], [f"arn:aws:s3:::{name}/*" for name in endpoint_buckets(REGION, "orchard")]]
)
def test_s3_endpoint_that_allows_all_needed_buckets_is_no_problem(there: Network, resources: list[str]) -> None:
    there.remove(there.s3)
    there.endpoint("s3", RouteTableIds=[there.routes], PolicyDocument=_policy(*resources))

    assert _problems(there) == []


def test_buckets_of_emr_have_the_names_of_their_region() -> None:
    assert "aws157-logs-prod" in endpoint_buckets("us-east-1", "orchard")
    assert "aws157-instance-data-bucket-0-prod-ap-southeast-2" in endpoint_buckets("ap-southeast-2", "orchard")
