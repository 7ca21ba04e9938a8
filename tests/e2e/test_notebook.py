"""The notebook runs completely on a published run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbclient import NotebookClient

if TYPE_CHECKING:
    import pytest

    from tests.support.airflow.pipeline import Pipeline, Published

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "explore.ipynb"


def test_notebook_shows_rows_plane_and_nearest_neighbours(
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
