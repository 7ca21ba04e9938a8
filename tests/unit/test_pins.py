"""GitHub actions and base images are pinned by digest. A tag that is moved then changes nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
IMAGE = r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}"


def test_actions_are_pinned_by_commit_and_name_their_version() -> None:
    workflows = list((ROOT / ".github" / "workflows").glob("*.yml"))
    lines = [line for workflow in workflows for line in workflow.read_text().splitlines() if "uses:" in line]

    assert len(lines) >= 5
    assert [line for line in lines if not re.search(r"uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


def test_development_container_has_the_image_of_the_containers() -> None:
    development = (ROOT / ".devcontainer" / "Dockerfile").read_text()

    (image,) = re.findall(r"^FROM (.*)$", development, re.MULTILINE)
    assert (
        f"\nARG FRUITS_PYTHON_IMAGE={image}\n" in (ROOT / "include" / "dev" / "containers" / "Dockerfile").read_text()
    )


def test_development_container_has_the_programs_of_ci() -> None:
    """The tests of containers need an engine of their own, which a container cannot have."""
    ci = _packages((ROOT / ".ci" / "run").read_text())
    engine = {"docker.io", "iptables", "mmdebstrap", "slirp4netns"}

    assert engine < ci
    assert ci - engine <= _packages((ROOT / ".devcontainer" / "Dockerfile").read_text())


def test_development_container_makes_what_the_makefile_knows() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    make, *targets = container["postCreateCommand"].split()

    known = re.findall(r"^([.\w/]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert (make, {*targets} - {*known}) == ("make", set())
    assert (ROOT / ".devcontainer" / container["build"]["dockerfile"]).exists()
    assert (
        f"useradd --uid 1000 --create-home --shell /bin/bash {container['remoteUser']}\n"
        in (ROOT / ".devcontainer" / "Dockerfile").read_text()
    )


def _packages(script: str) -> set[str]:
    """Return the Debian packages that a script installs."""
    commands = re.findall(r"apt-get install ((?:\\\n|[^&>\n])+)", script)
    return {word for word in " ".join(commands).replace("\\", " ").split() if not word.startswith("-")}


def test_base_images_are_pinned_by_digest() -> None:
    dockerfile = (ROOT / "include" / "dev" / "containers" / "Dockerfile").read_text()
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"].values()
    pulled = {service["image"] for service in services if "build" not in service}

    assert re.findall(r"^FROM (.*)$", dockerfile, re.MULTILINE) == ["${FRUITS_PYTHON_IMAGE}"]
    assert re.search(rf"^ARG FRUITS_PYTHON_IMAGE={IMAGE}$", dockerfile, re.MULTILINE)
    assert [image for image in pulled if not re.fullmatch(rf"\$\{{FRUITS_POSTGRES_IMAGE:-{IMAGE}\}}", image)] == []
    assert pulled


def test_packages_of_the_notebook_have_the_versions_that_tests_use() -> None:
    def versions(name: str) -> set[tuple[str, str]]:
        return set(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / name).read_text(), re.MULTILINE))

    tested = versions("requirements.txt") | versions("requirements-dev.txt")
    names = {name for name, _ in tested}
    shared = {(name, version) for name, version in versions("notebooks/requirements.txt") if name in names}

    assert {"matplotlib", "numpy", "scikit-learn"} <= {name for name, _ in shared}
    assert shared <= tested
