"""Candidate: this application. It measures complete runs, with PCA and both kinds of files.

Like a step of the local AWS, it uses the Spark, the settings and the application archive of its clusters.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkConf, SparkContext

from benchmarks.speed.task import Done, Task
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.families import DEFAULT_FAMILIES, MODEL_FAMILY
from fruits_features.job import run
from fruits_features.job.outcome import Outcome
from fruits_features.job.worker_environment import WORKER_ENVIRONMENT
from include.artifacts import bundle
from include.dev.local_aws.node.spark import NodeSpark
from include.dev.local_aws.node.spark_conf import spark_settings
from include.dev.local_aws.state import NODES


@contextmanager
def session(task: Task) -> Iterator[Callable[[], Done]]:
    """Start Spark as `python -m fruits_features` does."""
    node = NodeSpark(NODES)
    node.ensure_home()
    os.environ.update(node.environment(Path(sys.executable)))
    application = bundle.build(bundle.application_folder())["application"]
    archive = Path(task.output) / application.name
    archive.write_bytes(application.content)
    arguments = Arguments(
        bucket=task.bucket,
        inventory=task.inventory,
        output=f"s3://{task.bucket}/app",
        run="app",
        features=(MODEL_FAMILY,) if task.model else DEFAULT_FAMILIES,
        onnx_model=task.model,
    )
    s3_folder, scratch = Path(task.folder).parent, Path(task.output)
    settings = spark_settings(s3_folder, scratch=scratch, master=f"local[{task.cores},4]")
    conf = SparkConf().setAppName("speed").setAll(list(settings.items()))
    with SparkContext(conf=conf, pyFiles=[str(archive)], environment=WORKER_ENVIRONMENT) as context:
        context.setLogLevel("ERROR")
        yield lambda: _done(run.run(lambda: context, arguments))


def _done(outcome: Outcome) -> Done:
    return Done(outcome.inventoried - outcome.quarantined, outcome.seconds.start + outcome.seconds.describe)
