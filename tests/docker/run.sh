#!/usr/bin/env bash
# Tests docker-compose.yaml on an engine that reaches no registry, such as the one of engine.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. include/dev/environment.sh

tests/docker/base_images.sh python
# The stand-ins have tags, and not the digests of the registry's images.
export FRUITS_PYTHON_IMAGE=python:3.11-slim-bookworm FRUITS_POSTGRES_IMAGE=postgres:17-bookworm
exec pytest --log-cli-level=INFO tests/docker "$@"
