"""Generator of docs/reference/openapi.json: `python -m include.dev.http_interface`.

The document describes the HTTP interface of `fruits serve`, which returns the same one. Its content comes from
`fruits_features.client.serve.interface` and the routes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fruits_features.client.serve.application import application
from fruits_features.client.serve.service import Service
from fruits_features.client.serve.source import Source

FILE = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"


def render() -> str:
    """Return the OpenAPI document as indented JSON."""
    unread = Service(Source(pointer=dict, open=NotImplemented, fetch=NotImplemented))
    return json.dumps(application(unread, ()).openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser(
        "python -m include.dev.http_interface", description=f"Write {FILE.name}, like `make docs`."
    ).parse_args()
    FILE.write_text(render(), encoding="utf-8")
