"""The application's locked requirements as wheels, so that a cluster installs them without a package index.

A wheelhouse is a text file with one line per wheel: the type of machine (`uname -m`) and the wheel's name. The file is
named by the hash of its lock, so Airflow knows the name without downloading anything. Each wheel is named by its own
hash, so two locks share the wheels they have in common. pip downloads the wheels into a local folder, which is a cache.
The caller uploads them.
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

WHEELS_PREFIX = "wheels/"
"""Folder of the wheels, relative to the list that names them."""


class WheelhouseError(Exception):
    """Wheels cannot be downloaded; the message names them and the reason."""


@dataclass(frozen=True)
class Platform:
    """The target of wheels.

    Args:
        machine: Type of the machine, as printed by `uname -m`.
        pip: Options of `pip download` that select the target; empty for the interpreter that runs pip.
        markers: Values of the environment markers in a lock; those missing are the running interpreter's.
    """

    machine: str
    pip: tuple[str, ...] = ()
    markers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def emr(cls, machine: str) -> Platform:
        """Return the target of PySpark's interpreter on EMR: CPython 3.11 on Amazon Linux 2023, with glibc 2.34."""
        tags = [f"manylinux_2_{minor}_{machine}" for minor in range(34, 16, -1)] + [f"manylinux2014_{machine}"]
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
        return cls(machine, (*options, *(f"--platform={tag}" for tag in tags)), markers)


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
        """Return the requirement in pip's format, without environment markers."""
        return f"{self.name}=={self.version} " + " ".join(f"--hash=sha256:{digest}" for digest in sorted(self.hashes))


@dataclass(frozen=True)
class Wheel:
    """One downloaded wheel."""

    path: Path
    sha256: str

    @property
    def name(self) -> str:
        """Key below the artifacts' prefix: the hash, then the file name that pip needs."""
        return f"{WHEELS_PREFIX}{self.sha256[:16]}/{self.path.name}"


@dataclass(frozen=True)
class Wheelhouse:
    """Wheels and the lists that name them.

    Args:
        wheels: All wheels, each once.
        lists: Text of each list, by the list's name.
    """

    wheels: list[Wheel]
    lists: dict[str, str]


def name_of(lock: str) -> str:
    """Return the name of a lock's list.

    >>> name_of("numpy==2.4.6")
    'wheelhouse-c8de1d861b73db90.txt'
    """
    return f"wheelhouse-{hashlib.sha256(lock.encode()).hexdigest()[:16]}.txt"


def pins(lock: str, target: Platform) -> list[Pin]:
    """Return the requirements of a lock that apply to a platform."""
    lines = [line.partition(" #")[0].strip() for line in lock.replace("\\\n", " ").splitlines()]
    applicable = []
    for text, *hashes in (line.split("--hash=sha256:") for line in lines if line and not line.startswith("#")):
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(dict(target.markers)):
            version = str(requirement.specifier).removeprefix("==")
            digests = frozenset(digest.strip() for digest in hashes)
            applicable.append(Pin(canonicalize_name(requirement.name), version, digests))
    return applicable


def gather(locks: Sequence[str], platforms: Iterable[Platform], folder: Path) -> Wheelhouse:
    """Download the wheels of all locks for all platforms; wheels in the folder are not downloaded again.

    Args:
        locks: Text of each lock.
        platforms: Targets of the wheels.
        folder: Folder that keeps the wheels, with one sub-folder per platform.

    Raises:
        WheelhouseError: pip cannot download a wheel, or a package has no wheel for a platform.
    """
    lines: dict[str, list[str]] = {name_of(lock): [] for lock in locks}
    wheels: dict[str, Wheel] = {}
    for target in platforms:
        by_lock = {lock: pins(lock, target) for lock in locks}
        by_pin = _wheels({pin for required in by_lock.values() for pin in required}, target, folder)
        wheels |= {wheel.name: wheel for wheel in by_pin.values()}
        for lock, required in by_lock.items():
            lines[name_of(lock)] += sorted(f"{target.machine} {by_pin[pin].name}\n" for pin in required)
    return Wheelhouse(list(wheels.values()), {name: "".join(entries) for name, entries in lines.items()})


def _wheels(required: set[Pin], target: Platform, folder: Path) -> dict[Pin, Wheel]:
    cache = folder / f"{target.machine}-{'emr' if target.pip else sys.implementation.cache_tag}"
    cache.mkdir(parents=True, exist_ok=True)
    wheels = _cached(required, cache)
    if missing := required - wheels.keys():
        _download(missing, target, cache)
        wheels = _cached(required, cache)
    if missing := required - wheels.keys():
        names = ", ".join(sorted(f"{pin.name} {pin.version}" for pin in missing))
        raise WheelhouseError(f"pip downloaded no wheel for {target.machine} whose hash is in the lock: {names}.")
    return wheels


def _cached(required: set[Pin], cache: Path) -> dict[Pin, Wheel]:
    """Return the wheels of a folder that match the pins and their hashes."""
    by_name = {(pin.name, pin.version): pin for pin in required}
    wheels = {}
    for path in sorted(cache.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(path.name)
        pin = by_name.get((name, str(version)))
        if pin is not None:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 in pin.hashes:
                wheels[pin] = Wheel(path, sha256)
    return wheels


def _download(missing: set[Pin], target: Platform, cache: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(sorted(f"{pin.line()}\n" for pin in missing))
        file.flush()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--dest", str(cache), *target.pip, "-r", file.name]
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own pip
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        raise WheelhouseError(
            f"pip cannot download the wheels for {target.machine}: {' '.join(errors[-2:]) or result.stderr[-300:]}"
        )
