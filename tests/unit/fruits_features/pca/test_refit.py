"""Whether a run keeps the published projection."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fruits_features.extraction import batches
from fruits_features.pca.fit import Moments, fit
from fruits_features.pca.refit import RefitError, explained
from fruits_features.projection import Projection
from tests.support.small_runs import Images, Runs, photograph


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A bucket of 90 images of 20 categories, of which one run is published."""
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
    """Run once more; tells whether the projection was kept."""
    wish = {"k": None, "refit": refit, "published": runs.layout("published").portable_projection}
    outcome = runs.run("again", **wish | changes)
    assert outcome.projection == projection(runs, "again").version
    if outcome.kept_from:
        assert outcome.projection == projection(runs, "published").version
    return outcome.kept_from is not None


def add(runs: Runs, images: int, categories: int) -> None:
    for number in range(images):
        runs.images.put(f"images/Training/New {number % categories}/{number}.png", photograph(200 + number))


def test_never_keeps_the_published_projection_whatever_has_changed(runs: Runs) -> None:
    add(runs, images=30, categories=10)

    assert again(runs, "never")
    before, after = projection(runs, "published"), projection(runs, "again")
    np.testing.assert_array_equal(before.components, after.components)


def test_always_fits_anew(runs: Runs) -> None:
    add(runs, images=1, categories=1)

    assert not again(runs, "always")


def test_auto_keeps_what_explains_today_as_well_and_knows_its_categories(runs: Runs) -> None:
    add(runs, images=1, categories=1)

    assert again(runs, "auto")


def test_auto_fits_anew_for_too_many_new_categories(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    add(runs, images=2, categories=2)

    assert not again(runs, "auto")
    assert "2 of 22 categories are new to it" in caplog.text


def test_auto_fits_anew_when_the_published_one_explains_less(runs: Runs) -> None:
    for key in list(runs.images.objects)[:60]:
        pixels = np.random.default_rng(len(key) + hash(key) % 97).integers(0, 255, (24, 24, 3), np.uint8)
        runs.images.put(key, encoded(pixels))

    assert not again(runs, "auto")


def encoded(pixels: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.parametrize("refit", ["auto", "never"])
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"features": ("texture",)}, "it is of the families color, not texture"),
        ({"k": 2}, r"it has \d+ components, not 2"),
        ({"published": "/nowhere/projection.npz"}, "it cannot be read"),
    ],
)
def test_projection_that_does_not_fit_what_is_asked_is_fitted_anew_or_refused(
    runs: Runs, refit: str, changes: dict[str, object], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    if refit == "never":
        add(runs, images=1, categories=1)
        asked = len(runs.images.asked)
        with pytest.raises(RefitError, match=f"--refit is never, but .* cannot be kept: {why}"):
            again(runs, refit, **changes)
        assert len(runs.images.asked) == asked, "it is refused before anything is fetched"
    else:
        assert not again(runs, refit, **changes)
        assert "is not kept" in caplog.text


def test_never_without_a_published_projection_fits_one(runs: Runs) -> None:
    outcome = runs.run("again", refit="never", published=None)

    assert (outcome.kept_from, outcome.why) == (None, "There is no published projection to keep.")


def test_explained_share_of_the_fitted_images_is_the_projections_own() -> None:
    random = np.random.default_rng(0)
    rows = (random.normal(size=(50, 432)) * np.linspace(0, 3, 432)).astype(np.float32)
    found = fit(Moments.of(rows), ["color"], k=5, explained_variance=None)

    assert explained(found, Moments.of(rows)) == pytest.approx(found.explained_variance.sum())
    assert explained(replace(found, spread=np.zeros_like(found.spread)), Moments.of(rows)) == 0


def test_version_follows_every_number_and_survives_storing() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 432)).astype(np.float32)
    found = fit(Moments.of(rows), ["color"], k=5, explained_variance=None)

    assert Projection.from_bytes(found.to_bytes()).version == found.version
    assert replace(found, mean=found.mean + 1e-12).version != found.version
    assert replace(found, categories=("Lime",)).version == found.version
