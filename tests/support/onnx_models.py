"""Small ONNX models whose embeddings NumPy can compute too: the mean of each channel times a matrix."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

DIMENSION = 5
MATRIX = np.random.default_rng(0).normal(size=(3, DIMENSION)).astype(np.float32)
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
NCHW, NHWC = ("n", 3, 8, 6), ("n", 8, 6, 3)

Side = str | int


def model(
    shape: Sequence[Side] = NCHW,
    kind: int = TensorProto.FLOAT,
    *,
    first: Sequence[NodeProto] = (),
    matrix: NDArray[np.float32] = MATRIX,
) -> bytes:
    """Return a model of global pooling and one linear layer.

    Args:
        shape: Shape of the input `images`.
        kind: Element type of the input.
        first: Nodes before the pooling, from the tensor `floats` to the tensor `changed`.
        matrix: Matrix of the linear layer.
    """
    nodes = [helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT), *first]
    last = "changed" if first else "floats"
    axes = [1, 2] if shape[-1] == 3 else [2, 3]
    nodes.append(helper.make_node("ReduceMean", [last, "axes"], ["pooled"], keepdims=0))
    nodes.append(helper.make_node("MatMul", ["pooled", "matrix"], ["embedding"]))
    constants = {"axes": np.array(axes), "matrix": matrix}
    return assemble({"images": (kind, shape)}, nodes, {"embedding": (TensorProto.FLOAT, ("n", "d"))}, constants)


def model_of_old_operators() -> bytes:
    """Return a model of version 11 of the operators."""
    old = ModelProto.FromString(model(NHWC, TensorProto.UINT8))
    old.opset_import[0].version = 11
    reduce = next(node for node in old.graph.node if node.op_type == "ReduceMean")
    reduce.input.pop()  # until version 17, the axes are an attribute
    reduce.attribute.append(helper.make_attribute("axes", [1, 2]))
    return bytes(old.SerializeToString())


def assemble(
    inputs: dict[str, tuple[int, Sequence[Side]]],
    nodes: Sequence[NodeProto],
    outputs: dict[str, tuple[int, Sequence[Side] | None]],
    constants: dict[str, NDArray[np.generic]] | None = None,
) -> bytes:
    """Return a model of inputs, nodes, outputs and constants."""
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(name, *shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, *shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    built: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(built.SerializeToString())


def expected(image: bytes, size: tuple[int, int] = (8, 6), *, normalised: bool = True) -> NDArray[np.float64]:
    """Return the model's embedding of an image file."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR_RGB)
    small = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float64)
    return pooled((small / 255 - MEAN) / DEVIATION if normalised else small)


def pooled(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the model's embedding of input pixels, height x width x 3."""
    return np.asarray(pixels.mean(axis=(0, 1)) @ MATRIX)
