"""Compare a run with the network that ships with plain onnxruntime processes on the same images.

    PYTHONPATH=.:spark_apps python -m benchmarks.network --images 2000 --repeats 5

Both embed the same distinct images from the same S3 server (rclone of the local AWS) on all cores. Their sessions are
open at the same time and run jobs alternately. The first job of each session is not counted. The target of the ratio of
images/s is 0.90, with the application's time until the features are extracted.
"""

import argparse
import os
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.speed.images import draw, take_inventory
from benchmarks.speed.report import about, spread
from benchmarks.speed.sessions import Candidate, started, work
from benchmarks.speed.task import Task
from include.deploy.model import build as model
from include.deploy.uploads import WHEELS
from include.dev.local_aws.local import LocalAws

CANDIDATES = (Candidate("app", "this application"), Candidate("onnxruntime_processes", "plain onnxruntime processes"))
TARGET = 0.90


def main() -> None:
    """Parse the command line, measure, and print the ratio."""
    parser = argparse.ArgumentParser("python -m benchmarks.network", description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=2_000, help="number of images (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of jobs that count (default: %(default)s)")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="cores (default: %(default)s)")
    parser.add_argument("--folder", type=lambda path: Path(path).resolve(), default=".local/network", help="for images")
    options = parser.parse_args()
    with LocalAws(options.folder / "aws") as aws:
        speeds = measure(options, aws)
    print(*about(options.repeats), sep="\n")
    for candidate, values in zip(CANDIDATES, zip(*speeds, strict=True), strict=True):
        print(f"{candidate.title}: {median(values):,.1f} images/s")
    print(f"ratio {spread([own / plain for own, plain in speeds])}, target {TARGET}")


def measure(options: argparse.Namespace, aws: LocalAws) -> list[tuple[float, float]]:
    """Return the images/s of the application and of the plain processes, for each pair of jobs."""
    bucket = aws.create_bucket(f"images-{options.images}")
    inventory, folder = options.folder / "inventories" / str(options.images), aws.s3_folder / bucket
    if not inventory.exists():
        draw(folder, options.images, options.cores)
        take_inventory(folder, inventory)
    path = str(model.build(WHEELS))
    with ExitStack() as stack:
        sessions = []
        for candidate in CANDIDATES:
            output = options.folder / "candidates" / candidate.name
            task = Task(bucket, str(inventory), str(folder), str(output), options.images, options.cores, path)
            process = stack.enter_context(started(candidate, options.folder, task, aws.environment))
            sessions.append((process, task))
        pairs = []
        for _ in range(options.repeats + 1):
            (own_use, own), (plain_use, _) = (work(*session) for session in sessions)
            pairs.append((options.images / (own.extracted_s or own_use.wall_s), options.images / plain_use.wall_s))
    return pairs[1:]


if __name__ == "__main__":
    main()
