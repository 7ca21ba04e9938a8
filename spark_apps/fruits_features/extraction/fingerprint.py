"""Fingerprint of the code and the libraries that compute the features.

It is part of the feature cache's key. So changed code never reuses old features, and nobody has to raise a version. All
modules that the worker imports are hashed as syntax trees without docstrings. Comments, docstrings and formatting
therefore do not matter. A change of code that changes no value costs one run that extracts all features again. Uses the
standard library only.
"""

import ast
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from fruits_features.contract.families import MODEL_FAMILY

_PACKAGE = __name__.partition(".")[0]
_ROOT = f"{_PACKAGE}.extraction.batches"
_EXCLUDED = frozenset(
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
"""Modules that the worker imports, but that do not affect the values: they move bytes, start processes or hold names.

Their imports are excluded too. The columns of `schemas` are part of the cache's key separately.
"""
_LIBRARIES = ("numpy", "opencv-python-headless", "opencv-python", "pillow", "pillow-heif")
_MODEL_LIBRARIES = ("onnxruntime",)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Environment:
    """The machines that extract features.

    Args:
        machine: Type of the machine, as printed by `uname -m`.
        version: Returns the version of a distribution; `None` if it is not installed.
    """

    machine: str
    version: Callable[[str], str | None]


THIS_MACHINE = Environment(platform.machine(), _version)


def fingerprint(families: Sequence[str], environment: Environment = THIS_MACHINE) -> dict[str, str]:
    """Return what the features of some families depend on besides the image.

    Args:
        families: Names of the families.
        environment: The machines that extract the features.

    Returns:
        Hash of the code, machine type and versions of the libraries. Libraries round differently on other machine
        types.
    """
    libraries = (*_LIBRARIES, *(_MODEL_LIBRARIES if MODEL_FAMILY in families else ()))
    versions = {name: environment.version(name) for name in libraries}
    code = {name: _normalize(tree) for name, tree in modules(families).items()}
    digest = sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()
    return {
        "code": digest,
        "machine": environment.machine,
        **{name: number for name, number in versions.items() if number},
    }


def modules(families: Sequence[str]) -> dict[str, ast.Module]:
    """Return the syntax trees of the modules that compute features, by name, sorted.

    These are the modules that the worker imports, directly or indirectly.
    """
    trees: dict[str, ast.Module] = {}
    pending = [_ROOT, *(f"{_PACKAGE}.extraction.families.{name}" for name in families)]
    while pending:
        name = pending.pop()
        if name not in trees and name not in _EXCLUDED:
            trees[name] = ast.parse(_source(name))
            pending.extend(_imported(trees[name]))
    return dict(sorted(trees.items()))


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the names of this package's modules that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE):
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in (str(node.module), *members) if name != _PACKAGE and _is_module(name))


def _is_module(name: str) -> bool:
    """Return whether a dotted name is a module and not a member of one."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _source(name: str) -> str:
    """Return the source code of a module, from a folder or from the archive on a cluster."""
    spec = find_spec(name)
    loader = spec.loader if spec else None
    source = loader.get_source(name) if loader and hasattr(loader, "get_source") else None
    if source is None:
        raise ModuleNotFoundError(f"The source code of {name} is missing; install the application with its sources.")
    return str(source)


def _normalize(tree: ast.Module) -> str:
    """Return a syntax tree as text, without docstrings, which are removed from it.

    >>> _normalize(ast.parse("x = 1  # one")) == _normalize(ast.parse("'Words.'; x   =   1"))
    True
    >>> _normalize(ast.parse("x = 1")) == _normalize(ast.parse("x = 2"))
    False
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_docstring(statement)] or [ast.Pass()]
    return ast.dump(tree)


def _is_docstring(statement: ast.stmt) -> bool:
    """Return whether a statement is a string without effect, such as a docstring."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
