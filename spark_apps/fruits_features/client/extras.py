"""Extras of the package: what each one installs, and the error for a missing one."""

from importlib.util import find_spec
from typing import Final

DISTRIBUTION: Final = "fruits-features"
MODULES: Final = {
    "read": ("polars", "pyarrow"),
    "embed": ("cv2", "PIL"),
    "onnx": ("onnxruntime",),
    "serve": ("fastapi", "uvicorn"),
}
"""Imported modules that each extra of pyproject.toml installs. Optional ones are not included."""


class MissingExtraError(ImportError):
    """An extra of the package is not installed. The message contains the command that installs it."""


def require(extra: str) -> None:
    """Check that the modules of an extra are installed.

    Args:
        extra: Name of the extra, a key of `MODULES`.

    Raises:
        MissingExtraError: A module is not installed.
    """
    missing = [name for name in MODULES[extra] if not _is_installed(name)]
    if missing:
        raise MissingExtraError(
            f"This needs {' and '.join(missing)}, which the extra {extra} installs: "
            f"pip install '{DISTRIBUTION}[{extra}]'"
        )


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # another thread is importing it, and it has no specification yet
        return True
