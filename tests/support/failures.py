"""Prints each failure when it occurs. pytest prints failures at the end only, and CI may stop a run before."""

from __future__ import annotations

import pytest


class _Printer:
    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"\n{report.nodeid} failed in {report.when}:\n{report.longreprtext}")


def pytest_configure(config: pytest.Config) -> None:
    """Print from the process that reports, not from workers of pytest-xdist."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Printer(config))
