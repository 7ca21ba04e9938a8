"""One ONNX file for an app: an image of any size in, the probability of each category out. Needs onnx.

The graph scales the image, runs the model of the family `onnx`, projects its embedding, and recognises the components.
It scales as the application does (`extraction.families.onnx.scale`): each side is multiplied by a matrix that the graph
computes from the image's size. The operator `Resize` has no scaling by area, which the recogniser was fitted with.

All operators are of the ONNX standard, so that other runtimes and browsers can run the file.
"""

import json
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import ModelProto, ValueInfoProto, compose, helper, numpy_helper, parser

from fruits_features.extraction.families.onnx import BYTE, FLOAT, MEAN, NHWC, STANDARD_DEVIATION, Input
from fruits_features.projection import Projection
from fruits_features.recogniser.model import Recogniser

IMAGE, PROBABILITIES, CATEGORIES = "image", "probabilities", "categories"
"""Names of the input and of the outputs."""
MIN_OPSET = 13
"""Oldest version of ONNX's operators whose inputs are those of this module's graphs."""

_PREFIX = "model/"
"""Prefix of the names in the model's part of the graph."""
_STANDARD, _ALIAS = "", "ai.onnx"
"""Names of the domain of ONNX's operators. Runtimes know both, and ONNX's own checker knows the operators of the first
(https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/graph/constants.h)."""

_MATRIX = """
    {side}_number = Constant <value_int = {number}> ()
    {side}_pixels = Gather (sides, {side}_number)
    {side}_length = Cast <to = 1> ({side}_pixels)
    {side}_target = Constant <value_float = {target}.0> ()
    {side}_step = Div ({side}_length, {side}_target)
    {side}_targets = Range (zero, {side}_target, one)
    {side}_column = Reshape ({side}_targets, column)
    {side}_sources = Range (zero, {side}_length, one)
    {side}_begin = Mul ({side}_column, {side}_step)
    {side}_end = Add ({side}_begin, {side}_step)
    {side}_source_end = Add ({side}_sources, one)
    {side}_first = Max ({side}_begin, {side}_sources)
    {side}_last = Min ({side}_end, {side}_source_end)
    {side}_overlap = Sub ({side}_last, {side}_first)
    {side}_area = Relu ({side}_overlap)
    {side}_by_area = Div ({side}_area, {side}_step)
    {side}_half_step = Mul ({side}_step, half)
    {side}_centre = Add ({side}_begin, {side}_half_step)
    {side}_position = Sub ({side}_centre, half)
    {side}_last_position = Sub ({side}_length, one)
    {side}_inside = Clip ({side}_position, zero, {side}_last_position)
    {side}_offset = Sub ({side}_inside, {side}_sources)
    {side}_distance = Abs ({side}_offset)
    {side}_nearness = Sub (one, {side}_distance)
    {side}_linear = Relu ({side}_nearness)
    {side}_shrinks = GreaterOrEqual ({side}_length, {side}_target)
"""
"""Nodes of a matrix of target x source pixels: the share of each source pixel in a target pixel, by area and linear."""

# OpenCV truncates intermediate values when it enlarges, so its results are 1/8 lower on average: 0.375 and not 0.5.
_BEFORE = """
    zero = Constant <value_float = 0.0> ()
    half = Constant <value_float = 0.5> ()
    one = Constant <value_float = 1.0> ()
    column = Constant <value_ints = [-1, 1]> ()
    sides = Shape (image)
    {height}
    {width}
    shrinks = And (height_shrinks, width_shrinks)
    by_height = Where (shrinks, height_by_area, height_linear)
    rows_by_width = Where (shrinks, width_by_area, width_linear)
    by_width = Transpose <perm = [1, 0]> (rows_by_width)
    planes = Transpose <perm = [2, 0, 1]> (image)
    values = Cast <to = 1> (planes)
    rows = MatMul (by_height, values)
    exact = MatMul (rows, by_width)
    rounding_linear = Constant <value_float = 0.375> ()
    rounding = Where (shrinks, half, rounding_linear)
    above = Add (exact, rounding)
    rounded = Floor (above)
    batch_shape = Constant <value_ints = [1, 3, {sides}]> ()
    batch = Reshape (rounded, batch_shape)
    {layout}
    {values}
"""
_NORMALIZE = """
    most = Constant <value_float = 255.0> ()
    shares = Div (ordered, most)
    centred = Sub (shares, mean)
    pixels = Div (centred, deviation)
"""
_AFTER = """
    row = Constant <value_ints = [1, -1]> ()
    list = Constant <value_ints = [-1]> ()
    flat = Reshape (embedding, row)
    values = Cast <to = 1> (flat)
    centred = Sub (values, mean)
    components = MatMul (centred, loadings)
    logits = Gemm (components, weights, bias)
    row_of_probabilities = Softmax <axis = 1> (logits)
    probabilities = Reshape (row_of_probabilities, list)
    categories = Identity (names)
"""


class AppModelError(ValueError):
    """No file can be built with this model. The message is one sentence."""


def build(model: bytes, part: Projection, recogniser: Recogniser, metadata: Mapping[str, str]) -> bytes:
    """Return an ONNX file with an input and two outputs.

    - `image`: height x width x 3, uint8, RGB, of any size.
    - `probabilities`: C values, float32.
    - `categories`: Names of the C categories. Browsers cannot read a file's metadata, which also contains them.

    Args:
        model: Content of the ONNX file of the family `onnx`.
        part: Projection of this family alone (`Projection.part`).
        recogniser: Recogniser of the components that `part` computes.
        metadata: Metadata of the file, besides the model's own and `categories`, which is a JSON list.

    Raises:
        AppModelError: The model uses operators of a version that is too old or unknown, or is not valid.
    """
    embedder = compose.add_prefix(_standardised(onnx.load_model_from_string(model)), _PREFIX)
    source, output = _input(embedder), embedder.graph.output[0]
    before = _as_model(_before(source), "before/", embedder)
    after = _as_model(_after(output, part, recogniser), "after/", embedder)
    scaled = compose.merge_models(before, embedder, io_map=[("pixels", source.name)])
    built = compose.merge_models(
        scaled, after, io_map=[(output.name, "embedding")], outputs=[PROBABILITIES, CATEGORIES]
    )
    own = {entry.key: entry.value for entry in embedder.metadata_props}
    names = json.dumps(recogniser.categories, ensure_ascii=False)
    helper.set_model_props(built, {**own, **metadata, CATEGORIES: names})
    built.graph.name = "recogniser"
    onnx.checker.check_model(built)
    return bytes(built.SerializeToString(deterministic=True))


def _standardised(model: ModelProto) -> ModelProto:
    """Return a model that names ONNX's operators only as `_STANDARD`, with the version that onnxruntime uses.

    Raises:
        AppModelError: The model names no version of these operators, or one that is too old, or is not valid.
    """
    names = {_STANDARD, _ALIAS}
    versions = [each.version for each in model.opset_import if each.domain in names]
    if not versions:
        raise AppModelError("The ONNX model names no version of ONNX's operators; export it again with an opset.")
    version = versions[-1]  # as onnxruntime
    if version < MIN_OPSET:
        raise AppModelError(
            f"The ONNX model uses version {version} of the operators, and app.onnx needs at least {MIN_OPSET}; export "
            "the model again with a newer opset."
        )
    others = [each for each in model.opset_import if each.domain not in names]
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid(_STANDARD, version), *others])
    for node in model.graph.node:  # onnxruntime refuses the alias in the graphs inside it
        if node.domain == _ALIAS:
            node.domain = _STANDARD
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = str(error).partition("\n")[0]
        raise AppModelError(f"The ONNX model does not follow the standard ({reason}); export it again.") from error
    return model


def _input(model: ModelProto) -> Input:
    """Return the only input of a model. Old files also list constants as inputs."""
    constants = {constant.name for constant in model.graph.initializer}
    (source,) = (each for each in model.graph.input if each.name not in constants)
    tensor = source.type.tensor_type
    shape = [side.dim_value if side.HasField("dim_value") else None for side in tensor.shape.dim]
    return Input.of(source.name, BYTE if tensor.elem_type == onnx.TensorProto.UINT8 else FLOAT, shape)


def _before(source: Input) -> onnx.GraphProto:
    """Return the graph from an image to the model's input."""
    height, width = source.size
    is_last = source.axes == NHWC
    nodes = _BEFORE.format(
        height=_MATRIX.format(side="height", number=0, target=height),
        width=_MATRIX.format(side="width", number=1, target=width),
        sides=f"{height}, {width}",
        layout="ordered = Transpose <perm = [0, 2, 3, 1]> (batch)" if is_last else "ordered = Identity (batch)",
        values="pixels = Cast <to = 2> (ordered)" if source.kind == BYTE else _NORMALIZE,
    )
    shape = f"1, {height}, {width}, 3" if is_last else f"1, 3, {height}, {width}"
    kind = "uint8" if source.kind == BYTE else "float"
    graph = parser.parse_graph(f"before (uint8[height, width, 3] {IMAGE}) => ({kind}[{shape}] pixels) {{{nodes}}}")
    if source.kind == FLOAT:
        channels = (1, 1, 1, 3) if is_last else (1, 3, 1, 1)
        for name, values in (("mean", MEAN), ("deviation", STANDARD_DEVIATION)):
            graph.initializer.append(numpy_helper.from_array(np.array(values, np.float32).reshape(channels), name))
    return graph


def _after(output: ValueInfoProto, part: Projection, recogniser: Recogniser) -> onnx.GraphProto:
    """Return the graph from the model's output to probabilities."""
    count = len(recogniser.categories)
    outputs = f"float[{count}] {PROBABILITIES}, string[{count}] {CATEGORIES}"
    graph = parser.parse_graph(f"after (float[n, d] embedding) => ({outputs}) {{{_AFTER}}}")
    graph.input[0].type.CopyFrom(output.type)
    numbers = {
        "mean": part.mean,
        "loadings": part.scale[:, np.newaxis] * part.components,
        "weights": recogniser.weights,
        "bias": recogniser.bias,
    }
    graph.initializer.extend(numpy_helper.from_array(value.astype(np.float32), name) for name, value in numbers.items())
    graph.initializer.append(numpy_helper.from_array(np.array(recogniser.categories, object), "names"))
    return graph


def _as_model(graph: onnx.GraphProto, prefix: str, like: ModelProto) -> ModelProto:
    """Return a graph as a model of the same versions as another one, with a prefix of all inner names."""
    model = helper.make_model(graph, opset_imports=like.opset_import, ir_version=like.ir_version)
    return compose.add_prefix(model, prefix, rename_inputs=False, rename_outputs=False)
