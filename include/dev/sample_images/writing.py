"""Draw the images of a plan into a folder, in parallel and with atomic writes.

The file `<folder>.made-by.json` beside the folder records the settings with which its files were drawn. Existing files
are kept if their settings are the current ones, and drawn again otherwise. Folders with files from elsewhere, such as
the real photographs, are rejected.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from importlib import resources
from multiprocessing import get_context
from typing import TYPE_CHECKING

import cv2
from tqdm import tqdm

from include.dev.sample_images.drawing import draw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from include.dev.sample_images.plan import Image

_CHUNK = 64
MIN_IMAGES_PER_PROCESS = 500
"""Images per process below which starting a process takes longer than it saves (docs/measurements/constants.md)."""


def generate(folder: Path, plan: Sequence[Image], seed: int, jobs: int, *, progress: bool = True) -> int:
    """Draw the images of the plan that are missing.

    It can be interrupted and run again. Files that are not in the plan are kept.

    Args:
        folder: Folder of `<split>/<category>/<file>`, created if missing.
        plan: Images to draw.
        seed: Seed of the drawings. The same seed gives the same bytes for all values of `jobs`.
        jobs: Largest number of processes.
        progress: Whether to show a progress bar.

    Returns:
        Number of images drawn.

    Raises:
        OSError: A file cannot be written, or a folder of the plan contains files from elsewhere.
    """
    existing = _claim(folder, {image.path.rpartition("/")[0] for image in plan}, _settings(seed))
    missing = [image for image in plan if image.path not in existing]
    with tqdm(total=len(plan), initial=len(plan) - len(missing), unit=" images", disable=not progress) as bar:
        for count in _draw_all(folder, missing, seed, jobs):
            bar.update(count)
    return len(missing)


def _claim(folder: Path, parents: set[str], settings: str) -> set[str]:
    """Record the settings of these parent folders before the first image is drawn, and return the paths to keep.

    Raises:
        FileExistsError: A folder contains files from elsewhere.
    """
    record = folder.with_name(folder.name + ".made-by.json")
    made_by: dict[str, str] = json.loads(record.read_bytes()) if record.exists() else {}
    existing: set[str] = set()
    for parent in sorted(parents):
        names = _names_in(folder / parent)
        if names and parent not in made_by:
            raise FileExistsError(
                errno.EEXIST, "it contains files that this command did not draw", str(folder / parent)
            )
        if names and made_by[parent] != settings:
            for name in names:
                (folder / parent / name).unlink()
            names = []
        existing.update(f"{parent}/{name}" for name in names)
    _write(record, json.dumps(made_by | dict.fromkeys(sorted(parents), settings), indent=1).encode())
    return existing


def _draw_all(folder: Path, images: Sequence[Image], seed: int, jobs: int) -> Iterator[int]:
    """Draw in chunks and yield the number of images of each."""
    chunks = [images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK)]
    jobs = min(jobs, len(images) // MIN_IMAGES_PER_PROCESS)
    if jobs <= 1:
        yield from (_draw_chunk(folder, chunk, seed) for chunk in chunks)
        return
    # spawn instead of fork: the progress bar has a thread, and OpenCV must not be forked with threads
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        with _without_interrupts():
            futures = [pool.submit(_draw_chunk, folder, chunk, seed) for chunk in chunks]
        yield from _results(as_completed(futures))
    finally:
        pool.shutdown(cancel_futures=True)


def _results(futures: Iterable[Future[int]]) -> Iterator[int]:
    for future in futures:
        yield future.result()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block SIGINT while processes are started, so that they inherit the block and finish their chunks after Ctrl-C.

    A blocked signal is delivered later, while an ignored one would be lost.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """Limit OpenCV to one thread per process."""
    cv2.setNumThreads(1)


def _draw_chunk(folder: Path, images: Sequence[Image], seed: int) -> int:
    for image in images:
        _write(folder / image.path, draw(image.category, image.frame, seed))
    return len(images)


def _write(path: Path, data: bytes) -> None:
    """Write a file atomically: under a hidden name, renamed when complete."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _names_in(parent: Path) -> list[str]:
    """Return the names of the visible files, with one directory listing."""
    return [entry.name for entry in os.scandir(parent) if not entry.name.startswith(".")] if parent.is_dir() else []


def _settings(seed: int) -> str:
    """Return the settings that determine the bytes: seed, drawing code and version of OpenCV."""
    package = resources.files(__package__)
    code = b"".join(package.joinpath(name).read_bytes() for name in ("drawing.py", "appearance.py", "plan.py"))
    return f"seed {seed}, drawing {hashlib.sha256(code).hexdigest()[:16]}, OpenCV {cv2.__version__}"
