"""Docstrings open with a verb in the imperative or with a noun phrase."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("benchmarks", "dags", "include", "plugins", "spark_apps")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
AVOIDED = {"Give", "Gives", "How", "Say", "Says", "Tell", "Tells", "What", "Who", "Why"}  # codespell:ignore

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _openings(source: str) -> list[tuple[int, str]]:
    """Line and first word of each docstring, those of constants and attributes included."""
    strings = [
        node.value
        for parent in ast.walk(ast.parse(source))
        if isinstance(parent, _Documented)
        for node in parent.body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    return [
        (string.lineno, words[0].rstrip(",:;.'"))
        for string in strings
        if isinstance(string.value, str) and (words := string.value.split())
    ]


def test_openings_are_those_of_modules_classes_functions_and_constants() -> None:
    source = '"""What."""\nX = 1\n"""Give, as."""\nclass A:\n    """Who is."""\n    async def f():\n        "Return."\n'

    assert sorted(_openings(source)) == [(1, "What"), (3, "Give"), (5, "Who"), (7, "Return")]


def test_all_folders_are_checked() -> None:
    assert {file.relative_to(ROOT).parts[0] for file in FILES} == set(FOLDERS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_open_with_a_verb_or_a_noun_phrase(file: Path) -> None:
    openings = _openings(file.read_text(encoding="utf-8"))

    assert [(line, word) for line, word in openings if word in AVOIDED] == []
