"""Sample images: synthetic images like those of Fruits-360, with the same bytes on every machine.

`python -m include.dev.sample_images FOLDER` draws them. `include.deploy.upload_images` uploads them.
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
