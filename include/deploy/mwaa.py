"""`make mwaa`: the files of an Amazon MWAA environment, in the layout that it wants.

    dags/               the DAGs, and constraints.txt, which requirements.txt names by where MWAA puts it
    plugins.zip         what the DAGs import: unpacked into the plugins folder of workers, scheduler and web server
    requirements.txt    what MWAA installs besides Airflow itself

MWAA brings Airflow and the Amazon provider, so neither is pinned. `fruits_features_spark` is left out: it needs a Java
and a Spark beside the worker. Uploading and settings are told in docs/guides/aws.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from include.artifacts.wheelhouse import Platform, pins

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = ("fruits_features_spark.py",)
NEEDED = (
    "aiobotocore",
    "bokeh",
    "jinja2",
    "numpy",
    "obstore",
    "opencv-python-headless",
    "pandera",
    "polars",
    "pyarrow",
    "pydantic-settings",
)
"""What tasks, triggers and pages import; a test holds the list against the code."""
APPLICATION = ("launch.py", "requirements.txt", "requirements-onnx.txt")
"""Of `spark_apps/`, besides its package: `upload_application` takes them from beside it."""
NOT_FOR_TASKS = ("deploy", "dev")
"""Packages of `include/` that no task imports."""
NO_PLUGINS = "include/\nfruits_features/\nlaunch.py\n"
"""Airflow imports each file of the plugins folder, looking for plugins, unless `.airflowignore` names it."""
EPOCH = (1980, 1, 1, 0, 0, 0)


def main(argv: list[str] | None = None) -> int:
    """Build the layout and tell where it is."""
    parser = argparse.ArgumentParser(prog="python -m include.deploy.mwaa", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "dist" / "mwaa", help="default: %(default)s")
    folder = parser.parse_args(argv).folder
    build(folder)
    print(f"{folder}: dags/, plugins.zip, requirements.txt. How to use them: docs/guides/aws.md")  # noqa: T201
    return 0


def build(folder: Path) -> None:
    """Write the layout into a folder of its own, in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    dags = folder / "dags"
    shutil.copytree(ROOT / "dags", dags, ignore=shutil.ignore_patterns("__pycache__", *LEFT_OUT))
    (dags / "constraints.txt").write_text("".join(f"{line}\n" for line in constraints()))
    (folder / "requirements.txt").write_text(
        '--constraint "/usr/local/airflow/dags/constraints.txt"\n' + "".join(f"{name}\n" for name in NEEDED)
    )
    with zipfile.ZipFile(folder / "plugins.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(".airflowignore", EPOCH), NO_PLUGINS)
        for name, file in sorted(_members()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), file.read_bytes(), zipfile.ZIP_DEFLATED)


def constraints() -> list[str]:
    """Our lock without Airflow, which the environment brings, and without what only this machine needs."""
    locked = pins((ROOT / "requirements.txt").read_text(), Platform.emr("x86_64"))
    return [f"{pin.name}=={pin.version}" for pin in locked if not pin.name.startswith("apache-airflow")]


def _members() -> Iterator[tuple[str, Path]]:
    """Each file of plugins.zip by its name there."""
    for base, package in ((ROOT / "plugins", "."), (ROOT / "spark_apps", "fruits_features"), (ROOT, "include")):
        for file in (base / package).rglob("*"):
            name = file.relative_to(base)
            if file.is_file() and "__pycache__" not in name.parts and not _is_not_for_tasks(name):
                yield name.as_posix(), file
    yield from ((file, ROOT / "spark_apps" / file) for file in APPLICATION)


def _is_not_for_tasks(name: Path) -> bool:
    return name.parts[0] == "include" and name.parts[1] in NOT_FOR_TASKS


if __name__ == "__main__":
    sys.exit(main())
