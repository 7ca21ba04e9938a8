"""Import rules that import-linter cannot check, because `dags/` is no package and mentions are no imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIPELINE = sorted(file for folder in ("dags", "plugins", "spark_apps") for file in (ROOT / folder).rglob("*.py"))
DAGS = sorted((ROOT / "dags").glob("*.py"))
LOOPBACK = ("127.0.0.1", "localhost")
OF_ONE_MACHINE = ("local_aws", "local aws", "moto", "rclone", *LOOPBACK)
SERVER = ROOT / "spark_apps/fruits_features/client/serve/command.py"
"""The command that serves a page on the user's machine."""


def _imported(source: str) -> set[str]:
    """Return the top-level names of all modules that a source file imports, also inside functions."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_boundaries_look_at_all_folders() -> None:
    assert len(DAGS) == 4
    assert {file.relative_to(ROOT).parts[0] for file in PIPELINE} == {"dags", "plugins", "spark_apps"}
    assert _imported("def f():\n    import a.b\n    from c.d import e") == {"a", "c"}


@pytest.mark.parametrize("file", PIPELINE, ids=lambda file: str(file.relative_to(ROOT)))
def test_pipeline_does_not_mention_the_local_aws(file: Path) -> None:
    text = file.read_text().lower()
    allowed = LOOPBACK if file == SERVER else ()
    assert [word for word in OF_ONE_MACHINE if word in text and word not in allowed] == []


@pytest.mark.parametrize("file", DAGS, ids=lambda file: file.name)
def test_dag_file_imports_neither_spark_nor_opencv(file: Path) -> None:
    assert _imported(file.read_text()) & {"pyspark", "py4j", "cv2", "numpy", "include"} == set()
