"""Command line of the sample images: `python -m include.dev.sample_images FOLDER`."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from pathlib import Path

import cv2

from include.dev.sample_images.plan import (
    PROTOTYPE_CATEGORIES,
    PROTOTYPE_IMAGES,
    Image,
    PlanError,
    fruits_360,
    make_plan,
)
from include.dev.sample_images.writing import generate

_INTERRUPTED = 130
"""Exit code of a program ended by Ctrl-C: 128 + SIGINT."""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return the exit code: 0, 1 after an error on stderr, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    folder = arguments.folder.resolve()
    cv2.setNumThreads(1)  # an image is too small for several threads; processes run in parallel instead
    try:
        plan = _plan(arguments)
        drawn = generate(folder, plan, arguments.seed, arguments.jobs)
    except PlanError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(_explain(error, folder))
    except KeyboardInterrupt:
        print("sample_images: stopped; run the same command again to continue", file=sys.stderr)  # noqa: T201 -- a command
        return _INTERRUPTED
    kept = f", {len(plan) - drawn:,} already existed" if drawn < len(plan) else ""
    print(f"{len(plan):,} images in {folder}: {drawn:,} drawn{kept}")  # noqa: T201 -- a command's result
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m include.dev.sample_images",
        description="Draw images like those of Fruits-360: 100 x 100 pixels, one fruit on white, turned step by step.",
        epilog=f"By default the {PROTOTYPE_IMAGES} images of the prototype: {', '.join(PROTOTYPE_CATEGORIES)}.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of <split>/<category>/<n>_100.jpg")
    selection = parser.add_mutually_exclusive_group()
    selection.add_argument("--all", action="store_true", help="the 131 categories of Fruits-360, 90,380 images")
    selection.add_argument("--categories", metavar="A,B", help='categories of Fruits-360, such as "Avocado,Banana"')
    parser.add_argument("--images", type=int, metavar="N", help="total number of images, spread over the categories")
    parser.add_argument("--seed", type=_natural, default=0, metavar="N", help="seed of the drawings (default: 0)")
    parser.add_argument(
        "--jobs", type=_natural, default=os.cpu_count() or 1, metavar="N", help="processes (default: one per core)"
    )
    return parser


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return number


def _plan(arguments: argparse.Namespace) -> list[Image]:
    if arguments.all:
        return make_plan(list(fruits_360()), arguments.images)
    if arguments.categories is not None:
        return make_plan([name.strip() for name in arguments.categories.split(",")], arguments.images)
    return make_plan(PROTOTYPE_CATEGORIES, PROTOTYPE_IMAGES if arguments.images is None else arguments.images)


def _explain(error: OSError, folder: Path) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"no space left for {folder}: free some space and run again (existing images are kept), or use --images"
    if isinstance(error, FileExistsError):
        return f"{error.filename} would be overwritten: {error.strerror}; choose another folder"
    return f"cannot write {error.filename or folder}: {error.strerror or error}; choose a writable folder"


def _fail(message: str) -> int:
    print(f"sample_images: error: {message}", file=sys.stderr)  # noqa: T201 -- a command
    return 1


if __name__ == "__main__":
    sys.exit(main())
