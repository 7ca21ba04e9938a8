"""The application's locked requirements as wheels, so that a cluster installs them without a package index.

A wheelhouse is a list, one line a wheel, of which kind of machine (`uname -m`) takes which one; it is named after the
lock it fulfils, and the wheels after their content. So two locks share what they have in common, and Airflow can name
the wheelhouse of an application that it has imported without downloading anything. Wheels come from pip and stay in a
folder; putting them into S3 is left to the caller.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

LINKED = "wheels/"
"""Where wheels lie, seen from the list that names them."""


class WheelhouseError(Exception):
    """Wheels cannot be had; the message says which and why."""


@dataclass(frozen=True)
class Platform:
    """What wheels are for.

    Args:
        machine: what `uname -m` says there.
        pip: how pip is told; empty for the interpreter that runs it.
        markers: what a lock's conditions see there and pip would take from the interpreter that runs it.
    """

    machine: str
    pip: tuple[str, ...] = ()
    markers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def emr(cls, machine: str) -> Platform:
        """PySpark's interpreter on EMR: CPython 3.11 on Amazon Linux 2023, whose glibc is 2.34."""
        kinds = [f"manylinux_2_{minor}_{machine}" for minor in range(34, 16, -1)] + [f"manylinux2014_{machine}"]
        options = ["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none"]
        markers = {
            "implementation_name": "cpython",
            "platform_machine": machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": "3.11.0",
            "python_version": "3.11",
            "sys_platform": "linux",
        }
        return cls(machine, (*options, *(f"--platform={kind}" for kind in kinds)), markers)


LOCAL = Platform(platform.machine())
"""This machine, with this interpreter."""
EMR = (Platform.emr("x86_64"), Platform.emr("aarch64"))


@dataclass(frozen=True)
class Pin:
    """One requirement of a lock."""

    name: str
    version: str
    hashes: frozenset[str]

    def line(self) -> str:
        """The requirement as pip reads it, without conditions."""
        return f"{self.name}=={self.version} " + " ".join(f"--hash=sha256:{one}" for one in sorted(self.hashes))


@dataclass(frozen=True)
class Wheel:
    """One wheel on this disk."""

    path: Path
    sha256: str

    @property
    def name(self) -> str:
        """Its name below the artifacts: by content, and ending in what pip has to see."""
        return f"{LINKED}{self.sha256[:16]}/{self.path.name}"


@dataclass(frozen=True)
class Wheelhouse:
    """Wheels, and the lists that name them, by the lists' names."""

    wheels: list[Wheel]
    lists: dict[str, str]


def name_of(lock: str) -> str:
    """The name of the list that fulfils a lock.

    >>> name_of("numpy==2.4.6")
    'wheelhouse-c8de1d861b73db90.txt'
    """
    return f"wheelhouse-{hashlib.sha256(lock.encode()).hexdigest()[:16]}.txt"


def pins(lock: str, on: Platform) -> list[Pin]:
    """What a lock asks for on a platform."""
    lines = [line.partition(" #")[0].strip() for line in lock.replace("\\\n", " ").splitlines()]
    found = []
    for requirement, *hashes in (line.split("--hash=sha256:") for line in lines if line and not line.startswith("#")):
        wanted = Requirement(requirement)
        if wanted.marker is None or wanted.marker.evaluate(dict(on.markers)):
            version = str(wanted.specifier).removeprefix("==")
            found.append(Pin(canonicalize_name(wanted.name), version, frozenset(one.strip() for one in hashes)))
    return found


def gather(locks: Sequence[str], platforms: Iterable[Platform], folder: Path) -> Wheelhouse:
    """Get the wheels of all locks for all platforms; those that lie in the folder are not downloaded again.

    Args:
        locks: the text of each.
        platforms: for which ones.
        folder: where wheels are kept, a sub-folder for each platform.

    Raises:
        WheelhouseError: pip cannot have them, or a lock wants what has no wheel for a platform.
    """
    lines: dict[str, list[str]] = {name_of(lock): [] for lock in locks}
    wheels: dict[str, Wheel] = {}
    for on in platforms:
        wanted = {lock: pins(lock, on) for lock in locks}
        here = _wheels({pin for one in wanted.values() for pin in one}, on, folder)
        wheels |= {wheel.name: wheel for wheel in here.values()}
        for lock, its in wanted.items():
            lines[name_of(lock)] += sorted(f"{on.machine} {here[pin].name}\n" for pin in its)
    return Wheelhouse(list(wheels.values()), {name: "".join(listed) for name, listed in lines.items()})


def _wheels(wanted: set[Pin], on: Platform, folder: Path) -> dict[Pin, Wheel]:
    kind = f"{on.machine}-{'emr' if on.pip else sys.implementation.cache_tag}"
    there = folder / kind
    there.mkdir(parents=True, exist_ok=True)
    found = _kept(wanted, there)
    if missing := wanted - found.keys():
        _download(missing, on, there)
        found = _kept(wanted, there)
    if missing := wanted - found.keys():
        names = ", ".join(sorted(f"{pin.name} {pin.version}" for pin in missing))
        raise WheelhouseError(f"pip downloaded no wheel for {on.machine} whose hash is in the lock: {names}.")
    return found


def _kept(wanted: set[Pin], there: Path) -> dict[Pin, Wheel]:
    """The wheels of a folder that the pins name by their hashes."""
    by_name = {(pin.name, pin.version): pin for pin in wanted}
    found = {}
    for path in sorted(there.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(path.name)
        pin = by_name.get((name, str(version)))
        if pin is not None:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 in pin.hashes:
                found[pin] = Wheel(path, sha256)
    return found


def _download(missing: set[Pin], on: Platform, there: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(sorted(f"{pin.line()}\n" for pin in missing))
        file.flush()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--dest", str(there), *on.pip, "-r", file.name]
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own pip
    if result.returncode:
        said = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        raise WheelhouseError(
            f"pip cannot download the wheels for {on.machine}: {' '.join(said[-2:]) or result.stderr[-300:]}"
        )
