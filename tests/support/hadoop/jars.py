"""Hadoop's jars for the tests, which Maven downloads once for each version of `pom.xml`."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

import pytest

PROJECT = Path(__file__).with_name("pom.xml")
FOLDER = Path(__file__).parents[3] / ".local" / "hadoop"
DOWNLOAD_DEADLINE_S = 600.0

Profile = Literal["yarn", "s3a"]


def hadoop_jars(profile: Profile) -> Path:
    """Return the folder of a profile's jars, after downloading them if they are missing.

    The test is skipped if Maven is not installed or cannot reach its repository.
    """
    version = hashlib.sha256(PROJECT.read_bytes()).hexdigest()[:12]
    folder = FOLDER / f"{profile}-{version}"
    if not folder.exists() and (missing := _download(profile, folder)):
        pytest.skip(missing)
    return folder


def _download(profile: Profile, folder: Path) -> str | None:
    """Download a profile's jars; return the reason where that is impossible."""
    maven = shutil.which("mvn")
    if maven is None:
        return f"Maven downloads the jars of profile {profile} for this test, but there is no `mvn` on the path."
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [maven, "--batch-mode", "--quiet", f"--file={PROJECT}", f"--activate-profiles={profile}"]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={scratch}/jars"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_DEADLINE_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            return f"Maven cannot download the jars of profile {profile}: {error.stdout or error}"
        if not folder.exists():  # another process of the tests may have been quicker
            Path(scratch, "jars").rename(folder)
    return None
