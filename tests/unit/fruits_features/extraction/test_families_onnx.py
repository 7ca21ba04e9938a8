"""Embeddings by ONNX models, against numpy; and models that cannot be used."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from fruits_features.contract.families import dimensions, total_dimension
from fruits_features.contract.rejections import Reason, Rejected
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures, add_embeddings
from fruits_features.extraction.families.onnx import (
    BATCH_IMAGES,
    MAX_DIMENSION,
    Input,
    Model,
    ModelError,
    fetched_weights,
)
from fruits_features.pca.fit import Moments, fit
from fruits_features.projection import Projection, load
from tests.support.onnx_models import DEVIATION, DIMENSION, MEAN, NCHW, NHWC, assemble, expected, model, pooled
from tests.support.pictures import stored

PICTURE = stored()["jpeg"].data
FAMILIES = ("color", "onnx", "texture")
FLOAT, BYTE = TensorProto.FLOAT, TensorProto.UINT8


def images(count: int, size: tuple[int, int] = (8, 6)) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(1).integers(0, 256, (count, *size, 3), np.uint8))


def described(data: bytes, source: bytes, families: tuple[str, ...] = FAMILIES) -> ImageFeatures | Rejected:
    loaded = Model(source, "m")
    return add_embeddings(
        [ImageExtractor(tuple(families), 10**6, model_size=loaded.size).extract(data)], families, loaded
    )[0]


@pytest.mark.parametrize("shape", [NCHW, NHWC, (1, 3, 8, 6), (1, 8, 6, 3)])
@pytest.mark.parametrize("kind", [FLOAT, BYTE])
def test_model_of_any_layout_gives_numpys_numbers(shape: tuple[str | int, ...], kind: int) -> None:
    loaded = Model(model(shape, kind), "m")

    pixels = images(3)
    wanted = [pooled((one / 255 - MEAN) / DEVIATION if kind == FLOAT else one) for one in pixels]
    assert (loaded.size, loaded.dimension) == ((8, 6), DIMENSION)
    np.testing.assert_allclose(loaded.embed(pixels), wanted, rtol=1e-4, atol=1e-4)


def test_model_of_free_height_and_width_takes_224_pixels() -> None:
    assert Model(model(("n", 3, "height", "width")), "m").size == (224, 224)
    assert Model(model((1, 96, "width", 3)), "m").size == (96, 224)


@pytest.mark.parametrize(("shape", "batches"), [(NCHW, [BATCH_IMAGES, BATCH_IMAGES, 6]), ((1, 3, 8, 6), [1] * 70)])
def test_model_gets_as_many_images_at_once_as_it_can_take(
    shape: tuple[str | int, ...], batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, seen = Model(model(shape), "m"), []
    tensor = Input.tensor
    monkeypatch.setattr(Input, "tensor", lambda self, some: (seen.append(len(some)), tensor(self, some))[1])

    assert loaded.embed(images(70)).shape == (70, DIMENSION)
    assert seen == batches
    assert loaded.embed([]).shape == (0, DIMENSION)


def test_output_of_more_axes_is_flattened() -> None:
    same = helper.make_node("Identity", ["images"], ["maps"])
    loaded = Model(assemble({"images": (FLOAT, NCHW)}, [same], {"maps": (FLOAT, NCHW)}), "m")

    pixels = images(2)
    wanted = [((one / 255 - MEAN) / DEVIATION).transpose(2, 0, 1).ravel() for one in pixels]
    np.testing.assert_allclose(loaded.embed(pixels), wanted, atol=1e-5)


def test_description_has_the_embedding_at_the_familys_place() -> None:
    one = described(PICTURE, model())
    color, texture = (ImageExtractor((name,), 10**6).extract(PICTURE) for name in ("color", "texture"))

    assert isinstance(one, ImageFeatures)
    assert isinstance(color, ImageFeatures)
    assert isinstance(texture, ImageFeatures)
    before, middle, after = np.split(one.features, np.cumsum(dimensions(FAMILIES, len(one.features)))[:-1])
    assert (before == color.features).all()
    assert (after == texture.features).all()
    np.testing.assert_allclose(middle, expected(PICTURE), atol=1e-4)
    assert one.scaled is None


def test_description_by_the_model_alone_is_its_embedding() -> None:
    one = described(PICTURE, model(), ("onnx",))

    assert isinstance(one, ImageFeatures)
    assert one.features.shape == (DIMENSION,)


def test_image_whose_embedding_is_not_finite_is_rejected() -> None:
    never = helper.make_node("Log", ["floats"], ["changed"])  # of values below 0, as normalised ones are

    one = described(PICTURE, model(first=[never]))

    assert isinstance(one, Rejected)
    assert (one.reason, one.detail) == (Reason.NOT_DESCRIBABLE, "The model returned values that are not finite.")


def two_inputs() -> bytes:
    both = helper.make_node("Add", ["a", "b"], ["c"])
    return assemble({"a": (FLOAT, NCHW), "b": (FLOAT, NCHW)}, [both], {"c": (FLOAT, NCHW)})


def one_node(kind: str, output: int = FLOAT, shape: tuple[str | int, ...] = NCHW, **attributes: int) -> bytes:
    node = helper.make_node(kind, ["images"], ["out"], **attributes)
    return assemble({"images": (FLOAT, shape)}, [node], {"out": (output, None)})


def other_size() -> bytes:
    """Leave height and width free, and fail on 224 x 224 pixels."""
    cut = helper.make_node("Reshape", ["images", "shape"], ["flat"])
    shapes = {"shape": np.array([-1, 11])}
    return assemble({"images": (FLOAT, ("n", 3, "h", "w"))}, [cut], {"flat": (FLOAT, ("n", 11))}, shapes)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            lambda: b"no model",
            r"model m cannot be loaded \(wanted is one file that holds its weights too\): .+PROTOBUF",
        ),
        (two_inputs, r"m has the inputs a: tensor\(float\) of n x 3 x 8 x 6, b: .+; wanted is a single one"),
        (lambda: one_node("Identity", shape=("n", 1, 8, 6)), r"images: tensor\(float\) of n x 1 x 8 x 6; wanted"),
        (lambda: model((4, 3, 8, 6)), "of 4 x 3 x 8 x 6; wanted .+ its batch free or 1"),
        (lambda: model(NCHW, TensorProto.INT8), r"tensor\(int8\) of .+; wanted is a single one of float32 or uint8"),
        (
            lambda: one_node("ArgMax", TensorProto.INT64),
            r"has the first output out: tensor\(int64\); wanted is a tensor",
        ),
        (
            lambda: one_node("ReduceMax", keepdims=0),
            "gives an output of one number for 2 images; wanted is .+ one row an image",
        ),
        (
            lambda: model(matrix=np.ones((3, MAX_DIMENSION + 1), np.float32)),
            "gives 4097 numbers an image; wanted are 1",
        ),
        (other_size, "model m fails on 2 images of 224 x 224 pixels: .+Reshape"),
    ],
)
def test_model_that_does_not_fit_is_refused_with_what_it_has_and_what_is_wanted(
    source: Callable[[], bytes], sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence):
        Model(source(), "m")


def test_model_without_onnxruntime_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(ModelError, match=r"not installed here: install spark_apps/requirements-onnx\.txt"):
        Model(model(), "m")


def test_fetched_model_is_a_file_for_as_long_as_it_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(model())

    with fetched_weights(str(file)) as weights:
        assert weights
        assert weights.path
        assert Path(weights.path).read_bytes() == file.read_bytes()
        assert (weights.uri, weights.dimension) == (str(file), DIMENSION)
        assert weights.open() is weights.open()
    assert not Path(weights.path).exists()


def test_fetched_model_that_is_not_there_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match=r"There is no ONNX model .+/m\.onnx"),
        fetched_weights(str(tmp_path / "m.onnx")),
    ):
        pass


@pytest.fixture
def projection(tmp_path: Path) -> Path:
    """A projection of features of which some are a model's, `m.onnx` beside it."""
    (tmp_path / "m.onnx").write_bytes(model())
    with fetched_weights(str(tmp_path / "m.onnx")) as weights:
        rows = np.random.default_rng(2).normal(size=(20, total_dimension(FAMILIES, DIMENSION))).astype(np.float32)
        found = fit(Moments.of(rows), FAMILIES, k=3, explained_variance=None)
        fitted = Projection(
            found.families, found.mean, found.spread, found.components, found.explained_variance, weights
        )
    (tmp_path / "projection.npz").write_bytes(fitted.to_bytes())
    return tmp_path / "projection.npz"


def test_projection_embeds_an_image_by_the_model_from_where_it_lay(projection: Path) -> None:
    loaded = load(projection)

    one = described(PICTURE, model())
    assert isinstance(one, ImageFeatures)
    assert loaded.model
    assert loaded.model.path is None
    np.testing.assert_allclose(loaded.embed(PICTURE), loaded.project(one.features[np.newaxis])[0], atol=1e-5)


def test_projection_whose_model_was_replaced_is_refused(projection: Path) -> None:
    (projection.parent / "m.onnx").write_bytes(model(NHWC))

    with pytest.raises(
        ModelError, match=r"m\.onnx is another one now: its SHA-256 is [0-9a-f]{64}, .+ put that one back"
    ):
        load(projection)


def test_projection_whose_model_is_gone_is_refused(projection: Path) -> None:
    (projection.parent / "m.onnx").unlink()

    with pytest.raises(ModelError, match="There is no ONNX model"):
        load(projection)
