"""Principal components, compared with NumPy's singular value decomposition."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fruits_features.contract.families import total_dimension
from fruits_features.pca.fit import Moments, ReductionError, family_spread, fit, merge_all
from fruits_features.projection import Projection

FAMILIES = ("orb", "color")
DIMENSION = total_dimension(FAMILIES)


def features(rows: int, seed: int = 0) -> NDArray[np.float32]:
    """Return rows whose columns have different means and variances; one column is constant."""
    random = np.random.default_rng(seed)
    wide = random.normal(size=(rows, DIMENSION)) * np.linspace(0.01, 2, DIMENSION) + random.normal(size=DIMENSION)
    wide[:, 5] = 0.3
    return wide.astype(np.float32)


def test_merged_moments_equal_those_of_all_rows() -> None:
    rows = features(50)

    merged = merge_all(Moments.of(rows[part]) for part in (slice(0, 1), slice(1, 30), slice(30, 50)))

    assert merged is not None
    np.testing.assert_allclose(merged.scatter / 49, np.cov(rows.T.astype(np.float64)), atol=1e-12)
    assert merged.scatter[5].tolist() == [0.0] * DIMENSION


@pytest.mark.parametrize("rows", [1, 257, 700])
def test_moments_equal_those_of_numpy_for_any_number_of_rows(rows: int) -> None:
    table = features(rows)
    table[:, 7] = 0
    table[-1, 7] = 1  # varies in the last row only

    moments = Moments.of(table)

    centred = table - table.mean(axis=0, dtype=np.float64)
    assert moments.count == rows
    np.testing.assert_allclose(moments.mean, table.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(moments.scatter, centred.T @ centred, rtol=1e-9, atol=1e-9)
    assert moments.scatter[5].tolist() == [0.0] * DIMENSION


def test_fit_returns_the_principal_components_of_the_scaled_features() -> None:
    rows = features(60)
    projection = fit(Moments.of(rows), FAMILIES, k=4, explained_variance=None)

    centred = rows - rows.mean(axis=0, dtype=np.float64)
    spread = family_spread(centred.var(axis=0, ddof=1), FAMILIES)
    _, singular, components = np.linalg.svd(centred / spread, full_matrices=False)
    np.testing.assert_allclose(np.abs(projection.components), np.abs(components[:4].T), atol=1e-9)
    np.testing.assert_allclose(projection.explained_variance, (singular**2 / (singular**2).sum())[:4])


def test_fit_scales_families_to_their_weights_and_keeps_the_proportions_of_columns() -> None:
    rows = features(200)
    rows[:, :256] *= 1000
    moments = Moments.of(rows)

    spread = fit(moments, FAMILIES, k=1, explained_variance=None).spread
    variances = np.diag(moments.scatter) / 199 / spread**2

    assert variances[:256].sum() == pytest.approx(0.25**2)
    assert variances[256:].sum() == pytest.approx(1)
    assert len(set(spread)) == 2


def test_fit_makes_the_largest_loading_of_each_component_positive() -> None:
    components = fit(Moments.of(features(40)), FAMILIES, k=20, explained_variance=None).components

    largest = np.abs(components).argmax(axis=0)
    assert (components[largest, range(20)] > 0).all()


def test_fit_keeps_the_fewest_components_that_explain_the_share() -> None:
    shares = fit(Moments.of(features(100)), FAMILIES, k=None, explained_variance=0.8).explained_variance

    assert shares.sum() >= 0.8 > shares[:-1].sum()


def test_fit_for_all_variance_keeps_as_many_components_as_the_images_have() -> None:
    assert fit(Moments.of(features(10)), FAMILIES, k=None, explained_variance=1.0).k == 9


def test_fit_ignores_family_without_variance() -> None:
    rows = features(30)
    rows[:, :256] = 0.5
    projection = fit(Moments.of(rows), FAMILIES, k=3, explained_variance=None)

    other = rows.copy()
    other[:, :256] = 7
    assert (projection.project(other) == projection.project(rows)).all()


def test_fit_of_more_components_than_images_names_their_number() -> None:
    with pytest.raises(ReductionError, match="the 10 images to fit have only 9 components"):
        fit(Moments.of(features(10)), FAMILIES, k=10, explained_variance=None)


@pytest.mark.parametrize("rows", [1, 5])
def test_fit_of_equal_images_raises(rows: int) -> None:
    with pytest.raises(ReductionError, match=f"The {rows} images to fit have all the same features"):
        fit(Moments.of(np.ones((rows, DIMENSION), np.float32)), FAMILIES, k=1, explained_variance=None)


def test_projection_survives_storing() -> None:
    rows = features(30)
    projection = fit(Moments.of(rows), FAMILIES, k=3, explained_variance=None)

    loaded = Projection.from_bytes(projection.to_bytes())

    assert loaded.families == FAMILIES
    assert (loaded.project(rows) == projection.project(rows)).all()


def test_projection_of_other_parameters_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    data = fit(Moments.of(features(30)), FAMILIES, k=3, explained_variance=None).to_bytes()
    monkeypatch.setattr("fruits_features.imaging.normalize.SIDE", 64)

    with pytest.raises(ValueError, match="family orb was computed with"):
        Projection.from_bytes(data)


@pytest.mark.parametrize("count", [1, 256, 257, 600])
def test_rows_of_several_blocks_are_projected(count: int) -> None:
    projection = fit(Moments.of(features(50)), FAMILIES, k=4, explained_variance=None)
    rows = features(count, seed=1)

    projected = projection.project(rows)

    expected = projection.scaled(rows) @ projection.components
    np.testing.assert_allclose(projected, expected, atol=1e-4)
    assert projected.dtype == np.float32
