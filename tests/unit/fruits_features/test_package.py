"""The package: modules that the DAG shares import little."""

import subprocess
import sys
from pathlib import Path

import pytest

import fruits_features


@pytest.mark.parametrize("name", ["arguments", "errors", "families", "layout", "rejections", "workload"])
def test_module_shared_with_the_dag_imports_the_standard_library_only(name: str) -> None:
    heavy = "{'cv2', 'numpy', 'obstore', 'pyarrow', 'pyspark'}"
    program = f"import sys, fruits_features.contract.{name}; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    here = Path(fruits_features.__path__[0]).parent

    result = subprocess.run([sys.executable, "-c", program], cwd=here, check=False, capture_output=True, text=True)

    assert (result.returncode, result.stderr) == (0, "")


def test_module_schemas_does_not_import_spark() -> None:
    program = "import sys, fruits_features.schemas; sys.exit('pyspark' in sys.modules)"
    here = Path(fruits_features.__path__[0]).parent

    assert subprocess.run([sys.executable, "-c", program], cwd=here, check=False).returncode == 0
