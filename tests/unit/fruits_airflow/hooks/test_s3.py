"""Reading objects with limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from fruits_airflow.hooks.s3 import read

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws


@pytest.mark.usefixtures("aws_environment")
def test_object_above_the_limit_of_bytes_is_not_read(local_aws: LocalAws) -> None:
    local_aws.s3().put_object(Bucket="fruits", Key="large", Body=b"12345")

    assert read(S3Hook(), "s3://fruits/large", max_bytes=5) == b"12345"
    assert read(S3Hook(), "s3://fruits/large", max_bytes=4) is None
    assert read(S3Hook(), "s3://fruits/large") == b"12345"
