"""What stands behind a description: the code that computes it, and the libraries it computes with.

Described images are remembered from run to run, so a change of what would be computed must be seen by itself: nobody
has to think of raising a version. What the worker reaches by its imports is hashed as parsed, so that comments,
docstrings and line breaks do not matter. A change that alters no value costs one run that describes everything again; a
missed one would publish stale features. Standard library only.
"""

import ast
import json
import platform
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from fruits_features.contract.families import MODEL_FAMILY

_PACKAGE = __name__.partition(".")[0]
_ROOT = f"{_PACKAGE}.extraction.batches"
_COMPUTES_NOTHING = frozenset(
    f"{_PACKAGE}.{name}"
    for name in (
        "contract.errors",
        "contract.families",
        "extraction.subprocess_pool",
        "io.fetcher",
        "io.object_store",
        "io.prefetch",
        "io.uri",
        "schemas",
    )
)
"""Reached by the worker, but without a part in an image's values: they move bytes, start processes, or tell names.
What they import is not looked at. Columns have their place in the store's address by themselves."""
_LIBRARIES = ("numpy", "opencv-python-headless", "opencv-python")
_OF_A_MODEL = ("onnxruntime",)


def fingerprint(families: Sequence[str]) -> dict[str, str]:
    """Tell what descriptions by these families depend on besides the image: the code's hash, the machine, libraries.

    The kind of machine counts as libraries round differently on another.
    """
    libraries = (*_LIBRARIES, *(_OF_A_MODEL if MODEL_FAMILY in families else ()))
    versions = {name: _version(name) for name in libraries}
    code = {name: _normal(_source(name)) for name in modules(families)}
    digest = sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()
    return {"code": digest, "machine": platform.machine(), **{name: found for name, found in versions.items() if found}}


def modules(families: Sequence[str]) -> list[str]:
    """Name the modules that describing is made of: what the worker imports, and what that imports, and so on."""
    found: set[str] = set()
    waiting = [_ROOT, *(f"{_PACKAGE}.extraction.families.{name}" for name in families)]
    while waiting:
        name = waiting.pop()
        if name not in found | _COMPUTES_NOTHING:
            found.add(name)
            waiting.extend(_imported(_source(name)))
    return sorted(found)


def _imported(source: str) -> Iterator[str]:
    """Name the modules of this package that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE):
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in (str(node.module), *below) if name != _PACKAGE and _is_module(name))


def _is_module(name: str) -> bool:
    """Tell whether a dotted name is a module, not something in one."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _source(name: str) -> str:
    """Read a module's source, from a folder or from the archive that a cluster is given."""
    spec = find_spec(name)
    loader = spec.loader if spec else None
    source = loader.get_source(name) if loader and hasattr(loader, "get_source") else None
    if source is None:
        raise ModuleNotFoundError(f"The source of {name} is not there: install the application with its sources.")
    return str(source)


def _normal(source: str) -> str:
    """Reduce source to what runs.

    >>> _normal("x = 1  # one") == _normal("'Words.'; x   =   1")
    True
    >>> _normal("x = 1") == _normal("x = 2")
    False
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [one for one in node.body if not _is_words(one)] or [ast.Pass()]
    return ast.dump(tree)


def _is_words(statement: ast.stmt) -> bool:
    """Tell a docstring from code."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
