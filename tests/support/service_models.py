"""Shortens the creation of AWS clients, of which most tests create several.

* botocore reads the models of AWS's services for each session. Here they are read once per process.
* Airflow's hooks inspect the call stack for each client, for their user agent. Here they do not.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from botocore.loaders import JSONFileLoader, Loader

_read, _list_services = JSONFileLoader.load_file, Loader.list_available_services


@cache
def _read_once(path: str) -> Any:  # noqa: ANN401 - any JSON value, or None
    return _read(JSONFileLoader(), path)


@cache
def _list_services_once(kind: str, *search_paths: str) -> Any:  # noqa: ANN401 - names of services
    loader = Loader(include_default_search_paths=False)
    loader.search_paths.extend(search_paths)
    return _list_services(loader, kind)


def read_once() -> None:
    """Let botocore read each model once in this process, and not again in its forks."""
    JSONFileLoader.load_file = lambda _, path: _read_once(path)  # type: ignore[method-assign]
    Loader.list_available_services = lambda self, type_name: _list_services_once(type_name, *self.search_paths)  # type: ignore[method-assign]


def pytest_configure() -> None:
    """Let botocore read each model once, from the first test on."""
    read_once()


def pytest_runtest_setup() -> None:
    """Let Airflow's hooks send "Unknown" as their caller, once a test has imported them."""
    if hooks := sys.modules.get("airflow.providers.amazon.aws.hooks.base_aws"):
        hooks.AwsGenericHook._get_caller = lambda *_: "Unknown"  # type: ignore[attr-defined] # noqa: SLF001
