"""Draw a plan into a folder: in parallel, each file whole or absent, nothing drawn twice.

Beside the folder (not in it, where it would count as an image) lies `<folder>.made-by.json`: what the files in it were
made with. Where that fits, files that are there are kept; where it does not, they are drawn again; and files that
somebody else put there, such as the real photographs, are refused.
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
_WORTH_A_PROCESS = 500
"""Images below which starting a process costs more than it saves (0.5 s against about 1 ms an image)."""


def generate(folder: Path, plan: Sequence[Image], seed: int, jobs: int, *, progress: bool = True) -> int:
    """Make every image of the plan that is not there yet.

    Safe to interrupt and to run again. Files that the plan does not name are left alone.

    Args:
        folder: Where `<split>/<category>/<file>` go; made when missing.
        plan: What to draw.
        seed: Same seed, same bytes, whatever `jobs` is.
        jobs: Processes at most.
        progress: Show a progress bar.

    Returns:
        How many images were drawn now.

    Raises:
        OSError: When a file cannot be written, or a folder of the plan holds files that were not made here.
    """
    there = _claim(folder, {image.path.rpartition("/")[0] for image in plan}, _settings(seed))
    missing = [image for image in plan if image.path not in there]
    with tqdm(total=len(plan), initial=len(plan) - len(missing), unit=" images", disable=not progress) as bar:
        for count in _draw_all(folder, missing, seed, jobs):
            bar.update(count)
    return len(missing)


def _claim(folder: Path, parents: set[str], settings: str) -> set[str]:
    """Note what the files of these parents are made with, before the first is drawn; return the paths to keep."""
    record = folder.with_name(folder.name + ".made-by.json")
    made_by: dict[str, str] = json.loads(record.read_bytes()) if record.exists() else {}
    there: set[str] = set()
    for parent in sorted(parents):
        names = _names_in(folder / parent)
        if names and parent not in made_by:
            raise FileExistsError(errno.EEXIST, "it holds files that were not made here", str(folder / parent))
        if names and made_by[parent] != settings:
            for name in names:
                (folder / parent / name).unlink()
            names = []
        there.update(f"{parent}/{name}" for name in names)
    _write(record, json.dumps(made_by | dict.fromkeys(sorted(parents), settings), indent=1).encode())
    return there


def _draw_all(folder: Path, images: Sequence[Image], seed: int, jobs: int) -> Iterator[int]:
    """Draw in chunks, yielding how many images each chunk made."""
    chunks = [images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK)]
    jobs = min(jobs, len(images) // _WORTH_A_PROCESS)
    if jobs <= 1:
        yield from (_draw_chunk(folder, chunk, seed) for chunk in chunks)
        return
    # spawn, not fork: the progress bar has a thread, and OpenCV must not be forked with threads
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
    """Let processes that are started here never see Ctrl-C: this one sees it, and lets chunks under way finish.

    Blocked rather than ignored, so that one that comes meanwhile is not lost.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """Use the one core that a worker is meant for."""
    cv2.setNumThreads(1)


def _draw_chunk(folder: Path, images: Sequence[Image], seed: int) -> int:
    for image in images:
        _write(folder / image.path, draw(image.category, image.frame, seed))
    return len(images)


def _write(path: Path, data: bytes) -> None:
    """Write the whole file or none of it: under a hidden name first, renamed when complete."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _names_in(parent: Path) -> list[str]:
    """Names of the visible files; one listing a folder, not one look a file."""
    return [entry.name for entry in os.scandir(parent) if not entry.name.startswith(".")] if parent.is_dir() else []


def _settings(seed: int) -> str:
    """All that decides the bytes: the seed, the drawing code and OpenCV."""
    package = resources.files(__package__)
    code = b"".join(package.joinpath(name).read_bytes() for name in ("drawing.py", "appearance.py", "plan.py"))
    return f"seed {seed}, drawing {hashlib.sha256(code).hexdigest()[:16]}, OpenCV {cv2.__version__}"
