#!/usr/bin/env bash
# Tests docker-compose.yaml on an engine that reaches no registry, such as the one of engine.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. include/dev/environment.sh

tests/docker/base_images.sh python
exec pytest --log-cli-level=INFO tests/docker "$@"
