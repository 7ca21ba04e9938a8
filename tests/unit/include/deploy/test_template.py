"""The CloudFormation template: cfn-lint's checks, and the resources of a stack."""

from __future__ import annotations

import re
from typing import Any

import boto3
import cfnlint.decode.cfn_yaml
import pytest
from botocore.session import Session
from cfnlint.api import lint_file
from cfnlint.config import ManualArgs
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from include.settings import Settings
from tests.support.iam import Request, allows
from tests.support.stacks import REGION, TEMPLATE, Stack, create

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")  # moto has no bucket policies


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    read, problems = cfnlint.decode.cfn_yaml.load(str(TEMPLATE)), []
    assert not problems
    return read


OFFERED = Session().get_available_regions("emr")
"""Regions of `make deploy`. Those outside the European Union need an option."""


def test_template_is_clean_to_cfn_lint_in_every_offered_region() -> None:
    assert len(OFFERED) > 20
    assert [str(match) for match in lint_file(TEMPLATE, config=ManualArgs(regions=OFFERED))] == []


def test_budget_is_made_in_every_region_that_has_budgets(template: dict[str, Any]) -> None:
    conditions = template["Conditions"]
    groups = [one["Condition"] for one in conditions["HasBudgets"]["Fn::Or"]]
    regions = {equal["Fn::Equals"][1] for group in groups for equal in conditions[group]["Fn::Or"]}
    type_of_budget = template["Resources"]["Budget"]["Type"]

    having = {one for one in OFFERED if type_of_budget in PROVIDER_SCHEMA_MANAGER.get_resource_types(one)}
    assert regions == having
    assert template["Resources"]["Budget"]["Condition"] == "HasBudgets"


def test_setting_outputs_are_settings_of_airflow(stack: Stack) -> None:
    words = [key.removeprefix("Setting") for key in stack.outputs if key.startswith("Setting")]
    names = {re.sub(r"(?<!^)(?=[A-Z])", "_", word).lower() for word in words}

    assert "bucket" in names
    assert names <= set(Settings.model_fields)


def test_bucket_is_private_and_versioned(template: dict[str, Any]) -> None:
    bucket = template["Resources"]["Bucket"]["Properties"]

    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}


def _encryption(stack: Stack) -> dict[str, Any]:
    answer = boto3.client("s3", region_name=REGION).get_bucket_encryption(Bucket=stack.bucket)
    (rule,) = answer["ServerSideEncryptionConfiguration"]["Rules"]
    return rule["ApplyServerSideEncryptionByDefault"]


def test_bucket_is_named_after_account_and_region_and_encrypted(stack: Stack) -> None:
    assert stack.bucket == f"fruits-image-features-{stack.account}-{REGION}"
    assert _encryption(stack)["SSEAlgorithm"] == "AES256"


@pytest.mark.usefixtures("aws")
def test_bucket_and_cluster_use_the_key_with_sse_kms() -> None:
    stack = create("with-key", {"BucketEncryption": "SSE-KMS", "BucketName": "orchard"})
    at_rest = stack.security_configuration()["EncryptionConfiguration"]["AtRestEncryptionConfiguration"]

    key = _encryption(stack)
    assert stack.bucket == "orchard"
    assert key["SSEAlgorithm"] == "aws:kms"
    assert key["KMSMasterKeyID"].endswith(stack.resources["Key"])
    assert at_rest["S3EncryptionConfiguration"] == {"EncryptionMode": "SSE-KMS", "AwsKmsKey": key["KMSMasterKeyID"]}


def test_lifecycle_expires_leftovers_and_runs_only_by_a_parameter(template: dict[str, Any]) -> None:
    *rules, runs, datasets = template["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    condition, by_age, otherwise = runs["Fn::If"]

    assert [rule["Id"] for rule in rules] == ["incomplete-uploads", "old-versions", "logs"]
    assert rules[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rules[1]["NoncurrentVersionExpiration"] == {"NoncurrentDays": {"Ref": "KeepOldVersionsDays"}}
    assert [rule["Prefix"] for rule in rules if "ExpirationInDays" in rule] == ["logs/"]
    assert (condition, otherwise) == ("ExpiresRuns", {"Ref": "AWS::NoValue"})
    assert by_age["Prefix"] == "features/runs/"
    assert datasets == {"Fn::If": [condition, {**by_age, "Id": "data-sets", "Prefix": "features/datasets/"}, otherwise]}
    assert template["Parameters"]["ExpireRunsAfterDays"]["Default"] == 0


def test_instance_profile_has_the_name_of_its_role_as_emr_demands(stack: Stack) -> None:
    assert stack.outputs["SettingEmrInstanceProfile"] == stack.resources["InstanceRole"]


def test_clusters_are_encrypted_and_take_metadata_by_token_only(stack: Stack) -> None:
    document = stack.security_configuration()
    encryption = document["EncryptionConfiguration"]
    disks = encryption["AtRestEncryptionConfiguration"]["LocalDiskEncryptionConfiguration"]
    transit = encryption["InTransitEncryptionConfiguration"]["TLSCertificateConfiguration"]
    metadata = document["InstanceMetadataServiceConfiguration"]

    assert encryption["EnableAtRestEncryption"] is True
    assert disks["EnableEbsEncryption"] is True
    assert disks["AwsKmsKey"].endswith(stack.resources["Key"])
    assert encryption["EnableInTransitEncryption"] is True
    assert transit["S3Object"] == f"s3://{stack.bucket}/certificates/nodes.zip"
    assert metadata == {"MinimumInstanceMetadataServiceVersion": 2, "HttpPutResponseHopLimit": 1}


def test_no_security_group_lets_an_address_in(stack: Stack) -> None:
    names = ("PrimaryGroup", "CoreGroup", "ServiceAccessGroup")
    ids = [stack.resources[name] for name in names]
    groups = boto3.client("ec2", region_name=REGION).describe_security_groups(GroupIds=ids)["SecurityGroups"]
    ingress = [rule for group in groups for rule in group["IpPermissions"]]

    assert len(groups) == 3
    assert ingress
    assert not [rule for rule in ingress if rule["IpRanges"] or rule["Ipv6Ranges"]]
    assert {pair["GroupId"] for rule in ingress for pair in rule["UserIdGroupPairs"]} == set(ids)


def test_service_access_group_accepts_what_emr_spark_8_and_emr_7_send(stack: Stack) -> None:
    nodes = {stack.resources["PrimaryGroup"], stack.resources["CoreGroup"]}
    (group,) = boto3.client("ec2", region_name=REGION).describe_security_groups(
        GroupIds=[stack.resources["ServiceAccessGroup"]]
    )["SecurityGroups"]
    accepted = {
        (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]): {pair["GroupId"] for pair in rule["UserIdGroupPairs"]}
        for rule in group["IpPermissions"]
    }

    assert accepted == {("tcp", 443, 443): nodes, ("tcp", 9443, 9443): {stack.resources["PrimaryGroup"]}}


def test_primary_node_reaches_the_endpoint_of_emr(template: dict[str, Any]) -> None:
    rule = template["Resources"]["PrimaryToService"]

    assert rule["Type"] == "AWS::EC2::SecurityGroupEgress"
    assert rule["Properties"]["GroupId"] == {"Fn::GetAtt": ["PrimaryGroup", "GroupId"]}
    assert rule["Properties"]["DestinationSecurityGroupId"] == {"Fn::GetAtt": ["ServiceAccessGroup", "GroupId"]}
    assert (rule["Properties"]["FromPort"], rule["Properties"]["ToPort"]) == (443, 443)


def test_key_and_bucket_outlive_the_stack_but_not_a_failed_creation(template: dict[str, Any]) -> None:
    for name in ("Key", "Bucket"):
        assert template["Resources"][name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert template["Resources"][name]["UpdateReplacePolicy"] == "Retain"


def test_region_outside_europe_is_refused_by_default(template: dict[str, Any]) -> None:
    rule = template["Rules"]["DataStayInEurope"]
    (assertion,) = rule["Assertions"]
    regions, region = assertion["Assert"]["Fn::Contains"]

    assert template["Parameters"]["AllowOutsideEurope"]["Default"] == "no"
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "AllowOutsideEurope"}, "no"]}
    assert region == {"Ref": "AWS::Region"}
    assert "eu-west-1" in regions
    assert not {"eu-west-2", "eu-central-2", "us-east-1"} & set(regions)  # London and Zurich are not in the Union


def test_budget_counts_what_clusters_are_tagged_with(template: dict[str, Any]) -> None:
    budget = template["Resources"]["Budget"]["Properties"]

    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": ["user:application$fruits-image-features"]}
    kinds = [one["Notification"]["NotificationType"] for one in budget["NotificationsWithSubscribers"]]
    assert kinds == ["ACTUAL", "FORECASTED"]


def test_access_logs_go_to_a_bucket_only_if_one_is_named(template: dict[str, Any]) -> None:
    condition, logs, otherwise = template["Resources"]["Bucket"]["Properties"]["LoggingConfiguration"]["Fn::If"]

    assert template["Conditions"][condition] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "AccessLogBucket"}, ""]}]}
    assert logs == {"DestinationBucketName": {"Ref": "AccessLogBucket"}, "LogFilePrefix": "fruits-image-features/"}
    assert otherwise == {"Ref": "AWS::NoValue"}
    assert template["Parameters"]["AccessLogBucket"]["Default"] == ""


def test_alerts_are_encrypted_with_a_key_that_budgets_may_use(stack: Stack, template: dict[str, Any]) -> None:
    topic = boto3.client("sns", region_name=REGION).get_topic_attributes(TopicArn=stack.outputs["SettingAlertTopicArn"])
    assert topic["Attributes"]["KmsMasterKeyId"] == stack.resources["Key"]

    statements = template["Resources"]["Key"]["Properties"]["KeyPolicy"]["Statement"]
    (statement,) = [one for one in statements if one["Principal"] == {"Service": "budgets.amazonaws.com"}]
    policy = {"Statement": [statement | {"Condition": {"StringEquals": {"aws:SourceAccount": stack.account}}}]}
    key = f"arn:aws:kms:{REGION}:{stack.account}:key/{stack.resources['Key']}"
    ours, foreign = ({"aws:SourceAccount": account} for account in (stack.account, "999999999999"))

    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert all(allows([policy], Request(action, key, ours)) for action in ("kms:Decrypt", "kms:GenerateDataKey"))
    assert not allows([policy], Request("kms:Decrypt", key, foreign))
    assert not allows([policy], Request("kms:ScheduleKeyDeletion", key, ours))


def test_key_encrypts_the_disks_of_spot_instances_and_no_other_roles(stack: Stack) -> None:
    kms = boto3.client("kms", region_name=REGION)
    policy: Any = kms.get_key_policy(KeyId=stack.resources["Key"], PolicyName="default")["Policy"]  # moto's is parsed
    statements = [one for one in policy["Statement"] if one["Principal"] == {"AWS": "*"}]
    key = f"arn:aws:kms:{REGION}:{stack.account}:key/{stack.resources['Key']}"
    roles = f"arn:aws:iam::{stack.account}:role/"
    spot = {"aws:PrincipalArn": f"{roles}aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"}

    def allowed(action: str, context: dict[str, str]) -> bool:
        return allows([{"Statement": statements}], Request(f"kms:{action}", key, context))

    # Operations of the grant in EC2's guide
    assert all(
        allowed(action, spot)
        for action in (
            "CreateGrant",
            "Decrypt",
            "DescribeKey",
            "Encrypt",
            "GenerateDataKey",
            "GenerateDataKeyWithoutPlaintext",
            "ReEncryptFrom",
            "ReEncryptTo",
        )
    )
    assert not allowed("ScheduleKeyDeletion", spot)
    assert not allowed("Decrypt", {"aws:PrincipalArn": f"{roles}AWSServiceRoleForEC2Spot"})
    assert not allowed("Decrypt", {})


def test_nodes_send_https_to_addresses_and_anything_to_each_other_only(template: dict[str, Any]) -> None:
    nodes, resources = ("PrimaryGroup", "CoreGroup"), template["Resources"]
    own = [rule for name in nodes for rule in resources[name]["Properties"]["SecurityGroupEgress"]]
    added = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::EC2::SecurityGroupEgress"]
    to_groups = {
        (
            *(rule[end]["Fn::GetAtt"][0] for end in ("GroupId", "DestinationSecurityGroupId")),
            rule.get("FromPort", "all"),
        )
        for rule in added
    }

    assert [(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in own] == [("tcp", 443, 443)] * 2
    assert to_groups == {
        *((one, other, "all") for one in nodes for other in nodes),
        ("PrimaryGroup", "ServiceAccessGroup", 443),
        ("PrimaryGroup", "ServiceAccessGroup", 9443),
    }
