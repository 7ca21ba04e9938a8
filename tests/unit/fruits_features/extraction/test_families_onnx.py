"""Embeddings by ONNX models, compared with NumPy, and models that cannot be used."""

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
from fruits_features.extraction.families import onnx as family
from fruits_features.extraction.families.onnx import (
    BATCH_IMAGES,
    MAX_DIMENSION,
    SMALL_BATCH_IMAGES,
    SMALL_MODEL_BYTES,
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


def extract(data: bytes, source: bytes, families: tuple[str, ...] = FAMILIES) -> ImageFeatures | Rejected:
    loaded = Model(source, "m")
    return add_embeddings(
        [ImageExtractor(tuple(families), 10**6, model_size=loaded.size).extract(data)], families, loaded
    )[0]


@pytest.mark.parametrize("shape", [NCHW, NHWC, (1, 3, 8, 6), (1, 8, 6, 3)])
@pytest.mark.parametrize("kind", [FLOAT, BYTE])
def test_model_of_any_layout_equals_numpy(shape: tuple[str | int, ...], kind: int) -> None:
    loaded = Model(model(shape, kind), "m")

    pixels = images(3)
    expected_values = [pooled((one / 255 - MEAN) / DEVIATION if kind == FLOAT else one) for one in pixels]
    assert (loaded.size, loaded.dimension) == ((8, 6), DIMENSION)
    np.testing.assert_allclose(loaded.embed(pixels), expected_values, rtol=1e-4, atol=1e-4)


def test_model_of_free_height_and_width_gets_224_pixels() -> None:
    assert Model(model(("n", 3, "height", "width")), "m").size == (224, 224)
    assert Model(model((1, 96, "width", 3)), "m").size == (96, 224)


@pytest.mark.parametrize(
    ("shape", "small_bytes", "batches"),
    [
        (NCHW, SMALL_MODEL_BYTES, [SMALL_BATCH_IMAGES] * 17 + [2]),
        (NCHW, 0, [BATCH_IMAGES, BATCH_IMAGES, 6]),
        ((1, 3, 8, 6), 0, [1] * 70),
    ],
)
def test_model_gets_batches_by_its_size_and_input(
    shape: tuple[str | int, ...], small_bytes: int, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "SMALL_MODEL_BYTES", small_bytes)
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
    expected_values = [((one / 255 - MEAN) / DEVIATION).transpose(2, 0, 1).ravel() for one in pixels]
    np.testing.assert_allclose(loaded.embed(pixels), expected_values, atol=1e-5)


def test_features_contain_the_embedding_at_the_familys_place() -> None:
    image = extract(PICTURE, model())
    color, texture = (ImageExtractor((name,), 10**6).extract(PICTURE) for name in ("color", "texture"))

    assert isinstance(image, ImageFeatures)
    assert isinstance(color, ImageFeatures)
    assert isinstance(texture, ImageFeatures)
    before, middle, after = np.split(image.features, np.cumsum(dimensions(FAMILIES, len(image.features)))[:-1])
    assert (before == color.features).all()
    assert (after == texture.features).all()
    np.testing.assert_allclose(middle, expected(PICTURE), atol=1e-4)
    assert image.scaled is None


def test_features_of_the_model_alone_are_its_embedding() -> None:
    image = extract(PICTURE, model(), ("onnx",))

    assert isinstance(image, ImageFeatures)
    assert image.features.shape == (DIMENSION,)


def test_image_with_embedding_that_is_not_finite_is_rejected() -> None:
    never = helper.make_node("Log", ["floats"], ["changed"])  # of values below 0, as normalised ones are

    image = extract(PICTURE, model(first=[never]))

    assert isinstance(image, Rejected)
    assert (image.reason, image.detail) == (Reason.NOT_DESCRIBABLE, "The model returned values that are not finite.")


def two_inputs() -> bytes:
    both = helper.make_node("Add", ["a", "b"], ["c"])
    return assemble({"a": (FLOAT, NCHW), "b": (FLOAT, NCHW)}, [both], {"c": (FLOAT, NCHW)})


def one_node(kind: str, output: int = FLOAT, shape: tuple[str | int, ...] = NCHW, **attributes: int) -> bytes:
    node = helper.make_node(kind, ["images"], ["out"], **attributes)
    return assemble({"images": (FLOAT, shape)}, [node], {"out": (output, None)})


def other_size() -> bytes:
    """Return a model with free height and width that fails on 224 x 224 pixels."""
    cut = helper.make_node("Reshape", ["images", "shape"], ["flat"])
    shapes = {"shape": np.array([-1, 11])}
    return assemble({"images": (FLOAT, ("n", 3, "h", "w"))}, [cut], {"flat": (FLOAT, ("n", 11))}, shapes)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            lambda: b"no model",
            r"model m cannot be loaded \(it must be one file that contains its weights\): .+PROTOBUF",
        ),
        (two_inputs, r"m has the inputs a: tensor\(float\) of n x 3 x 8 x 6, b: .+; it must have a single one"),
        (lambda: one_node("Identity", shape=("n", 1, 8, 6)), r"images: tensor\(float\) of n x 1 x 8 x 6; it must"),
        (lambda: model((4, 3, 8, 6)), "of 4 x 3 x 8 x 6; it must .+ a batch that is free or 1"),
        (lambda: model(NCHW, TensorProto.INT8), r"tensor\(int8\) of .+; it must have a single one of float32 or uint8"),
        (
            lambda: one_node("ArgMax", TensorProto.INT64),
            r"has the first output out: tensor\(int64\); it must be a tensor",
        ),
        (
            lambda: one_node("ReduceMax", keepdims=0),
            "returns an output of one value for 2 images; .+ must have one row per image",
        ),
        (
            lambda: model(matrix=np.ones((3, MAX_DIMENSION + 1), np.float32)),
            "returns 4097 values per image; the limit is 4096",
        ),
        (other_size, "model m fails on 2 images of 224 x 224 pixels: .+Reshape"),
    ],
)
def test_unsupported_model_raises_with_its_properties_and_the_requirements(
    source: Callable[[], bytes], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        Model(source(), "m")


def test_model_without_onnxruntime_names_the_requirements_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(ModelError, match=r"not installed; install spark_apps/requirements-onnx\.txt"):
        Model(model(), "m")


def test_fetched_model_is_a_file_until_the_context_ends(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(model())

    with fetched_weights(str(file)) as weights:
        assert weights
        assert weights.path
        assert Path(weights.path).read_bytes() == file.read_bytes()
        assert (weights.uri, weights.dimension) == (str(file), DIMENSION)
        assert weights.open() is weights.open()
    assert not Path(weights.path).exists()


def test_fetching_missing_model_raises(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match=r"There is no ONNX model .+/m\.onnx"),
        fetched_weights(str(tmp_path / "m.onnx")),
    ):
        pass


def endless_model() -> bytes:
    """Return a model that runs a loop of 2**60 steps before it computes its output."""
    scalar = {"elem_type": TensorProto.BOOL, "shape": []}
    body = helper.make_graph(
        [helper.make_node("Identity", [one], [f"next_{one}"]) for one in ("go", "x")],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", **scalar),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("next_go", **scalar),
            helper.make_tensor_value_info("next_x", TensorProto.FLOAT, None),
        ],
    )
    steps, always = (
        helper.make_tensor(name, kind, [], [value])
        for name, kind, value in (("steps", TensorProto.INT64, 2**60), ("always", TensorProto.BOOL, True))
    )
    return model(
        first=[
            helper.make_node("Constant", [], ["steps"], value=steps),
            helper.make_node("Constant", [], ["always"], value=always),
            helper.make_node("Loop", ["steps", "always", "floats"], ["changed"], body=body),
        ]
    )


def test_model_that_never_answers_is_refused_after_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "DEADLINE_S", 3)
    (tmp_path / "m.onnx").write_bytes(endless_model())

    with (
        pytest.raises(ModelError, match=r"m\.onnx took longer than 3 s for one batch; use a smaller model"),
        fetched_weights(str(tmp_path / "m.onnx")),
    ):
        pass


@pytest.fixture
def projection(tmp_path: Path) -> Path:
    """A projection of features that include the embedding of `m.onnx`, in the same folder."""
    (tmp_path / "m.onnx").write_bytes(model())
    with fetched_weights(str(tmp_path / "m.onnx")) as weights:
        rows = np.random.default_rng(2).normal(size=(20, total_dimension(FAMILIES, DIMENSION))).astype(np.float32)
        found = fit(Moments.of(rows), FAMILIES, k=3, explained_variance=None)
        fitted = Projection(
            found.families, found.mean, found.spread, found.components, found.explained_variance, weights
        )
    (tmp_path / "projection.npz").write_bytes(fitted.to_bytes())
    return tmp_path / "projection.npz"


def test_projection_embeds_an_image_with_the_model_from_its_uri(projection: Path) -> None:
    loaded = load(projection)

    image = extract(PICTURE, model())
    assert isinstance(image, ImageFeatures)
    assert loaded.model
    assert loaded.model.path is None
    np.testing.assert_allclose(loaded.embed(PICTURE), loaded.project(image.features[np.newaxis])[0], atol=1e-5)


def test_projection_whose_model_was_replaced_raises(projection: Path) -> None:
    (projection.parent / "m.onnx").write_bytes(model(NHWC))

    with pytest.raises(ModelError, match=r"m\.onnx was replaced: its SHA-256 is [0-9a-f]{64}, .+ Restore that model"):
        load(projection)


def test_projection_whose_model_is_missing_raises(projection: Path) -> None:
    (projection.parent / "m.onnx").unlink()

    with pytest.raises(ModelError, match="There is no ONNX model"):
        load(projection)
