"""Code blocks of the documents: syntax, names of commands and their options, and reasons of those not run.

tests/e2e/test_documented_commands.py and tests/e2e/test_documented_python.py run all others.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.support.documents import DOCUMENTS, ROOT, Block, blocks, inline_code

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
SHELL = [block for block in BLOCKS if block.language == "sh"]
REASONS = ("installs packages", "needs an AWS account", "needs Docker", "starts servers", "takes minutes")
RUN_BY = re.compile(r"(tests/[\w/]+\.py) runs it")
"""Reason of a block that another test runs."""
COMMAND = re.compile(r"^\s*(airflow|docker|make|pip|pytest|python3?|source|\.) ", re.MULTILINE)
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)\b")
MODULE = re.compile(r"python -m ([\w.]+)([^\n|&;]*)")


@cache
def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def _expanded(line: str) -> str:
    """Return the commands that a `make` line runs."""
    command = ["bash", "-c", line.replace("make ", "make --dry-run --always-make ", 1)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _without_comments(code: str) -> str:
    return re.sub(r"\s+#.*", "", code)


def _commands(code: str) -> str:
    """Return code with the commands that its lines of `make` run."""
    lines = _without_comments(code).splitlines()
    return "\n".join(_expanded(line) if line.startswith("make ") and "&&" not in line else line for line in lines)


def _modules() -> dict[str, set[str]]:
    """Return the options that the documents give to each of our modules."""
    options: dict[str, set[str]] = {}
    for block in SHELL:
        for module, arguments in MODULE.findall(_commands(block.code)):
            if module.split(".")[0] in {"benchmarks", "fruits_airflow", "include"}:
                options.setdefault(module, set()).update(re.findall(r"(?<=\s)--[\w-]+", arguments))
    return options


MODULES = _modules()


def test_blocks_are_found_with_language_line_and_reason() -> None:
    found = {(str(block.document), block.language, bool(block.not_run)) for block in BLOCKS}

    assert {("README.md", "python", False), ("README.md", "sh", False), ("README.md", "text", False)} <= found
    assert ("docs/guides/aws.md", "sh", True) in found
    for block in BLOCKS:
        line = (ROOT / block.document).read_text(encoding="utf-8").splitlines()[block.line - 1]
        assert line.strip() == block.code.splitlines()[0].strip(), block
    assert {"benchmarks.speed", "benchmarks.image_sizes", "include.deploy", "include.dev.local_aws"} <= MODULES.keys()
    assert {"--vpc", "--subnets", "--parameter"} <= MODULES["include.deploy"]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_names_its_language_and_the_reason_if_it_is_not_run(block: Block) -> None:
    runs = RUN_BY.fullmatch(block.not_run)

    assert block.language in {"python", "sh", "js", "text"}
    assert not block.not_run or block.not_run in REASONS or (runs and (ROOT / runs[1]).is_file())
    assert block.language != "text" or not COMMAND.search(block.code), "commands in a block that is not run"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in {"python", "sh"}], ids=str)
def test_block_has_valid_syntax(block: Block) -> None:
    if block.language == "python":
        compile(block.code, str(block.document), "exec")
    else:
        checked = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True, check=False)  # noqa: S607
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("document", [one for one in DOCUMENTS if one.name != "CHANGELOG.md"], ids=str)
def test_named_targets_of_make_exist(document: Path) -> None:
    code = [*inline_code(document), *(_without_comments(block.code) for block in blocks(document))]

    assert sorted({target for text in code for target in TARGET.findall(text)} - _targets()) == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_documented_command_has_the_documented_options(module: str) -> None:
    path = os.pathsep.join(str(ROOT / folder) for folder in (".", "plugins", "spark_apps"))
    shown = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert sorted(MODULES[module] - set(re.findall(r"--[\w-]+", shown))) == []
