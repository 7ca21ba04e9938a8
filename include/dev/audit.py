"""Search locked requirements for known vulnerabilities.

The files pin different versions of some packages, so pip-audit runs once per file. It asks PyPI's JSON API, and reports
packages that the API does not know as skipped, not as an error. Here they are an error: an index without that API would
otherwise look like a clean result.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCEPTED = Path(__file__).parents[2] / ".ci" / "accepted-vulnerabilities.toml"


class NotAuditedError(Exception):
    """A package could not be looked up. The message is one sentence."""


@dataclass(frozen=True)
class Vulnerability:
    """A vulnerability of a locked package.

    Args:
        package: Name and version of the package.
        ids: Identifiers of the vulnerability, that of PyPI first.
        fixed_in: Versions without the vulnerability.
    """

    package: str
    ids: tuple[str, ...]
    fixed_in: tuple[str, ...]


def main(argv: list[str] | None = None) -> int:
    """Print a line per problem, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m include.dev.audit",
        description="Search files of locked requirements for known vulnerabilities, which PyPI reports.",
    )
    parser.add_argument("requirements", type=Path, nargs="+", help="file of locked requirements")
    parser.add_argument(
        "--accepted", type=Path, default=ACCEPTED, help="file of accepted vulnerabilities (default: %(default)s)"
    )
    parser.add_argument("--if-reachable", action="store_true", help="succeed if PyPI's JSON API cannot be reached")
    options = parser.parse_args(argv)
    accepted = tomllib.loads(options.accepted.read_text(encoding="utf-8"))
    found: dict[Vulnerability, list[str]] = defaultdict(list)
    try:
        for file in options.requirements:
            for vulnerability in search(file):
                found[vulnerability].append(str(file))
    except NotAuditedError as error:
        print(f"The requirements were not audited. {error}", file=sys.stderr)
        return 0 if options.if_reachable else 1
    problems = compare(found, accepted, datetime.now(UTC).date())
    print("\n".join(problems) or f"No known vulnerability, except for {len(accepted)} accepted ones.")
    return 1 if problems else 0


def search(requirements: Path) -> set[Vulnerability]:
    """Return the known vulnerabilities of a file's packages on this platform.

    Raises:
        NotAuditedError: pip-audit failed, or a package was not found.
    """
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--disable-pip"]
    command += ["--require-hashes", f"--requirement={requirements}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if not ran.stdout:
        raise NotAuditedError(f"pip-audit failed on {requirements}: {ran.stderr.strip()[-1000:]}")
    dependencies: list[dict[str, Any]] = json.loads(ran.stdout)["dependencies"]
    skipped = [dependency["name"] for dependency in dependencies if "skip_reason" in dependency]
    if skipped:
        raise NotAuditedError(
            f"PyPI's JSON API does not know {len(skipped)} of {len(dependencies)} packages of {requirements}, such as "
            f"{skipped[0]}. Check that the API can be reached; mirrors of PyPI often lack it."
        )
    return {
        Vulnerability(
            f"{dependency['name']} {dependency['version']}",
            (known["id"], *sorted(known["aliases"])),
            tuple(known["fix_versions"]),
        )
        for dependency in dependencies
        for known in dependency["vulns"]
    }


def compare(found: Mapping[Vulnerability, list[str]], accepted: Mapping[str, dict[str, Any]], today: date) -> list[str]:
    """Return the problems: vulnerabilities that are not accepted, and entries that must be reviewed or removed.

    Args:
        found: Files by the vulnerabilities that were found in them.
        accepted: Reason and date of review by identifier.
        today: Current date.
    """
    problems = [
        f"{one.package} has the vulnerability {', '.join(one.ids)} ({', '.join(files)}). "
        + (f"Fixed in {', '.join(one.fixed_in)}." if one.fixed_in else "There is no fixed version.")
        for one, files in found.items()
        if not accepted.keys() & {*one.ids}
    ]
    known = {name for one in found for name in one.ids}
    for name, entry in accepted.items():
        review_on: date = entry["review_on"]
        if name not in known:
            problems.append(f"{name} is accepted but was not found. Remove its entry.")
        elif review_on <= today:
            problems.append(f"{name} must be reviewed since {review_on}. It was accepted: {entry['reason']}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
