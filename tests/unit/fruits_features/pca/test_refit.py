"""The choice between a new projection and the published one."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fruits_features.contract.arguments import Arguments
from fruits_features.extraction import batches
from fruits_features.extraction.families.onnx import Weights
from fruits_features.pca.fit import Moments, fit
from fruits_features.pca.refit import RefitError, choose, explained, published
from fruits_features.projection import Projection
from tests.support.small_runs import Images, Runs, photograph


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A bucket of 90 images in 20 categories, with one published run."""
    images = Images()
    monkeypatch.setattr(batches, "open_bucket", lambda *_: images)
    for number in range(90):
        images.put(f"images/Training/Fruit {number % 20}/{number}.png", photograph(number))
    runs = Runs(tmp_path, images)
    runs.run("published", k=None)
    return runs


def projection(runs: Runs, name: str) -> Projection:
    return Projection.from_bytes(Path(runs.layout(name).portable_projection).read_bytes())


def again(runs: Runs, refit: str, **changes: object) -> bool:
    """Run once more and return whether the projection was kept."""
    options = {"k": None, "refit": refit, "published": runs.layout("published").portable_projection}
    outcome = runs.run("again", **options | changes)
    assert outcome.projection == projection(runs, "again").version
    if outcome.kept_from:
        assert outcome.projection == projection(runs, "published").version
    return outcome.kept_from is not None


def add(runs: Runs, images: int, categories: int) -> None:
    for number in range(images):
        runs.images.put(f"images/Training/New {number % categories}/{number}.png", photograph(200 + number))


def test_never_keeps_the_published_projection_despite_changes(runs: Runs) -> None:
    add(runs, images=30, categories=10)

    assert again(runs, "never")
    before, after = projection(runs, "published"), projection(runs, "again")
    np.testing.assert_array_equal(before.components, after.components)


def test_projection_of_an_older_version_without_a_digest_is_kept(runs: Runs) -> None:
    path = Path(runs.layout("published").portable_projection)
    data = path.read_bytes()
    archive, seal = data[:-71], data[-71:]
    assert seal.startswith(b"sha256:")
    path.write_bytes(archive[:-2] + bytes(2))  # the length of the comment

    assert again(runs, "never")


@pytest.mark.parametrize(
    "change",
    [{"mean": np.zeros(3)}, {"components": np.zeros(3)}, {"spread": np.full(3, np.nan)}],
    ids=lambda c: next(iter(c)),
)
def test_projection_whose_arrays_do_not_fit_together_is_not_kept(
    runs: Runs, caplog: pytest.LogCaptureFixture, change: dict[str, np.ndarray]
) -> None:
    path = Path(runs.layout("published").portable_projection)
    path.write_bytes(replace(projection(runs, "published"), **change).to_bytes())

    assert not again(runs, "auto")
    assert "it cannot be read (its arrays do not fit together, or are not finite)" in caplog.text


def test_always_fits_again(runs: Runs) -> None:
    add(runs, images=1, categories=1)

    assert not again(runs, "always")


def test_auto_keeps_projection_that_explains_todays_images(runs: Runs) -> None:
    add(runs, images=1, categories=1)

    assert again(runs, "auto")


def test_auto_fits_again_for_too_many_new_categories(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    add(runs, images=2, categories=2)

    assert not again(runs, "auto")
    assert "2 of 22 categories are new to it" in caplog.text


def test_auto_fits_again_if_the_published_one_explains_less(runs: Runs) -> None:
    for number, key in enumerate(list(runs.images.objects)[:60]):
        pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), np.uint8)
        runs.images.put(key, encoded(pixels))

    assert not again(runs, "auto")


def encoded(pixels: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.parametrize("refit", ["auto", "never"])
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"features": ("texture",)}, "it has the families color, not texture"),
        ({"k": 2}, r"it has \d+ components, not 2"),
        ({"published": "/nowhere/projection.npz"}, "it cannot be read"),
    ],
)
def test_incompatible_projection_is_fitted_again_or_raises(
    runs: Runs, refit: str, changes: dict[str, object], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    if refit == "never":
        add(runs, images=1, categories=1)
        requests = len(runs.images.requested)
        with pytest.raises(RefitError, match=f"--refit is never, but .* cannot be kept: {why}"):
            again(runs, refit, **changes)
        assert len(runs.images.requested) == requests, "raised before anything is fetched"
    else:
        assert not again(runs, refit, **changes)
        assert "is not kept" in caplog.text
        outcome = json.loads(Path(runs.layout("again").outcome).read_text())
        assert re.match(f"The published projection is not kept: {why}", outcome["why"])


@pytest.mark.parametrize(("refit", "share"), [("auto", 0.94), ("never", 0.8)])
def test_kept_projection_that_explains_another_share_than_requested_is_a_warning(
    runs: Runs, refit: str, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    k = projection(runs, "published").k

    assert again(runs, refit, explained_variance=share)

    outcome = json.loads(Path(runs.layout("again").outcome).read_text())
    assert outcome["not_followed"].startswith(
        f"The explained variance of {share} was not followed, because the published projection was kept: "
        f"its {k} components explain 0.95"
    )
    assert outcome["not_followed"] in caplog.messages
    caplog.clear()
    assert again(runs, refit, explained_variance=0.95)
    assert "was not followed" not in caplog.text


def test_never_without_a_published_projection_fits_one(runs: Runs) -> None:
    outcome = runs.run("again", refit="never", published=None)

    assert (outcome.kept_from, outcome.why) == (None, "There is no published projection to keep.")


@pytest.mark.parametrize(
    ("published_k", "fitted_k", "known", "is_kept"),
    [
        (5, 5, 20, True),
        (5, 5, 19, True),  # 5 % of the categories are new
        (5, 5, 18, False),
        (1, 5, 20, False),  # explains less than a new fit
        (5, 1, 20, False),  # explains more, since the run requests less
    ],
)
def test_published_projection_is_kept_within_the_limits(
    published_k: int, fitted_k: int, known: int, *, is_kept: bool
) -> None:
    rows = (np.random.default_rng(0).normal(size=(50, 432)) * np.linspace(0, 3, 432)).astype(np.float32)
    names = tuple(f"Fruit {number:02}" for number in range(20))
    old, fitted = (
        replace(fit(Moments.of(rows), ["color"], k=k, explained_variance=None), categories=categories)
        for k, categories in ((published_k, names[:known]), (fitted_k, names))
    )
    arguments = Arguments(bucket="b", inventory="s3://b/i", output="s3://b/o", run="r", published="s3://b/p.npz")

    choice = choose(fitted, Moments.of(rows), old, arguments)

    assert choice.kept_from == (arguments.published if is_kept else None)
    assert choice.projection is (old if is_kept else fitted)


def test_published_projection_of_another_model_is_not_kept(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    model = Weights("s3://b/net.onnx", "0" * 64, dimension=8)
    path = tmp_path / "projection.npz"
    path.write_bytes(replace(fit(Moments.of(rows), ["onnx"], k=2, explained_variance=None), model=model).to_bytes())
    places = {"bucket": "b", "inventory": "s3://b/i", "output": "s3://b/o", "run": "r", "published": str(path)}
    arguments = Arguments(features=("onnx",), onnx_model=model.uri, **places)

    kept, why = published(arguments, model)
    other, why_not = published(arguments, replace(model, sha256="1" * 64))

    assert (kept is not None, why) == (True, "")
    assert (other, why_not) == (None, "The published projection is not kept: it was fitted with another model.")


def test_explained_share_of_the_fitted_images_equals_the_projections() -> None:
    random = np.random.default_rng(0)
    rows = (random.normal(size=(50, 432)) * np.linspace(0, 3, 432)).astype(np.float32)
    fitted = fit(Moments.of(rows), ["color"], k=5, explained_variance=None)

    assert explained(fitted, Moments.of(rows)) == pytest.approx(fitted.explained_variance.sum())
    assert explained(replace(fitted, spread=np.zeros_like(fitted.spread)), Moments.of(rows)) == 0
    assert explained(fitted, Moments.of(rows[:1])) == 0


def test_family_without_variance_counts_only_once_it_varies() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 256 + 432)).astype(np.float32)
    rows[:, :256] = 0.5
    fitted = fit(Moments.of(rows), ["orb", "color"], k=5, explained_variance=None)
    varied = rows.copy()
    varied[0, 0] = 0.6

    assert explained(fitted, Moments.of(rows)) == pytest.approx(fitted.explained_variance.sum())
    assert explained(fitted, Moments.of(varied)) == 0


def test_version_depends_on_every_number_and_survives_storing() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 432)).astype(np.float32)
    fitted = fit(Moments.of(rows), ["color"], k=5, explained_variance=None)

    assert Projection.from_bytes(fitted.to_bytes()).version == fitted.version
    for name in ("mean", "spread", "components", "explained_variance"):
        assert replace(fitted, **{name: getattr(fitted, name) + 1e-12}).version != fitted.version
    assert replace(fitted, categories=("Lime",)).version == fitted.version
