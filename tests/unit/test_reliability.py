"""docs/guides/reliability.md shows the fault matrix as it is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.dev.local_aws.emr.faults import Fault
from tests.support.airflow.faults import AIRFLOW_FAULTS, AWS_FAULTS, WORKER_FAULTS, Case, table

TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "reliability.md").read_text()


@pytest.mark.parametrize(
    ("heading", "cases"),
    [
        ("faults of AWS", AWS_FAULTS),
        ("faults of Airflow", AIRFLOW_FAULTS),
        ("faults without a cluster", WORKER_FAULTS),
    ],
)
def test_reliability_shows_the_table_that_is_tested(heading: str, cases: tuple[Case, ...]) -> None:
    shown = TEXT.partition(f"<!-- {heading} -->")[2].partition("<!-- end -->")[0].strip()

    assert shown == table(cases), f"Write this instead:\n\n{table(cases)}\n"


def test_every_fault_of_the_local_emr_is_met_by_a_run() -> None:
    met = {case.fault.partition(":")[0] for case in AWS_FAULTS}

    assert set(Fault) - met == {Fault.ANSWER_LATE}, "answer-late serves test_airflow_faults.py"
