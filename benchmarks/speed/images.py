"""Draw and list the distinct images that all candidates process."""

import hashlib
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.photographs import photograph
from fruits_features.contract.image_keys import split_and_category
from include.dev.sample_images.plan import fruits_360, make_plan
from include.dev.sample_images.writing import generate
from include.inventory.writer import SCHEMA

PREFIX = "images/"
PHOTOGRAPH_SIZE = (4032, 3024)
"""Width and height of a photograph with 12 megapixels, in pixels."""
_CATEGORIES = ("Apple", "Banana", "Cherry", "Pear")


class DuplicateImagesError(ValueError):
    """Some images are equal, which would favour candidates with caches."""


def draw(bucket: Path, images: int, jobs: int) -> None:
    """Draw `images` images into a bucket's folder. Existing ones are kept."""
    generate(bucket / PREFIX, make_plan(list(fruits_360()), images), seed=0, jobs=jobs)


def draw_photographs(bucket: Path, photographs: int, jobs: int) -> None:
    """Draw `photographs` photographs of a phone into a bucket's folder. Existing ones are kept."""
    folders = [bucket / PREFIX / "Training" / category for category in _CATEGORIES]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    paths = (folders[seed % len(folders)] / f"{seed}.jpg" for seed in range(photographs))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(_draw_photograph, paths, range(photographs)))


def _draw_photograph(path: Path, seed: int) -> None:
    if not path.exists():
        path.write_bytes(photograph(*PHOTOGRAPH_SIZE, seed))


def take_inventory(bucket: Path, folder: Path) -> int:
    """Write an inventory of a bucket's folder, and return the number of images.

    Raises:
        DuplicateImagesError: Two files have the same content, or a file is a link.
    """
    paths = sorted(path for path in (bucket / PREFIX).rglob("*") if path.is_file())
    rows = [_row(path, path.relative_to(bucket).as_posix()) for path in paths]
    linked = sum(path.stat().st_nlink > 1 or path.is_symlink() for path in paths)
    distinct = len({row["etag"] for row in rows})
    if linked or distinct < len(rows):
        raise DuplicateImagesError(
            f"Of {len(rows)} images in {bucket}, {distinct} are distinct and {linked} are links."
        )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "part-00000.parquet")
    return len(rows)


def _row(path: Path, key: str) -> dict[str, object]:
    data = path.read_bytes()
    split, category = split_and_category(key.removeprefix(PREFIX))
    return {
        "key": key,
        "size": len(data),
        "etag": hashlib.md5(data).hexdigest(),  # noqa: S324 - S3's ETag
        "last_modified": datetime.fromtimestamp(path.stat().st_mtime, UTC),
        "split": split,
        "category": category,
    }
