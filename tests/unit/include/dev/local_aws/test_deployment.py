"""Upload of artifacts to local AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.artifacts import bundle
from include.deploy.uploads import PREFIX, Upload
from include.dev.local_aws import deployment

if TYPE_CHECKING:
    import pytest

    from include.dev.local_aws.local import LocalAws


def test_list_of_wheels_follows_the_interpreter(
    local_aws: LocalAws, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = Upload(PREFIX + bundle.wheelhouse_name(bundle.application_folder()), b"numpy-cp311.whl")
    other = Upload(wheels.key, b"numpy-cp313.whl")
    monkeypatch.setattr(deployment, "DEFAULT_BUCKET", bucket)

    for upload in (wheels, other):
        monkeypatch.setattr(deployment, "build", lambda upload=upload: [upload])
        deployment.deploy(local_aws.s3())

        assert local_aws.s3().get_object(Bucket=bucket, Key=wheels.key)["Body"].read() == upload.content
