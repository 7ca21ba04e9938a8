"""The file for an app has the same answers as the application, for images of any size."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from fruits_features.recogniser.app_model import AppModelError
from include.deploy.model import build
from include.deploy.uploads import WHEELS
from tests.support import onnx_models
from tests.support.app_models import CATEGORIES, Recognition, picture

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def shipped() -> Recognition:
    return Recognition.of(build.build(WHEELS).read_bytes())


@pytest.fixture(scope="module")
def session(shipped: Recognition) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(shipped.app(run="2026-11-29"))


@pytest.mark.parametrize(
    ("height", "width"),
    [(256, 256), (100, 100), (464, 348), (512, 512), (300, 90), (1, 1), (1200, 900), (257, 3000)],
)
def test_probabilities_equal_those_of_the_application(
    shipped: Recognition, session: onnxruntime.InferenceSession, height: int, width: int
) -> None:
    image = picture(height, width)

    probabilities, categories = session.run(["probabilities", "categories"], {"image": image})

    assert probabilities == pytest.approx(shipped.probabilities(image), abs=1e-3)
    assert probabilities.sum() == pytest.approx(1)
    assert tuple(categories) == CATEGORIES


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.FLOAT])
@pytest.mark.parametrize("shape", [onnx_models.NCHW, onnx_models.NHWC, (1, 3, "height", "width"), (1, 224, 200, 3)])
def test_any_model_of_the_family_can_be_used(kind: int, shape: tuple[int | str, ...]) -> None:
    recognition, image = Recognition.of(onnx_models.model(shape, kind), k=3), picture(500, 400)

    session = onnxruntime.InferenceSession(recognition.app())

    probabilities, _ = session.run(None, {"image": image})
    assert probabilities == pytest.approx(recognition.probabilities(image), abs=1e-3)


def test_model_with_operators_of_another_domain_can_be_used() -> None:
    model = ModelProto.FromString(
        onnx_models.model(first=[helper.make_node("Gelu", ["floats"], ["changed"], domain="com.microsoft")])
    )
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    recognition, image = Recognition.of(model.SerializeToString(), k=3), picture(500, 400)

    probabilities, _ = onnxruntime.InferenceSession(recognition.app()).run(None, {"image": image})

    assert probabilities == pytest.approx(recognition.probabilities(image), abs=1e-3)


@pytest.mark.parametrize("imports", [[("ai.onnx", 18)], [("", 18), ("ai.onnx", 18)], [("ai.onnx", 17), ("", 18)]])
@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_model_may_name_the_standard_operators_in_each_way_that_onnxruntime_reads(
    imports: list[tuple[str, int]], domain: str
) -> None:
    model = ModelProto.FromString(onnx_models.model())
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*each) for each in imports)
    for node in model.graph.node:
        node.domain = domain
    recognition, image = Recognition.of(model.SerializeToString(), k=3), picture(500, 400)

    probabilities, _ = onnxruntime.InferenceSession(recognition.app()).run(None, {"image": image})

    assert probabilities == pytest.approx(recognition.probabilities(image), abs=1e-3)


def test_metadata_has_the_categories_and_the_licence(session: onnxruntime.InferenceSession) -> None:
    metadata = session.get_modelmeta().custom_metadata_map

    assert json.loads(metadata["categories"]) == list(CATEGORIES)
    assert (metadata["license"], metadata["run"]) == ("Apache-2.0", "2026-11-29")
    assert "EfficientNet-Lite0" in metadata["source"]


def test_input_and_outputs_have_documented_names_and_shapes(session: onnxruntime.InferenceSession) -> None:
    nodes = [*session.get_inputs(), *session.get_outputs()]

    assert [(node.name, node.type, node.shape) for node in nodes] == [
        ("image", "tensor(uint8)", ["height", "width", 3]),
        ("probabilities", "tensor(float)", [len(CATEGORIES)]),
        ("categories", "tensor(string)", [len(CATEGORIES)]),
    ]


def test_same_recogniser_gives_the_same_bytes(shipped: Recognition) -> None:
    assert shipped.app(run="r") == shipped.app(run="r")


def test_image_without_three_channels_is_refused(session: onnxruntime.InferenceSession) -> None:
    with pytest.raises(Exception, match=r"Got: 4 Expected: 3"):
        session.run(None, {"image": np.zeros((300, 300, 4), np.uint8)})


def test_model_of_old_operators_is_refused_in_one_sentence() -> None:
    with pytest.raises(
        AppModelError, match=r"^The ONNX model uses version 11 of the operators, .* at least 13; export"
    ):
        Recognition.of(onnx_models.model_of_old_operators(), k=3).app()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda model: model.ClearField("opset_import"), "names no version of ONNX's operators; export"),
        (lambda model: model.graph.node[0].ClearField("attribute"), r"does not follow the standard \(.*\); export"),
    ],
)
def test_model_that_does_not_follow_the_standard_is_refused_in_one_sentence(
    damage: Callable[[ModelProto], None], sentence: str
) -> None:
    recognition = Recognition.of(onnx_models.model(), k=3)
    model = ModelProto.FromString(recognition.model)
    damage(model)

    with pytest.raises(AppModelError, match=f"^The ONNX model {sentence}"):
        replace(recognition, model=model.SerializeToString()).app()
