import pytest
from pydantic import ValidationError

from include.settings import Settings


def test_settings_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUITS_BUCKET", "orchard")

    assert Settings().bucket == "orchard"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FRUITS_BUCKET", "Not A Bucket"),
        ("FRUITS_IMAGE_PREFIX", "no-slash"),
        ("FRUITS_IMAGE_PREFIX", "wild*/"),
        ("FRUITS_INVENTORY_REPORT", "reports/fruits/daily/"),
        ("FRUITS_RETENTION_DAYS", "-1"),
        ("FRUITS_EMR_RELEASE", "latest"),
        ("FRUITS_EMR_RELEASE", "emr-6.15.0"),
        ("FRUITS_EMR_RELEASE", "emr-7.0.0"),
        ("FRUITS_EMR_ARCHITECTURE", "sparc"),
        ("FRUITS_EMR_SUBNET_ID", "subnet-…"),
        ("FRUITS_EMR_MAX_NODES", "0"),
        ("FRUITS_NO_CLUSTER_BELOW", "-1"),
        ("FRUITS_VALIDATE_ON_CLUSTER_ABOVE", "-1"),
        ("FRUITS_NO_CLUSTER_MEMORY_MB", "127"),
        ("FRUITS_EMR_IDLE_TIMEOUT_S", "59"),
    ],
)
def test_settings_out_of_limits_name_variable_and_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(ValidationError) as error:
        Settings()

    assert variable.removeprefix("FRUITS_").lower() in str(error.value)
    assert value in str(error.value)
