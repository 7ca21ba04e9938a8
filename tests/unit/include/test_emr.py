"""The requests we make of EMR, against botocore's own validation: what AWS would refuse fails here."""

import botocore.session
import pytest
from botocore.validate import ParamValidator

from fruits_features.arguments import Arguments
from include import emr
from include.artifacts import ArtifactUris
from include.settings import Settings

ARTIFACTS = ArtifactUris(
    application="s3://fruits/artifacts/fruits_features-1.zip",
    launcher="s3://fruits/artifacts/launch-2.py",
    bootstrap="s3://fruits/artifacts/bootstrap-3.sh",
)
ARGUMENTS = Arguments(bucket="fruits", inventory="s3://fruits/r/inventory", output="s3://fruits/r", run="r", k=3)

GROUPS = {
    "emr_primary_security_group": "sg-1",
    "emr_core_security_group": "sg-2",
    "emr_service_security_group": "sg-3",
}
CLUSTER = emr.Cluster(name="a run", run="r", bucket="fruits", region="eu-west-1", artifacts=ARTIFACTS)


def _job_flow(**settings: object) -> dict:
    return emr.job_flow(Settings(**settings), CLUSTER)


def _errors(operation: str, request: dict) -> str:
    shape = botocore.session.get_session().get_service_model("emr").operation_model(operation).input_shape
    return ParamValidator().validate(request, shape).generate_report()


@pytest.mark.parametrize(
    "settings", [{}, {"emr_subnet_id": "subnet-1", "emr_security_configuration": "strict"}, GROUPS]
)
def test_job_flow_is_a_valid_request(settings: dict) -> None:
    assert _errors("RunJobFlow", _job_flow(**settings)) == ""


def test_job_flow_names_the_groups_of_the_deployment_or_none() -> None:
    instances = _job_flow(**GROUPS)["Instances"]

    assert instances["EmrManagedMasterSecurityGroup"] == "sg-1"
    assert instances["EmrManagedSlaveSecurityGroup"] == "sg-2"
    assert instances["ServiceAccessSecurityGroup"] == "sg-3"
    assert [key for key in _job_flow()["Instances"] if key.endswith("SecurityGroup")] == []


def test_job_flow_carries_the_tag_without_which_emr_may_not_touch_it() -> None:
    assert {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"} in _job_flow()["Tags"]


def test_featurize_step_is_a_valid_request() -> None:
    step = emr.featurize_step(ARGUMENTS, ARTIFACTS)

    assert _errors("AddJobFlowSteps", {"JobFlowId": "j-1", "Steps": [step]}) == ""


def test_job_flow_stays_up_for_its_step_but_not_for_ever() -> None:
    request = _job_flow(emr_idle_timeout_s=900)

    assert request["Instances"]["KeepJobFlowAliveWhenNoSteps"] is True
    assert request["Instances"]["TerminationProtected"] is False
    assert request["AutoTerminationPolicy"] == {"IdleTimeout": 900}


def test_job_flow_without_subnet_leaves_the_choice_to_emr() -> None:
    assert "Ec2SubnetId" not in _job_flow()["Instances"]


def test_featurize_step_runs_the_copy_in_s3_with_arguments_that_read_back() -> None:
    words = emr.featurize_step(ARGUMENTS, ARTIFACTS)["HadoopJarStep"]["Args"]

    assert words[:6] == [
        "spark-submit", "--deploy-mode", "client", "--py-files", ARTIFACTS.application, ARTIFACTS.launcher,
    ]  # fmt: skip
    assert Arguments.from_argv(words[6:]) == ARGUMENTS
