"""Objects of any key go through listing, inventory, extraction, validation and report, or are quarantined."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

import boto3
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from fruits_airflow.hooks.s3 import read
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.image_keys import is_system_file, key_problem, split_and_category
from fruits_features.contract.layout import DatasetLayout
from fruits_features.contract.rejections import Reason
from fruits_features.extraction import batches
from fruits_features.io import object_store
from fruits_features.job import run
from fruits_features.projection import Projection
from include.inventory import listing, writer
from include.inventory.image_filter import ImageFilter
from include.inventory.listing_xml import parse_objects_quickly
from include.report.build import Inputs, build
from include.run_files import RunFiles
from include.validation.audit import Audit
from tests.support.literal_s3 import BUCKET, literal_s3
from tests.support.small_runs import Silent, context, in_process, photograph

if TYPE_CHECKING:
    import pytest
    from mypy_boto3_s3 import S3Client

    from include.report.build import Report
    from include.validation.audit import ValidationReport

PREFIX = "images/"
LAYOUT = DatasetLayout(BUCKET).run("r")
ODD = (
    *(
        "a\tb",
        "a\nb",
        "a\rb",
        "a\x00b",
        "\x7f",
        "a\x01",
        "a\x85b",
        "a\ufffeb",
        "a\u2028b",
        "\ufeffa",
        "\ud7ff",
        "\U0010ffff",
    ),
    *("a//b", "/a", "a/", "./a", "../a", "a/./b", "a/../b", "...", "a/...", "//", " a ", " /b", "a /b"),
    *(
        "a%b",
        "a%2Fb",
        "a%20b",
        "%00",
        "a+b c",
        "a?b#c",
        "a&b=c;d",
        "back\\slash",
        "<a href='x'>&amp;\"",
        "{}^`[]|~$@,!*()",
    ),
    *("é", "e\u0301", "\U0001f34b", "C:/a", "s3://fruits/a", "é" * 505, "z" * 1010, "d/" * 500 + "x"),
)
"""Names of objects in the folder of a category; the longest make keys of 1,024 bytes."""

CHARACTERS = "aB/.%+ #?&<\"'\\\t\n\x00\x7f\x85\ufeffe\u0301é\U0001f34b"
"""Characters that parsers of paths, URLs, XML and HTML treat apart, and others."""


def _keys() -> list[str]:
    """Return keys with each of the odd names, and with random ones in and outside of the folder of a category."""
    random = Random(0)  # noqa: S311 - names, not secrets
    drawn = {"".join(random.choices(CHARACTERS, k=random.randint(1, 12))) for _ in range(150)}
    return sorted({f"{PREFIX}{name}" for name in drawn} | {f"{PREFIX}Limes/{name}" for name in (*ODD, *drawn)})


def test_object_of_any_key_has_features_or_is_quarantined_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = _keys()
    objects = {key: photograph(number) for number, key in enumerate(keys)}
    with literal_s3(objects) as endpoint, tempfile.TemporaryDirectory() as folder, monkeypatch.context() as patch:
        _use(patch, endpoint)
        session = boto3.Session()
        parse_objects_quickly(session)
        client = session.client("s3")
        summary = _take_inventory(client, Path(folder))
        arguments = _extract(Path(folder))
        files = RunFiles(LAYOUT, SubTreeFileSystem(folder, LocalFileSystem()))
        validation, report = _validate(client, files, arguments), _report(client, files)
        paths = set(pq.read_table(arguments.output + "/features")["path"].to_pylist())
        rejected = {row["path"]: row for row in pq.read_table(arguments.output + "/quarantine").to_pylist()}

    images = [key for key in keys if not is_system_file(key.removeprefix(PREFIX))]
    usable = [key for key in images if split_and_category(key.removeprefix(PREFIX))[1] and not key_problem(key)]
    assert summary.images == len(images)
    assert paths == {f"s3://{BUCKET}/{key}" for key in usable}
    assert rejected.keys() == {f"s3://{BUCKET}/{key}" for key in images} - paths
    for path, row in rejected.items():
        key = path.removeprefix(f"s3://{BUCKET}/")
        _, category = split_and_category(key.removeprefix(PREFIX))
        assert row["reason"] == (Reason.UNUSABLE_KEY if category else Reason.NO_CATEGORY), key
    assert validation.failed == []
    assert {check.saw for check in validation.not_checked} == {"no run is published"}
    shown = {image["path"] for one in report.figures["components"] for image in one["lowest"] + one["highest"]}
    assert shown <= paths
    assert b"no picture" not in report.html


def _use(patch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Point all clients to a server, and run the application in this process."""
    variables = {"AWS_ENDPOINT_URL_S3": endpoint, "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
    for name, value in (variables | {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}).items():
        patch.setenv(name, value)
    patch.setattr(run, "ProgressListener", Silent)
    patch.setattr(batches, "SubprocessPool", in_process)
    object_store.open_folder.cache_clear()


def _take_inventory(client: S3Client, folder: Path) -> writer.Summary:
    place = folder / LAYOUT.inventory.removeprefix("s3://")
    place.mkdir(parents=True)

    def store(name: str, file: IO[bytes]) -> None:
        (place / name).write_bytes(file.read())

    return writer.write(writer.ImageRows(listing.list_objects(client, BUCKET, PREFIX), ImageFilter(PREFIX)), store)


def _extract(folder: Path) -> Arguments:
    output = str(folder / LAYOUT.prefix.removeprefix("s3://"))
    places = {"bucket": BUCKET, "inventory": f"{output}/inventory", "output": output, "run": "r"}
    arguments = Arguments(features=("texture",), k=3, max_quarantine_share=1.0, **places)  # type: ignore[arg-type]
    run.run(context, arguments)
    return arguments


def _validate(client: S3Client, files: RunFiles, arguments: Arguments) -> ValidationReport:
    hook: Any = SimpleNamespace(conn=client)
    recogniser = Path(f"{arguments.output}/recogniser/recogniser.npz").read_bytes()
    audit = Audit(files, arguments, fetch=lambda key, etag: read(hook, BUCKET, key, etag), recogniser=recogniser)
    return audit.validate(Path(f"{arguments.output}/projection/projection.npz").read_bytes())


def _report(client: S3Client, files: RunFiles) -> Report:
    hook: Any = SimpleNamespace(conn=client)
    with files.filesystem.open_input_file(f"{BUCKET}/features/runs/r/projection/projection.npz") as file:
        projection = Projection.from_bytes(file.read())
    return build(Inputs("r", files, projection, {"checks": []}, fetch=lambda key: read(hook, BUCKET, key)))
