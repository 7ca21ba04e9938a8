"""A correct run passes all checks, and the intended check finds each kind of damage."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.fs import LocalFileSystem

from fruits_features import schemas
from fruits_features.extraction.families.onnx import Weights
from fruits_features.pca.fit import Moments, fit
from include.run_files import RunFiles
from include.validation import recogniser_drop, sample_check
from include.validation.audit import Published, Severity, table
from tests.support import onnx_models
from tests.support.deadly_decoder.sitecustomize import ENDLESS_MARK, MARK
from tests.support.validation_runs import COMPONENTS, FAMILIES, Run, files_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.validation.audit import Audit, ValidationReport

SCHEMA = schemas.arrow_schema(schemas.features_columns(include_pixels=False))


def test_good_run_passes_every_check(run: Run) -> None:
    report = run.validate()

    assert [str(check) for check in report.failed] == []
    assert report.counts == {"inventory": 25, "features": 24, "quarantine": 1}
    assert report.categories == {"Apple": 12, "Lime": 12}
    assert report.projection["components"] == COMPONENTS
    assert [check.name for check in report.warnings] == ["files: sizes of features"]
    assert [(check.name, check.saw) for check in report.not_checked] == [
        (recogniser_drop.CHECK_NAME, "no run is published"),
        ("drift: comparison with the published run", "no run is published"),
    ]


def test_good_run_of_images_without_splits_passes_every_check(run: Run) -> None:
    run.remove_splits()

    report = run.validate()

    assert [str(check) for check in report.failed] == []
    assert report.recogniser["splits"]["all"]["images"] == 24


def _write(change: Callable[[Run], None], schema: pa.Schema | None = None) -> Callable[[Run], ValidationReport]:
    """Change a run's rows and write them."""

    def break_it(run: Run) -> ValidationReport:
        change(run)
        run.write(schema)
        return run.validate()

    return break_it


def _set(column: str, value: object) -> Callable[[Run], None]:
    return lambda run: run.rows[3].__setitem__(column, value)


def _swap(*columns: str) -> Callable[[Run], None]:
    def swap(run: Run) -> None:
        one, other = run.rows[2], run.rows[9]
        for column in columns:
            one[column], other[column] = other[column], one[column]

    return swap


def _drop_a_row(run: Run) -> None:
    del run.rows[5]


def _repeat_a_row(run: Run) -> None:
    run.rows[5] = run.rows[6]


def _put_one_image_in_both_tables(run: Run) -> None:
    run.rejected.append({**run.rejected[0], "path": run.rows[0]["path"]})


def _reject_many(run: Run) -> None:
    run.rejected += [{**run.rejected[0], "path": row["path"]} for row in run.rows[:4]]
    del run.rows[:4]


def _shift_a_component(run: Run) -> None:
    for row in run.rows:
        row["pca"][1] += 0.5


def _shift_the_categories(run: Run) -> None:
    categories = [row["category"] for row in run.rows]
    for row, category in zip(run.rows, categories[1:] + categories[:1], strict=True):
        row["category"] = category


def _rotate_the_components(run: Run) -> ValidationReport:
    """Rotate two components in their plane. They stay orthonormal, but are no principal components."""
    turned = run.projection.components.copy()
    first, second = turned[:, 0].copy(), turned[:, 1].copy()
    turned[:, 0], turned[:, 1] = 0.8 * first + 0.6 * second, 0.8 * second - 0.6 * first
    run.projection = replace(run.projection, components=turned)
    run.project()
    run.write()
    return run.validate()


def _claim_other_shares(run: Run) -> ValidationReport:
    shares = run.projection.explained_variance
    return run.validate(projection=replace(run.projection, explained_variance=shares * [1, 0.9, 0.8]))


def _claim_rising_shares(run: Run) -> ValidationReport:
    shares = run.projection.explained_variance
    return run.validate(projection=replace(run.projection, explained_variance=shares[::-1]))


def _claim_more_than_everything(run: Run) -> ValidationReport:
    return run.validate(projection=replace(run.projection, explained_variance=np.array([0.6, 0.5, 0.4])))


def _claim_a_negative_share(run: Run) -> ValidationReport:
    return run.validate(projection=replace(run.projection, explained_variance=np.array([0.6, 0.3, -0.1])))


def _corrupt_the_projection(run: Run) -> ValidationReport:
    loadings = run.projection.components.copy()
    loadings[0, 0] += 0.1
    return run.validate(projection=replace(run.projection, components=loadings))


def _move_the_projections_mean(run: Run) -> ValidationReport:
    return run.validate(projection=replace(run.projection, mean=run.projection.mean + 0.01))


def _truncate_the_projection(run: Run) -> ValidationReport:
    return run.validate(stored=run.projection.to_bytes()[:-50])


def _delete_a_file(run: Run) -> ValidationReport:
    run.parts()[1].unlink()
    return run.validate()


def _change_a_type_in_the_second_file(run: Run) -> ValidationReport:
    first = run.parts()[0].read_bytes()
    run.write(SCHEMA.set(4, pa.field("height", pa.int64(), nullable=False)))
    run.parts()[0].write_bytes(first)
    return run.validate()


def _truncate_a_file(run: Run) -> ValidationReport:
    path = run.parts()[0]
    path.write_bytes(path.read_bytes()[:-20])
    return run.validate()


def _leave_a_file_of_another_run(run: Run) -> ValidationReport:
    run.write(arguments=replace(run.arguments, run="yesterday"))
    return run.validate()


def _leave_a_file_of_other_parameters(run: Run) -> ValidationReport:
    run.write(arguments=replace(run.arguments, max_image_bytes=7))
    return run.validate()


def _name_another_projection(run: Run) -> None:
    run.said_version = "another"


MUTATIONS = {
    "drop a row": (_write(_drop_a_row), "each inventoried key is in a table"),
    "duplicate a key": (_write(_repeat_a_row), "each key is in the tables once"),
    "invent a key": (_write(_set("path", "s3://fruits/images/Test/Lime/99.png")), "each key was inventoried"),
    "an image in both tables": (_write(_put_one_image_in_both_tables), "each key is in the tables once"),
    "most in quarantine": (_write(_reject_many), "quarantine: share of the inventory"),
    "NaN": (_write(_set("pca", [1.0, float("nan"), 2.0])), "features: pca is finite"),
    "infinity": (_write(lambda run: run.rows[3]["features"].__setitem__(7, np.inf)), "features: features is finite"),
    "a short vector": (_write(_set("pca", [1.0])), "features: pca has 3 values"),
    "swap two projected vectors": (_write(_swap("pca")), "features: pca equals the projection of features"),
    "swap two images' vectors": (
        _write(_swap("features", "pca")),
        "sample: images extracted again equal their rows",
    ),
    "shift a component": (_write(_shift_a_component), "features: pca equals the projection of features"),
    "shift the categories": (
        _write(_shift_the_categories),
        "split and category equal the inventory's",
    ),
    "rename a category": (_write(_set("category", "Limes")), "split and category equal the inventory's"),
    "another split": (_write(_set("split", "Validation")), "split and category equal the inventory's"),
    "no width": (_write(_set("width", 0)), "features: width is at least 1"),
    "cut descriptors": (_write(_set("keypoints", 77)), "features: descriptors has 32 bytes a keypoint"),
    "another bucket": (_write(_set("path", "s3://other/a.png")), "features: path begins with s3://fruits/"),
    "an unknown reason": (
        _write(lambda run: run.rejected[0].__setitem__("reason", "boredom")),
        "quarantine: reason is a known reason",
    ),
    "a changed type": (
        _write(lambda _: None, SCHEMA.set(3, pa.field("width", pa.int64(), nullable=False))),
        "features: columns and types",
    ),
    "a changed type in one file": (_change_a_type_in_the_second_file, "features: columns and types"),
    "a missing value": (
        _write(_set("category", None), SCHEMA.set(2, pa.field("category", pa.string()))),
        "features: columns and types",
    ),
    "a missing column": (_write(lambda _: None, SCHEMA.remove(5)), "features: columns and types"),
    "delete a file": (_delete_a_file, "each inventoried key is in a table"),
    "truncate a file": (_truncate_a_file, "tables: can be read"),
    "a file of another run": (_leave_a_file_of_another_run, "files: written by run"),
    "a file of other parameters": (_leave_a_file_of_other_parameters, "files: one set of parameters and versions"),
    "files of another projection": (_write(_name_another_projection), "files: version of the projection"),
    "truncate the projection": (_truncate_the_projection, "projection: can be read"),
    "corrupt the projection": (
        _corrupt_the_projection,
        "projection: components are orthonormal",
    ),
    "move the projection's mean": (_move_the_projections_mean, "features: pca equals the projection of features"),
    "turn two components": (_rotate_the_components, "features: components are uncorrelated"),
    "claim other shares": (
        _claim_other_shares,
        "features: variances of components equal the projection's",
    ),
    "claim rising shares": (_claim_rising_shares, "projection: explained variance decreases"),
    "claim more than everything": (_claim_more_than_everything, "projection: explained variance"),
    "claim a negative share": (_claim_a_negative_share, "projection: explained variance"),
}


@pytest.mark.parametrize(("break_it", "check"), MUTATIONS.values(), ids=MUTATIONS)
def test_broken_run_fails_the_check_meant_for_it(
    run: Run, break_it: Callable[[Run], ValidationReport], check: str
) -> None:
    report = break_it(run)

    assert check in [failed.name for failed in report.failed]
    assert check in report.failure()


@pytest.fixture
def keeping(run: Run) -> Run:
    """A run with a projection that was fitted on fewer images."""
    rows = np.stack([row["features"] for row in run.rows[:12]])
    run.projection = fit(Moments.of(rows), FAMILIES, k=COMPONENTS, explained_variance=None)
    run.said_version = run.projection.version
    run.project()
    run.recogniser = run.fit()
    run.write()
    return run


def _kept(stored: bytes) -> Callable[[Audit], Audit]:
    return lambda audit: replace(audit, kept=stored)


def test_projection_that_was_kept_needs_no_fit_on_todays_images(keeping: Run) -> None:
    report = keeping.validate(change=_kept(keeping.projection.to_bytes()))

    assert [str(check) for check in report.failed] == []
    assert "features: kept projection explains as much as when it was fitted" in [
        check.name for check in report.warnings
    ]


def test_projection_that_fits_other_images_fails_if_the_run_claims_to_have_fitted_it(keeping: Run) -> None:
    failed = [check.name for check in keeping.validate().failed]

    assert "features: components are uncorrelated" in failed
    assert "features: explained variance equals the projection's" in failed


@pytest.mark.parametrize("stored", ["another", "gone"])
def test_projection_that_is_not_the_one_it_was_kept_from_fails(keeping: Run, stored: str) -> None:
    other = replace(keeping.projection, mean=keeping.projection.mean + 1e-9).to_bytes()

    report = keeping.validate(change=_kept(other if stored == "another" else b""))

    assert [check.name for check in report.failed] == ["projection: is the published one that was kept"]


@pytest.mark.parametrize("name", ["swap two projected vectors", "move the projection's mean", "truncate a file"])
def test_run_with_a_kept_projection_is_checked_too(keeping: Run, name: str) -> None:
    break_it, check = MUTATIONS[name]
    validate = keeping.validate
    keeping.validate = lambda **options: validate(**{"change": _kept(keeping.projection.to_bytes()), **options})  # type: ignore[method-assign]

    assert check in [failed.name for failed in break_it(keeping).failed]


def test_component_off_centre_fails_its_check(run: Run) -> None:
    del run.rows[-2:]
    run.write()

    names = [failed.name for failed in run.validate().failed]

    assert "features: components have mean 0" in names


def test_image_replaced_since_the_inventory_is_no_failure(run: Run) -> None:
    key = next(iter(run.images))
    run.images[key] = b"another image"

    assert run.validate().failed == []


def test_large_run_is_compared_in_shares(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.validation.accounting.MAX_KEYS_IN_MEMORY", 4)
    assert run.validate().failed == []

    run.rows[5] = run.rows[6]
    run.write()

    figures = {check.name: check.saw for check in run.validate().failed}
    assert figures["each key is in the tables once"] == "1 keys twice"
    assert figures["each inventoried key is in a table"] == "1 keys missing"


def test_failed_checks_are_listed_with_values_in_columns(run: Run) -> None:
    _drop_a_row(run)
    run.write()
    report = run.validate()

    (line,) = [line for line in table(report.failed).splitlines() if "features + quarantine" in line]

    assert line.split("   ") == ["FAILED", "features + quarantine = inventory", *line.split("   ")[2:]]
    assert line.split()[-2:] == ["24", "25"]


@pytest.mark.parametrize(
    ("published", "warning"),
    [
        ({"Apple": 12, "Lime": 40}, "drift: share of images lost since the published run"),
        ({"Apple": 20, "Lime": 4}, "drift: share of images that changed category"),
        ({"Apple": 12, "Lime": 8, "Fig": 4}, "drift: share of images that changed category"),
    ],
)
def test_images_unlike_the_published_ones_are_a_warning(run: Run, published: dict[str, int], warning: str) -> None:
    report = run.validate(published=Published(published, run.projection))

    assert report.failed == []
    assert warning in [check.name for check in report.warnings]
    assert all(check.severity == Severity.WARNING for check in report.warnings)


def test_projection_unlike_the_published_one_is_a_warning(run: Run) -> None:
    before = replace(
        run.projection,
        mean=run.projection.mean + np.repeat([0, 1], [256, len(run.projection.mean) - 256]),
        explained_variance=run.projection.explained_variance * 1.2,
    )

    report = run.validate(published=Published(run.validate().categories, before))

    drifts = [check.name for check in report.warnings if check.name.startswith("drift")]
    assert drifts == [
        "drift: explained variance lost",
        "drift: mean of family color moved, in standard deviations",
    ]


def test_images_that_moved_since_the_kept_projection_was_fitted_are_a_warning(keeping: Run) -> None:
    published = Published({"Apple": 12, "Lime": 12}, keeping.projection)

    report = keeping.validate(change=_kept(keeping.projection.to_bytes()), published=published)

    today = np.mean([row["features"] for row in keeping.rows if row["split"] == "Training"], axis=0)
    moved = np.linalg.norm((today - keeping.projection.mean)[256:]) / keeping.projection.spread[-1]
    (drift,) = [check for check in report.warnings if check.name.startswith("drift: mean of family color")]
    assert float(drift.saw) == pytest.approx(moved, rel=1e-3)


def test_projection_by_another_model_than_the_published_one_is_a_warning(run: Run) -> None:
    before = replace(run.projection, model=Weights("s3://models/net.onnx", "0" * 64, 5))

    report = run.validate(published=Published(run.validate().categories, before))

    (drift,) = [check for check in report.warnings if check.name.startswith("drift")]
    assert drift.wanted == "those of the published run: orb, color (model of SHA-256 000000000000)"


def test_sample_whose_model_cannot_be_used_is_a_warning(run: Run, tmp_path: Path) -> None:
    gone = replace(run.projection, model=Weights(str(tmp_path / "net.onnx"), "0" * 64, 5))
    files = RunFiles(run.layout, LocalFileSystem())

    (check,) = sample_check.check(pa.table({}), gone, files, lambda *_: None, 10**6)

    assert (check.passed, check.severity, check.wanted) == (False, Severity.WARNING, "the model")
    assert check.saw.startswith("There is no ONNX model")


def test_model_of_the_sample_is_fetched_once_with_the_retries_of_runs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader gives up after seconds, while a validation outlasts minutes of faults of S3."""
    content, fetched = onnx_models.model(), []

    def read(uri: str) -> bytes:
        fetched.append(uri)
        return content

    monkeypatch.setattr(sample_check, "read", read)
    weights = Weights("s3://models/net.onnx", sha256(content).hexdigest(), onnx_models.DIMENSION)
    projection = replace(run.projection, model=weights)
    no_rows = pa.table({"path": pa.array([], pa.string()), "features": [], "pca": []})

    (check,) = sample_check.check(no_rows, projection, files_of(run), lambda *_: None, 10**6)

    assert check.saw == "none of 0 images can be fetched as the inventory lists it"
    assert fetched == ["s3://models/net.onnx"]


def test_published_projection_that_cannot_be_read_is_a_warning(run: Run) -> None:
    report = run.validate(published=Published({"Apple": 12, "Lime": 12}, None))

    assert "drift: families" in [check.name for check in report.warnings]


@pytest.mark.parametrize("mark", [MARK, ENDLESS_MARK])
def test_sampled_image_that_stops_its_decoder_costs_one_image(
    run: Run, mark: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "support" / "deadly_decoder"))
    monkeypatch.setattr(sample_check, "DEADLINE_S", 3)
    hostile = min(run.images)

    def change(audit: Audit) -> Audit:
        def fetch(key: str, etag: str) -> bytes | None:
            return run.images[key] + mark if key == hostile else audit.fetch(key, etag)

        return replace(audit, fetch=fetch)

    (check,) = (check for check in run.validate(change=change).checks if check.name.startswith("sample"))

    assert check.passed
    assert check.saw == "0 of 23 images differ; 1 crashed or took too long"


def test_sampled_image_above_the_limit_of_pixels_is_not_decoded(run: Run) -> None:
    run.requested = replace(run.arguments, max_image_pixels=40 * 40 - 1)

    report = run.validate()

    (check,) = (check for check in report.checks if check.name.startswith("sample"))
    assert (check.passed, check.saw) == (False, "24 of 24 images differ")


def test_run_without_rows_fails_and_its_values_are_not_checked(run: Run) -> None:
    run.rows = []
    run.write()

    report = run.validate()

    assert "features: number of rows" in [check.name for check in report.failed]
    assert {check.name: check.saw for check in report.not_checked} == {
        "features: values of all columns": "the table is empty",
        "features: pca equals the projection of features": "no row is complete",
        "features: statistics of the components": "no image to fit on has features",
        recogniser_drop.CHECK_NAME: "no run is published",
        "sample: images extracted again equal their rows": "no row of features/ is complete",
        "drift: comparison with the published run": "no run is published",
    }


def test_empty_inventory_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_listing", list)
    run.write()

    assert "inventory: number of rows" in [check.name for check in run.validate().failed]


def test_empty_quarantine_is_no_failure_but_not_checked(run: Run) -> None:
    run.rejected = []
    run.write()

    names = {check.name: str(check.severity) for check in run.validate().checks if not check.passed}

    assert names["quarantine: values of all columns"] == "not checked"


def test_folder_without_files_has_no_columns(run: Run) -> None:
    for part in run.parts():
        part.rename(part.with_name(f"_{part.name}"))

    (check,) = [check for check in run.validate().failed if check.name == "features: columns and types"]

    assert check.saw == "no file"


def test_sample_of_which_every_image_was_replaced_is_not_checked(run: Run) -> None:
    run.images = dict.fromkeys(run.images, b"another image")

    report = run.validate()

    saw = {check.name: check.saw for check in report.not_checked}
    assert saw[sample_check.CHECK_NAME] == "none of 24 images can be fetched as the inventory lists it"
    assert sample_check.CHECK_NAME not in [check.name for check in report.checks if check.passed]


def test_published_run_without_categories_is_no_baseline(run: Run) -> None:
    report = run.validate(published=Published({}, run.projection))

    assert [check.name for check in report.not_checked] == [
        recogniser_drop.CHECK_NAME,
        "drift: share of images lost since the published run",
        "drift: share of images that changed category",
    ]


def test_check_that_was_not_made_is_neither_passed_nor_failed_in_table_and_record(run: Run) -> None:
    report = run.validate()

    (line,) = [line for line in table(report.checks).splitlines() if "drift" in line]
    assert line.startswith("not checked   drift: comparison with the published run")
    (stored,) = [check for check in report.as_dict()["checks"] if check["name"].startswith("drift")]
    assert (stored["passed"], stored["severity"], stored["saw"]) == (False, "not checked", "no run is published")


@pytest.mark.parametrize(
    ("requested", "saw", "wanted"),
    [
        ({"k": 5}, "k = 3", "k = 5"),
        ({"features": ("color", "orb")}, "features = ['orb', 'color']", "features = ['color', 'orb']"),
        ({"store": "s3://fruits/features/described"}, "store = None", "store = s3://fruits/features/described"),
    ],
)
def test_files_of_other_arguments_than_requested_fail(
    run: Run, requested: dict[str, object], saw: str, wanted: str
) -> None:
    run.requested = replace(run.arguments, **requested)  # type: ignore[arg-type]

    (check,) = [check for check in run.validate().failed if check.name == "files: arguments"]

    assert (check.saw, check.wanted) == (saw, wanted)


def test_projection_published_since_the_step_began_is_no_difference(run: Run) -> None:
    run.requested = replace(run.arguments, published="s3://fruits/features/runs/later/projection/projection.npz")

    assert run.validate().failed == []
