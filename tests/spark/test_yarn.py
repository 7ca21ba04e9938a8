"""The DAG's own `spark-submit` on Hadoop's own YARN, with nodes as large as those that EMR gets."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from fruits_features.contract.layout import RunLayout
from include.emr.prices import price_table
from include.emr.sizing import SIZES, Nodes
from tests.spark.conftest import Served
from tests.spark.test_job import fill
from tests.support.buckets import Bucket
from tests.support.hadoop.jars import hadoop_jars
from tests.support.hadoop.primary_node import PrimaryNode, classification
from tests.support.hadoop.step import Step, prepare
from tests.support.hadoop.yarn import YarnCluster, YarnNode
from tests.support.waiting import wait_for

INSTANCE = price_table().named("m7g.2xlarge")
EXECUTOR = "org.apache.spark.executor.YarnCoarseGrainedExecutorBackend"
EXECUTOR_MB, MASTER_MB = 11_264, 896
STEP_S = 900.0


@contextmanager
def started(
    step: Step, s3: Served, folder: Path, nodes: Sequence[YarnNode]
) -> Iterator[tuple[YarnCluster, PrimaryNode, subprocess.Popen[bytes]]]:
    """Start a cluster as the step's request wants it, and the step on it."""
    primary = PrimaryNode(folder / "primary", s3.environment)
    yarn_site = classification(step.request, "yarn-site")
    with YarnCluster(folder / "yarn", hadoop_jars("yarn"), nodes, yarn_site, primary.environment) as cluster:
        spark = {"spark.master": "yarn"} | classification(step.request, "spark-defaults")
        process = primary.submit(step.command, spark, cluster.site)
        try:
            yield cluster, primary, process
        finally:
            process.kill()
            process.wait()


def node(name: str, *, core: bool) -> YarnNode:
    return YarnNode(name, INSTANCE.yarn_memory_mb, INSTANCE.vcpus, core=core)


def working(cluster: YarnCluster) -> list[tuple[psutil.Process, psutil.Process]]:
    """Return the executors that work on a task, each with one of its Python workers."""
    found = []
    for process in cluster.processes():
        with suppress(psutil.NoSuchProcess):
            if EXECUTOR in process.cmdline() and Path(process.exe()).name == "java":
                daemons = process.children()
                found += [(process, worker) for daemon in daemons for worker in daemon.children()[:1]]
    return found


def features(folder: str) -> pa.Table:
    return pq.read_table(folder).sort_by("path")


def locally(step: Step, s3: Served, folder: Path) -> pa.Table:
    """Run the step again on Spark's local master, and return its features."""
    primary = PrimaryNode(folder, s3.environment)
    arguments = [word.replace("/runs/r", "/runs/local") if "--output=" in word else word for word in step.command]
    process = primary.submit(arguments, {"spark.master": "local[2]"}, {})
    assert process.wait(STEP_S) == 0, primary.stderr()
    return features(RunLayout(str(step.output.with_name("local"))).features)


def test_step_fills_a_core_node_and_outlives_an_executor(photos: Bucket, s3: Served, tmp_path: Path) -> None:
    fill(photos, 200)
    step = prepare(photos, SIZES["small"])

    with started(step, s3, tmp_path, [node("core", core=True)]) as (cluster, primary, process):
        used = wait_for(
            cluster.used_mb, lambda used: used["core"] >= 2 * EXECUTOR_MB or process.poll() is not None, within_s=STEP_S
        )
        assert process.poll() is None, primary.stderr()
        executor, worker = wait_for(lambda: working(cluster), within_s=STEP_S)[0]
        command, variables, container = worker.cmdline(), worker.environ(), Path(worker.cwd())
        shipped = (container / step.application).read_bytes()
        executor.kill()
        assert process.wait(STEP_S) == 0, primary.stderr()
        assert "Lost executor" in primary.stderr()

    assert used == {"core": 2 * EXECUTOR_MB + MASTER_MB}
    assert used["core"] <= INSTANCE.yarn_memory_mb < used["core"] + EXECUTOR_MB
    assert command == [sys.executable, "-m", "pyspark.daemon", *command[3:]]
    assert shipped == step.archive
    assert [Path(path).name for path in variables["PYTHONPATH"].split(os.pathsep) if "fruits" in Path(path).name] == [
        step.application
    ]
    of_yarn, of_this_machine = features(RunLayout(str(step.output)).features), locally(step, s3, tmp_path / "local")
    assert of_yarn.num_rows == 200
    assert of_yarn.drop_columns("pca").equals(of_this_machine.drop_columns("pca"))
    assert np.allclose(of_yarn["pca"].to_pylist(), of_this_machine["pca"].to_pylist(), rtol=0, atol=1e-4)


def test_application_master_stays_on_the_core_node_and_executors_fill_both(
    photos: Bucket, s3: Served, tmp_path: Path
) -> None:
    fill(photos)
    step = prepare(photos, Nodes(core=1, task=1))

    with started(step, s3, tmp_path, [node("core", core=True), node("task", core=False)]) as (
        cluster,
        primary,
        process,
    ):
        used = wait_for(
            cluster.used_mb, lambda used: sum(used.values()) >= 4 * EXECUTOR_MB or process.poll(), within_s=STEP_S
        )

    assert used == {"core": 2 * EXECUTOR_MB + MASTER_MB, "task": 2 * EXECUTOR_MB}, primary.stderr()
