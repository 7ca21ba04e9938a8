"""`make mwaa`: write the files of an Amazon MWAA environment.

    dags/               the DAGs
    plugins.zip         modules that the DAGs import; MWAA unpacks it into the plugins folder
    requirements.txt    packages that MWAA installs besides Airflow

MWAA provides Airflow and the Amazon provider, and applies Airflow's constraints of its version. So only packages that
these constraints do not name are pinned here. `fruits_features_spark` is not included, because it needs Java and Spark
on the worker. docs/guides/aws.md describes upload and settings.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from include.artifacts import bundle
from include.artifacts.wheelhouse import Platform, pins

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SPARK_APPS = ROOT / "spark_apps"
EXCLUDED_DAGS = ("fruits_features_spark.py",)
MWAA_PACKAGES = ("aiobotocore", "aiohttp", "jinja2", "numpy", "polars", "pyarrow", "pydantic-settings")
"""Imported packages that Airflow's constraints pin. MWAA applies these if `requirements.txt` has no constraints:
https://docs.aws.amazon.com/mwaa/latest/userguide/connections-packages.html, *Constraints file*"""
PINNED_PACKAGES = (
    "bokeh",
    "contourpy",
    "flatbuffers",
    "obstore",
    "onnxruntime",
    "opencv-python-headless",
    "pillow",
    "pillow-heif",
    "xyzservices",
)
"""Imported packages that Airflow's constraints do not name, and their dependencies. A test installs all of them."""
APPLICATION_FILES = ("launch.py", "validate.py", "requirements.txt", "requirements-onnx.txt")
"""Files of `spark_apps/` besides its package. The task `upload_application` reads them."""
EXCLUDED_PACKAGES = ("deploy", "dev")
"""Packages of `include/` that no task imports."""
AIRFLOWIGNORE = "include/\nfruits_features/\nlaunch.py\nvalidate.py\n"
"""Files that Airflow must not import while it searches the plugins folder for plugins."""
EPOCH = (1980, 1, 1, 0, 0, 0)


def main(argv: list[str] | None = None) -> int:
    """Build the layout and print its folder."""
    parser = argparse.ArgumentParser(prog="python -m include.deploy.mwaa", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folder", type=Path, nargs="?", default=ROOT / "dist" / "mwaa", help="folder to write (default: %(default)s)"
    )
    folder = parser.parse_args(argv).folder
    build(folder)
    print(f"{folder}: dags/, plugins.zip, requirements.txt. Next steps: docs/guides/aws.md")  # noqa: T201
    return 0


def build(folder: Path) -> None:
    """Write the layout into a folder. Replace the folder's content."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__", *EXCLUDED_DAGS))
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements()))
    with zipfile.ZipFile(folder / "plugins.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted([(".airflowignore", AIRFLOWIGNORE.encode()), *_members(), _application()]):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)


def requirements() -> list[str]:
    """Return the lines of `requirements.txt`, with the versions of the lock."""
    locked = {pin.name: pin.version for pin in pins((ROOT / "requirements.txt").read_text(), Platform.emr("x86_64"))}
    return [*MWAA_PACKAGES, *(f"{name}=={locked[name]}" for name in PINNED_PACKAGES)]


def _members() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file of plugins.zip."""
    for base, package in ((ROOT / "plugins", "."), (SPARK_APPS, "fruits_features"), (ROOT, "include")):
        for file in (base / package).rglob("*"):
            name = file.relative_to(base)
            if file.is_file() and "__pycache__" not in name.parts and not _is_excluded(name):
                yield name.as_posix(), file.read_bytes()
    yield from ((file, (SPARK_APPS / file).read_bytes()) for file in APPLICATION_FILES)


def _application() -> tuple[str, bytes]:
    """Return name and content of the application's archive, since MWAA's Python cannot compile for the nodes."""
    application = bundle.build(SPARK_APPS)["application"]
    return application.name, application.content


def _is_excluded(name: Path) -> bool:
    return name.parts[0] == "include" and name.parts[1] in EXCLUDED_PACKAGES


if __name__ == "__main__":
    sys.exit(main())
