from dataclasses import replace

import pytest

from fruits_features.contract.arguments import Arguments
from include.publication import fingerprint

RUN = {"name": "r", "prefix": "images/", "digest": "d"}
ARGUMENTS = Arguments(bucket="fruits", inventory="s3://fruits/r/i", output="s3://fruits/r", run="r", k=8)
ARTIFACTS = {"application": "s3://fruits/artifacts/a-1.zip", "bootstrap": "s3://fruits/artifacts/b-1.sh"}


def _of(
    run: dict = RUN, arguments: Arguments = ARGUMENTS, artifacts: dict = ARTIFACTS, model: str | None = None
) -> dict:
    return fingerprint.run_fingerprint(run, arguments=arguments, artifacts=artifacts, model=model)


def test_run_at_another_location_has_the_same_fingerprint() -> None:
    elsewhere = replace(ARGUMENTS, bucket="orchard", inventory="/i", output="/o", run="r2")

    moved = {role: uri.replace("fruits/artifacts", "orchard/code") for role, uri in ARTIFACTS.items()}

    assert fingerprint.differences(_of(), _of(RUN | {"name": "r2"}, elsewhere, moved)) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"run": RUN | {"digest": "e"}}, "images"),
        ({"run": RUN | {"prefix": ""}}, "image_prefix"),
        ({"arguments": replace(ARGUMENTS, k=9)}, "parameter k"),
        ({"arguments": replace(ARGUMENTS, features=("color", "orb"))}, "parameter features"),
        ({"arguments": replace(ARGUMENTS, max_image_pixels=1)}, "parameter max_image_pixels"),
        ({"artifacts": ARTIFACTS | {"application": "s3://fruits/artifacts/a-2.zip"}}, "application"),
        ({"artifacts": ARTIFACTS | {"bootstrap": "s3://fruits/artifacts/b-2.sh"}}, "bootstrap"),
        ({"model": "etag"}, "model"),
    ],
)
def test_each_change_is_reported_by_its_name(change: dict, named: str) -> None:
    assert fingerprint.differences(_of(), _of(**change)) == [named]


def test_run_without_a_fingerprint_differs_in_everything() -> None:
    assert fingerprint.differences({}, _of()) == sorted(_of())
