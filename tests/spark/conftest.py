"""A real S3 server over a folder, a bucket of images in it, and one local Spark session for all tests here."""

import hashlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from pyspark.sql import SparkSession

from tests.support.buckets import ACCESS_KEY, SECRET_KEY, Bucket, s3_server

ROOT = Path(__file__).parents[2]


class Served(NamedTuple):
    """A served folder, in which each folder is a bucket, and the environment variables of the S3 server."""

    folder: Path
    environment: dict[str, str]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("s3")
    with s3_server(folder) as address:
        yield Served(
            folder,
            {
                "AWS_ENDPOINT_URL_S3": address,
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                "AWS_REGION": "eu-west-1",
            },
        )


@pytest.fixture(scope="module")
def s3_folder(s3: Served) -> Iterator[Path]:
    """The folder of the buckets. The server's environment is set only while the tests of a module run."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        yield s3.folder


@pytest.fixture(scope="session")
def spark(s3: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One session with two cores and without UI. Failed tasks are retried, as on a cluster.

    The workers inherit the environment of the session's start: the S3 server's address, a decoder that some images
    crash or block, and a short deadline for it. The environment is reset afterwards, because other tests of this
    process start programs too.
    """
    folders = (ROOT / "spark_apps", ROOT / "tests" / "support" / "deadly_decoder")
    environment = {
        **s3.environment,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "FRUITS_TEST_DEADLINE_S": "10",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        session = (
            SparkSession.builder.master("local[2,4]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
            .getOrCreate()
        )
    logging.getLogger("py4j").setLevel(logging.WARNING)  # it logs after pytest has closed its streams
    yield session
    session.stop()


@pytest.fixture
def photos(request: pytest.FixtureRequest, s3_folder: Path, tmp_path: Path) -> Bucket:
    """A new, empty bucket."""
    name = f"bucket-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"
    (s3_folder / name).mkdir()
    return Bucket(name, s3_folder / name, tmp_path / "runs")


@pytest.fixture(scope="session")
def real_images() -> Path:
    """The folder of real photographs that FRUITS_REAL_IMAGES names."""
    folder = os.environ.get("FRUITS_REAL_IMAGES")
    if not folder:
        pytest.skip("FRUITS_REAL_IMAGES is not set to a folder of real photographs")
    return Path(folder)
