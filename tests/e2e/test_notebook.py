"""The notebook runs completely on a published run, and is committed with outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbclient import NotebookClient

if TYPE_CHECKING:
    import pytest

    from tests.support.airflow.pipeline import Pipeline, Published

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "explore.ipynb"


def test_notebook_shows_rows_plane_neighbours_and_categories(
    pipeline: Pipeline, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in pipeline.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "spark_apps"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source = first.source.replace("s3://fruits", f"s3://{pipeline.bucket}")

    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    texts = [output["data"]["text/plain"] for output in outputs if "text/plain" in output.get("data", {})]
    assert published.latest["run"] in texts[0]
    assert any("similarity" in text and "1.0" in text for text in texts)
    assert any(re.match(r"\[\('.+', [01]\.\d+\),", text) for text in texts)
    assert "cosine" in texts[-1]


def test_committed_outputs_are_complete_small_and_without_names_of_a_machine() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]

    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [cell.id for cell in cells if not cell.outputs and "bucket" not in cell.source] == []
    assert [output for output in outputs if output.output_type not in {"display_data", "execute_result"}] == []
    assert sum("image/png" in output.data for output in outputs) == 2
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 250_000
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)
