"""Parsing a DAG needs no network, no settings and no heavy library."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

PROBE = """
import runpy, socket, sys

def refuse(*_, **__):
    raise OSError("parsing a DAG must not use the network")

socket.socket.connect = refuse
socket.getaddrinfo = refuse
for dag in sys.argv[1:]:
    runpy.run_path(dag)
heavy = {"cv2", "numpy", "obstore", "pandas", "polars", "pyarrow", "pydantic_settings", "pyspark", "include.settings"}
print(sorted(heavy & set(sys.modules)))
"""


def test_dags_parse_without_network_settings_and_heavy_imports() -> None:
    dags = sorted(str(path) for path in (ROOT / "dags").glob("*.py"))
    path = os.pathsep.join(str(ROOT / folder) for folder in ("", "plugins", "spark_apps"))

    parsed = subprocess.run(
        [sys.executable, "-c", PROBE, *dags],
        env=os.environ | {"PYTHONPATH": path, "FRUITS_BUCKET": "Not A Bucket"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert parsed.returncode == 0, parsed.stderr
    assert parsed.stdout.splitlines()[-1] == "[]"
