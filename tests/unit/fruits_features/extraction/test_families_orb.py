"""ORB: invariances and differences of the features."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.contract.families import FAMILIES
from fruits_features.extraction.families.orb import extract
from fruits_features.imaging.normalize import NormalizedImage


def drawing(letters: str) -> NDArray[np.uint8]:
    image = np.full((100, 100, 3), 230, np.uint8)
    cv2.putText(image, letters, (8, 64), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (40, 60, 90), 3)
    return image


def test_orb_has_the_declared_dimension_of_shares() -> None:
    features = extract(NormalizedImage(drawing("Kiwi")))

    assert features.shape == (FAMILIES["orb"].dimension,)
    assert features.dtype == np.float32
    assert 0 <= features.min() < features.max() <= 1


def test_orb_of_same_image_is_bitwise_equal() -> None:
    assert extract(NormalizedImage(drawing("Kiwi"))).tobytes() == extract(NormalizedImage(drawing("Kiwi"))).tobytes()


def test_orb_of_image_turned_upside_down_stays_nearer_than_another_image() -> None:
    kiwi, plum = drawing("Kiwi"), drawing("Plum")
    turned = np.ascontiguousarray(np.rot90(kiwi, 2))

    def distance(other: NDArray[np.uint8]) -> float:
        return float(np.linalg.norm(extract(NormalizedImage(kiwi)) - extract(NormalizedImage(other))))

    assert distance(turned) < distance(plum)
