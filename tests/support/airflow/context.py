"""Context of a run with the default parameters, for tests that execute one task."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fruits_airflow.params import DAILY

_DEFAULTS = DAILY["params"]

DEFAULT_CONTEXT: Any = {
    "params": {name: param.value for name, param in _DEFAULTS.items()},
    "dag": SimpleNamespace(params=_DEFAULTS),
    "dag_run": SimpleNamespace(conf=None),
}
