"""Sample images: a stand-in for Fruits-360 that can be made anywhere, the same bytes every time.

`python -m include.dev.sample_images FOLDER` draws them. Uploading them is `include.deploy.upload_images`' work.
"""

from __future__ import annotations

from include.dev.sample_images.plan import (
    PROTOTYPE_CATEGORIES,
    PROTOTYPE_IMAGES,
    Image,
    PlanError,
    fruits_360,
    make_plan,
)
from include.dev.sample_images.writing import generate

__all__ = ["PROTOTYPE_CATEGORIES", "PROTOTYPE_IMAGES", "Image", "PlanError", "fruits_360", "generate", "make_plan"]
