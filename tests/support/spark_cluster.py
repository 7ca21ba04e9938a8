"""Fixture: a real Spark standalone cluster that uses the local AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.dev.local_aws.processes import MARK
from include.dev.spark_standalone import StandaloneCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.dev.local_aws.local import LocalAws


@pytest.fixture(scope="session")
def spark_cluster(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneCluster]:
    """Yield a master and two workers. They carry the local AWS's mark, so that they end with it if tests are killed."""
    environment = local_aws.process_environment | {MARK: local_aws.run_id, "LC_ALL": "C.UTF-8"}
    with StandaloneCluster(tmp_path_factory.mktemp("spark cluster"), environment) as cluster:
        yield cluster
