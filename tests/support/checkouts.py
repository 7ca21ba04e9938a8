"""Copies of the checkout, in which commands may write."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def copy_of_checkout(folder: Path) -> Path:
    """Return a copy of the product, which shares only the environment and the caches of packages with this checkout."""
    checkout = folder / "checkout"
    for name in ("benchmarks", "dags", "include", "plugins", "spark_apps"):
        shutil.copytree(ROOT / name, checkout / name)
    (checkout / ".venv").symlink_to(sys.prefix)
    (checkout / ".local").mkdir()
    for cache in ("nodes", "wheels"):
        (ROOT / ".local" / cache).mkdir(parents=True, exist_ok=True)
        (checkout / ".local" / cache).symlink_to(ROOT / ".local" / cache)
    return checkout
