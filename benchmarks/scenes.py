"""Which photographs show the same spot: groups for a cross-validation that is not fooled by near-duplicates.

Photographs taken one after the other of the same crate land in one data set as different files, in shuffled order. A
fold that holds one of them and a fit that holds another measure memory, not recognition. Two photographs of a category
are of one scene when enough SIFT keypoints of one lie in the other where a single homography puts them.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

KEYPOINTS = 400
RATIO = 0.8  # Lowe's ratio test (IJCV 2004): the best match against the second best
TOLERANCE_PX = 6.0
INLIERS = 12

Keypoints = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Places, n x 2, and descriptors of unit length, n x 128."""


def find_scenes(paths: Sequence[Path], categories: NDArray[np.str_]) -> NDArray[np.int64]:
    """Number the scene of every photograph; scenes never cross categories."""
    keypoints = [_keypoints(path) for path in paths]
    scenes = np.arange(len(paths))
    for category in np.unique(categories):
        for one, other in combinations(np.flatnonzero(categories == category), 2):
            # Two already in one scene need no look: the costly part is for strangers.
            if scenes[one] != scenes[other] and _inliers(keypoints[one], keypoints[other]) >= INLIERS:
                scenes[scenes == scenes[other]] = scenes[one]
    return np.asarray(np.unique(scenes, return_inverse=True)[1], np.int64)


def _keypoints(path: Path) -> Keypoints:
    """Find a photograph's keypoints; descriptors as RootSIFT (Arandjelovic and Zisserman, CVPR 2012)."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ValueError(f"{path} is no image that OpenCV reads.")
    found, descriptors = cv2.SIFT.create(KEYPOINTS).detectAndCompute(grey, None)
    places = np.array([keypoint.pt for keypoint in found], np.float32).reshape(-1, 2)
    if descriptors is None:
        return places, np.zeros((0, 128), np.float32)
    shares = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return places, np.sqrt(shares).astype(np.float32)


def _inliers(one: Keypoints, other: Keypoints) -> int:
    """Count the matches between two photographs that one homography explains."""
    if len(one[0]) < INLIERS or len(other[0]) < INLIERS:
        return 0
    similarity = one[1] @ other[1].T
    nearest = np.argpartition(-similarity, 1, axis=1)[:, :2]
    pair = np.take_along_axis(similarity, nearest, axis=1)
    distances = 2 - 2 * pair  # squared, as descriptors have unit length
    matched = distances.min(axis=1) < RATIO**2 * distances.max(axis=1)
    if matched.sum() < INLIERS:
        return 0
    partners = np.take_along_axis(nearest, pair.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0]
    cv2.setRNGSeed(0)
    _, mask = cv2.findHomography(one[0][matched], other[0][partners[matched]], cv2.RANSAC, TOLERANCE_PX)
    return 0 if mask is None else int(mask.sum())
