"""Values that the trigger form accepts reach the application unchanged, or are refused before a cluster exists."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowFailException
from hypothesis import given, settings
from hypothesis import strategies as st

from fruits_airflow import run_context
from fruits_airflow.params import PARAMS
from fruits_features.contract.arguments import ONNX_MODEL_PATTERN, Arguments
from fruits_features.contract.families import FAMILIES
from include.artifacts import shipped_model

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN = {"name": "r", "bucket": "fruits", "region": "eu-west-1", "uri": "s3://fruits/features/runs/r"}
SHARES = st.floats(0, 1, exclude_min=True) | st.integers(1, 1)

VALUES = st.fixed_dictionaries(
    {
        "features": st.lists(st.sampled_from(list(FAMILIES)), min_size=1, unique=True),
        "onnx_model": st.none() | st.from_regex(ONNX_MODEL_PATTERN, alphabet=st.characters(codec="utf-8")),
        "k": st.none() | st.integers(1, 5000) | st.integers(1, 5000).map(float) | st.sampled_from([1e300, 2.0**53]),
        "explained_variance": SHARES,
        "refit": st.sampled_from(["always", "never", "auto"]),
        "include_pixels": st.booleans(),
        "max_quarantine_share": SHARES | st.integers(0, 1) | st.floats(-0.0, 0.0),
    }
)


def _arguments(values: Mapping[str, object]) -> Arguments:
    params = ParamsDict(deepcopy(PARAMS))
    params.update(values)
    context: Any = {"params": params.validate(), "ti": SimpleNamespace(xcom_pull=_run)}
    return run_context.requested_arguments(context)


def _run(task_ids: str) -> dict[str, str]:
    assert task_ids == "take_inventory"
    return RUN


@given(VALUES)
@settings(deadline=None)  # other tests use the machine too
def test_command_line_returns_every_value_that_the_form_accepts(values: dict[str, object]) -> None:
    try:
        arguments = _arguments(values)
    except AirflowFailException:
        return

    argv = arguments.to_argv()
    assert Arguments.from_argv(argv) == arguments
    assert Arguments.from_argv(argv).to_argv() == argv


def test_form_offers_the_network_that_ships_with_one_click() -> None:
    schema = PARAMS["features"].schema

    assert "onnx" in schema["examples"], "Airflow's form has a list of these to select from"
    assert PARAMS["onnx_model"].value is None
    assert _arguments({"features": [*PARAMS["features"].value, "onnx"]}).onnx_model == shipped_model.uri("fruits")
