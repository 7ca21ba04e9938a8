"""A run on an existing Spark cluster gives the same rows as on EMR."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from include.dev.spark_standalone import write_driver_conf
from tests.support.airflow.pipeline import DATE, PARAMS

if TYPE_CHECKING:
    from pathlib import Path

    from include.dev.spark_standalone import StandaloneCluster
    from tests.support.airflow.pipeline import Pipeline, Published


def test_own_spark_cluster_gives_the_rows_of_emr(
    pipeline: Pipeline, published: Published, spark_cluster: StandaloneCluster, tmp_path: Path
) -> None:
    clusters = pipeline.cluster_states()
    children = psutil.Process().children(recursive=True)
    java = [child for child in children if spark_cluster.url in child.as_dict(["cmdline"], ad_value=[])["cmdline"]]
    assert len(java) == 2, "workers have the master's URL in their command line"
    conf = write_driver_conf(tmp_path / "conf", pipeline.aws.s3_folder, master=spark_cluster.url)
    on_cluster = {
        "SPARK_CONF_DIR": str(conf),
        "LC_ALL": "C.UTF-8",  # the JVM encodes file names by locale
        "AIRFLOW_CONN_SPARK_DEFAULT": f"{spark_cluster.url}?deploy-mode=client",
    }

    run = replace(pipeline, environment={**pipeline.environment, **on_cluster}).run(
        DATE, dag_id="fruits_features_spark", force=True, **PARAMS
    )

    assert run.ok, run.error
    assert pipeline.latest()["run"] == f"{DATE}T000000Z-fruits-fruits_features_spark"
    (app,) = spark_cluster.status()["completedapps"]
    assert len(list((spark_cluster.folder / "work").glob(f"{app['id']}/*"))) == 2, "each worker ran an executor"
    assert pipeline.cluster_states() == clusters
    rows = pipeline.table("features")
    assert pipeline.table("quarantine").equals(published.quarantine)
    assert rows.drop("pca").equals(published.features.drop("pca"))
    np.testing.assert_allclose(np.stack(rows["pca"]), np.stack(published.features["pca"]), atol=1e-4)

    spark_cluster.stop()

    assert not [process for process in java if process.is_running()]
    with pytest.raises(OSError, match="refused"):
        spark_cluster.status()
