"""Plugin that turns skips into failures in CI, so that a missing program hides no test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

MAY_BE_SKIPPED = frozenset(
    {
        "tests/e2e/test_real_photographs.py::test_features_are_extracted_from_all_real_photographs",
        "tests/spark/test_job.py::test_run_on_real_photographs_extracts_all",
        (
            "tests/unit/fruits_features/extraction/test_extract.py"
            "::test_features_of_real_photographs_are_those_of_their_complete_pixels"
        ),
        "tests/unit/fruits_features/imaging/test_colour.py::test_reported_case_is_red",
        "tests/unit/fruits_features/imaging/test_formats.py::test_reported_case_has_the_right_colours",
        "tests/unit/include/deploy/model/test_build.py::test_photographs_have_the_right_imagenet_class",
    }
)
"""Tests of real photographs (FRUITS_REAL_IMAGES), which are not in the repository."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that was skipped."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that was skipped when it was imported."""
    report = yield
    _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Change the outcome of a skip to a failure in CI. An expected failure (`xfail`) is not a skip."""
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and os.environ.get("CI") and report.nodeid.partition("[")[0] not in MAY_BE_SKIPPED:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"No test may be skipped in CI (tests/support/skips.py). {reason}"
