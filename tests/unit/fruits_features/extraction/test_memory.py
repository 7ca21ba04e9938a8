"""Memory of a worker that extracts the features of images of 50 megapixels and keeps their pixels."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pillow_heif import register_heif_opener

from fruits_features.imaging.limits import opencv_environment
from fruits_features.job.worker_environment import WORKER_ENVIRONMENT

WIDTH, HEIGHT = 8192, 6144
MAX_PEAK_MB = 2400
"""Share of a worker in the memory of an executor, in 10^6 bytes: 9,216 MB for four workers (include/emr/sizing.py)."""

WORKER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
import obstore
import pyarrow as pa
from obstore.store import LocalStore
from fruits_features.contract.arguments import DEFAULT_MAX_IMAGE_BYTES, DEFAULT_MAX_IMAGE_PIXELS
from fruits_features.contract.families import DEFAULT_FAMILIES
from fruits_features.extraction import batches
from fruits_features.io import arrow
from fruits_features.schemas import INVENTORY, arrow_schema

folder = LocalStore(sys.argv[1])
batches.open_bucket = lambda *_: folder
rows = [
    {"key": stored["path"], "size": stored["size"], "etag": stored["e_tag"].strip('"'), "category": "Lime"}
    | {"last_modified": datetime(2026, 1, 1, tzinfo=UTC), "split": None}
    for stored in obstore.list(folder).collect()
]
extractor = batches.BatchExtractor(
    "fruits", DEFAULT_FAMILIES, DEFAULT_MAX_IMAGE_BYTES, DEFAULT_MAX_IMAGE_PIXELS, include_pixels=True
)
extracted = 0
for chunk in extractor.extract(pa.Table.from_pylist(rows, schema=arrow_schema(INVENTORY))):
    assert not chunk.rejected.num_rows, chunk.rejected.to_pylist()
    extracted += chunk.extracted.num_rows
    written = arrow.to_parquet(pa.Table.from_batches([chunk.extracted]), 1)  # uploaded while the next one is decoded
assert extracted == len(rows)
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


def colours(channels: int) -> NDArray[np.uint8]:
    """Return an image of 48 colours, height x width x channels."""
    blocks = np.random.default_rng(0).integers(0, 256, (6, 8, channels), np.uint8)
    return np.repeat(np.repeat(blocks, HEIGHT // 6, axis=0), WIDTH // 8, axis=1)


def save_png_of_16_bits(path: Path) -> None:
    """Write a PNG with colours and alpha of 16 bits, which Pillow cannot write."""
    row = b"\0" + colours(4)[0].repeat(2, axis=1).tobytes()
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * HEIGHT, 1)), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )


def save(folder: Path) -> None:
    """Write the image in each format, in the variant that takes the most memory to decode."""
    opaque, seen_through = (Image.fromarray(colours(channels)) for channels in (3, 4))
    files: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "a.jpg": (opaque, {"progressive": True, "subsampling": 0}),
        "b.jpg": (opaque.convert("CMYK"), {"progressive": True, "subsampling": 0}),
        "d.tiff": (seen_through, {"compression": "tiff_adobe_deflate"}),
        "e.webp": (seen_through, {"lossless": True, "quality": 0, "method": 0}),
        "f.bmp": (opaque.convert("P"), {}),
        "g.gif": (opaque.convert("P"), {}),
        "i.avif": (opaque, {"speed": 10, "quality": 50}),
        "j.heic": (opaque, {"quality": 50}),
    }
    register_heif_opener()
    for name, (image, options) in files.items():
        image.save(folder / name, **options)
    save_png_of_16_bits(folder / "c.png")
    for name in ("h.png", "i.png", "k.png", "l.png", "m.png", "n.png"):  # memory that is kept adds up
        os.link(folder / "c.png", folder / name)


def test_peak_of_worker_with_images_of_50_megapixels_in_each_format(tmp_path: Path) -> None:
    save(tmp_path)

    worker = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path)],
        env=os.environ | WORKER_ENVIRONMENT | opencv_environment(WIDTH * HEIGHT),
        capture_output=True,
        text=True,
        check=False,
    )

    assert worker.returncode == 0, worker.stderr
    assert int(worker.stdout) * 1024 / 1e6 < MAX_PEAK_MB
