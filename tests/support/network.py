"""A network for clusters in moto's EC2."""

from __future__ import annotations

import boto3
from moto.core import DEFAULT_ACCOUNT_ID

from include.deploy.preflight.network import EMR_TAG
from include.deploy.preflight.problems import Deployment
from tests.support.stacks import REGION

TAGS = [{"Key": EMR_TAG, "Value": "true"}]


class Network:
    """A VPC with one private subnet for clusters, and methods that change it."""

    def __init__(self, region: str = REGION) -> None:
        self.region = region
        self.ec2 = boto3.client("ec2", region_name=region)
        self.vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self.add_subnet("10.0.0.0/24")
        self.ec2.create_tags(Resources=[self.vpc, self.subnet], Tags=TAGS)
        self.dns(names=True)
        (table,) = self.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])["RouteTables"]
        self.routes = table["RouteTableId"]
        self.s3 = self.endpoint("s3", RouteTableIds=[self.routes])
        self.group = self.ec2.create_security_group(GroupName="kms", Description="KMS", VpcId=self.vpc)["GroupId"]
        self.admit(IpRanges=[{"CidrIp": "10.0.0.0/16"}])
        self.kms = self.interface("kms", self.group)
        self.deployment = Deployment(
            DEFAULT_ACCOUNT_ID, region, self.vpc, (self.subnet,), "small", "orchard", exists=False
        )

    def add_subnet(self, cidr: str, zone: str = "a") -> str:
        """Create a subnet without EMR's tag, and return its id.

        Without a zone moto takes a random one. In its data, us-east-1e offers no recent instance type.
        """
        created = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=cidr, AvailabilityZone=f"{self.region}{zone}")
        return created["Subnet"]["SubnetId"]

    def endpoint(self, service: str, **more: object) -> str:
        request = {
            "VpcId": self.vpc,
            "ServiceName": f"com.amazonaws.{self.region}.{service}",
            "VpcEndpointType": "Gateway",
        }
        response = self.ec2.create_vpc_endpoint(**(request | more))
        return response["VpcEndpoint"]["VpcEndpointId"]

    def interface(self, service: str, group: str) -> str:
        more = {"SubnetIds": [self.subnet], "PrivateDnsEnabled": True, "SecurityGroupIds": [group]}
        return self.endpoint(service, VpcEndpointType="Interface", **more)

    def admit(self, **rule: object) -> None:
        """Add a rule to the group of KMS's endpoint, by default for tcp 443."""
        permission = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443} | rule
        self.ec2.authorize_security_group_ingress(GroupId=self.group, IpPermissions=[permission])

    def close(self) -> None:
        """Let the group of KMS's endpoint admit nothing."""
        (group,) = self.ec2.describe_security_groups(GroupIds=[self.group])["SecurityGroups"]
        self.ec2.revoke_security_group_ingress(GroupId=self.group, IpPermissions=group["IpPermissions"])

    def remove(self, endpoint: str) -> None:
        self.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])

    def dns(self, *, support: bool = True, names: bool = True) -> None:
        self.ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsSupport={"Value": support})
        self.ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": names})

    def name_servers(self, *addresses: str) -> None:
        configuration = {"Key": "domain-name-servers", "Values": list(addresses)}
        created = self.ec2.create_dhcp_options(DhcpConfigurations=[configuration])["DhcpOptions"]
        self.ec2.associate_dhcp_options(DhcpOptionsId=created["DhcpOptionsId"], VpcId=self.vpc)

    def untag(self, resource: str) -> None:
        self.ec2.delete_tags(Resources=[resource], Tags=TAGS)

    def default_route(self, **target: str) -> None:
        self.ec2.create_route(RouteTableId=self.routes, DestinationCidrBlock="0.0.0.0/0", **target)

    def gateway(self) -> str:
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        return gateway
