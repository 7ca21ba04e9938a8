"""The recogniser: its probabilities, and what it reads and refuses."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fruits_features.io import sealed_npz
from fruits_features.recogniser import model
from fruits_features.recogniser.guesses import guess
from fruits_features.recogniser.model import CalibrationBin, Evaluation, Recogniser, UnreadableRecogniserError

RECOGNISER = Recogniser(
    categories=("Apple", "Kiwi", "Lemon"),
    weights=np.array([[2.0, 0.0, -2.0], [0.0, 1.0, 0.0]]),
    bias=np.array([0.0, 0.5, 0.0]),
    projection="0123456789ab",
    images=(3, 1, 2),
    shrinkage=0.25,
    temperature=1.5,
    evaluation=Evaluation(5, 3, 0.8, 0.7, 0.1, (CalibrationBin(2, 0.5, 0.5), CalibrationBin(3, 0.9, 1.0))),
)


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    probabilities = RECOGNISER.probabilities(np.float32([[1, 0], [0, 3]]))
    assert probabilities.sum(axis=1).tolist() == pytest.approx([1, 1])
    assert np.log(probabilities[0] / probabilities[0, 0]).tolist() == pytest.approx([0, -1.5, -4])
    assert probabilities.argmax(axis=1).tolist() == [0, 1]


def test_far_components_do_not_overflow() -> None:
    assert RECOGNISER.probabilities(np.float32([[1e30, 0]])).tolist() == [[1, 0, 0]]


def test_recognise_returns_the_most_probable_categories_first() -> None:
    guesses = RECOGNISER.recognise(np.float32([-1, 0]))
    assert [category for category, _ in guesses] == ["Lemon", "Kiwi", "Apple"]
    assert sum(probability for _, probability in guesses) == pytest.approx(1)
    assert RECOGNISER.recognise(np.float32([-1, 0]), top=2) == guesses[:2]


def test_images_beyond_the_memory_of_a_block_have_the_same_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    components = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    expected = guess(RECOGNISER, components)
    monkeypatch.setattr("fruits_features.recogniser.guesses.MAX_PROBABILITIES", 2 * len(RECOGNISER.categories))

    found = guess(RECOGNISER, components)

    assert len(set(expected.category.tolist())) > 1
    assert found.category.tolist() == expected.category.tolist()
    assert found.probability.tolist() == pytest.approx(expected.probability.tolist())


def test_equally_probable_categories_are_sorted_by_name() -> None:
    equal = replace(RECOGNISER, weights=np.zeros((2, 3)), bias=np.zeros(3))
    assert [category for category, _ in equal.recognise(np.float32([5, 5]))] == ["Apple", "Kiwi", "Lemon"]


@pytest.mark.parametrize("shape", [(3,), (1,)])
def test_other_components_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes n x 2; compute them by the projection 0123456789ab"):
        RECOGNISER.recognise(np.zeros(shape, np.float32))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_components_that_are_not_finite_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match=r"not finite; compute them by the projection 0123456789ab"):
        RECOGNISER.recognise(np.float32([1, number]))


@pytest.mark.parametrize("evaluation", [RECOGNISER.evaluation, None])
def test_bytes_are_read_back(evaluation: Evaluation | None) -> None:
    written = replace(RECOGNISER, evaluation=evaluation)
    read = Recogniser.from_bytes(written.to_bytes())
    for name in ("weights", "bias"):
        assert np.array_equal(getattr(read, name), getattr(written, name))
    same = {"weights": written.weights, "bias": written.bias}
    assert replace(read, **same) == written
    assert written.to_bytes() == read.to_bytes()


def test_a_file_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "recogniser.npz").write_bytes(RECOGNISER.to_bytes())
    assert model.load(tmp_path / "recogniser.npz").categories == RECOGNISER.categories
    with pytest.raises(FileNotFoundError):
        model.load(tmp_path / "missing.npz")


def test_every_flipped_bit_is_found() -> None:
    data = RECOGNISER.to_bytes()
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(UnreadableRecogniserError, match="digest"):
            Recogniser.from_bytes(bytes(damaged))


def test_an_archive_without_digest_is_refused() -> None:
    file = io.BytesIO()
    np.savez(file, weights=RECOGNISER.weights)
    with pytest.raises(UnreadableRecogniserError, match="digest"):
        Recogniser.from_bytes(file.getvalue())


@pytest.mark.parametrize(
    "changes",
    [
        {"categories": ("Kiwi", "Apple", "Lemon")},
        {"categories": ("Apple", "Apple", "Lemon")},
        {"categories": ("Apple", "Kiwi")},
        {"weights": np.zeros((2, 2))},
        {"weights": np.zeros(3)},
        {"weights": np.zeros((2, 3), np.float32)},
        {"weights": np.full((2, 3), np.nan)},
        {"bias": np.full(3, np.inf)},
        {"bias": np.zeros((1, 3))},
        {"images": (1, 2)},
        {"images": (1, 0, 2)},
        {"shrinkage": 1.5},
        {"shrinkage": float("nan")},
        {"temperature": 0.0},
        {"categories": ("Apple",), "weights": np.zeros((2, 1)), "bias": np.zeros(1), "images": (1,)},
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRecogniserError, match="do not fit together"):
        Recogniser.from_bytes(replace(RECOGNISER, **changes).to_bytes())


def test_another_archive_is_refused() -> None:
    with pytest.raises(UnreadableRecogniserError, match="KeyError"):
        Recogniser.from_bytes(sealed_npz.encode(mean=np.zeros(2)))
