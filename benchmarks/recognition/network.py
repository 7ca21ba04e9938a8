"""Compare a run with the network that ships with plain onnxruntime processes on the same images.

    PYTHONPATH=.:spark_apps python -m benchmarks.recognition.network --images 2000 --repeats 5

Both fetch, decode, scale and embed the same distinct images from the same S3 server (rclone of the local AWS) on all
cores, and write the embeddings. The application does more: it checks headers and digests, computes keypoints, reports
progress, and sums up the moments of the PCA. Their sessions are open at the same time and run jobs alternately. The
first job of each session is not counted. The target of the ratio of images/s is 0.90, with the application's time until
the features are extracted. It includes fetching the model, trying it out and loading it.
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
    parser = argparse.ArgumentParser("python -m benchmarks.recognition.network", description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=2_000, help="number of images (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of jobs that count (default: %(default)s)")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="cores (default: %(default)s)")
    parser.add_argument("--folder", type=lambda path: Path(path).resolve(), default=".local/network", help="for images")
    options = parser.parse_args()
    with LocalAws(options.folder / "aws") as aws:
        speeds = measure(options, aws)
    print(*about(options.repeats), sep="\n")
    for candidate, values in zip(CANDIDATES, zip(*speeds, strict=True), strict=True):
        print(f"{candidate.title}: {median(speed for speed, _ in values):,.1f} images/s")
    print(f"ratio {spread([own / plain for (own, _), (plain, _) in speeds])}, target {TARGET}")


def measure(options: argparse.Namespace, aws: LocalAws) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return the results of each pair of jobs, for the application and for the plain processes.

    Returns:
        Images/s, and the share of the machine that unrelated processes used. The results are unusable if it is large.
    """
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
        for number in range(options.repeats + 1):
            (own_use, own), (plain_use, _) = (work(*session) for session in sessions)
            own_s = own.extracted_s or own_use.wall_s
            pairs.append(
                ((options.images / own_s, own_use.others), (options.images / plain_use.wall_s, plain_use.others))
            )
            print(_line(*pairs[-1]) + ("" if number else " (not counted)"), flush=True)
    return pairs[1:]


def _line(own: tuple[float, float], plain: tuple[float, float]) -> str:
    """Return the results of a pair of jobs as a line."""
    return f"{own[0]:.1f} and {plain[0]:.1f} images/s, others {own[1]:.2f} and {plain[1]:.2f} of the machine"


if __name__ == "__main__":
    main()
